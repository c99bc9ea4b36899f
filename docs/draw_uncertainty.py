"""Draw docs/images/uncertainty.png: blurred data, posterior mean and 90 % intervals, and the truth.

    python docs/draw_uncertainty.py [FILE]
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recon_operators.convolution import Convolution
from recon_proximal import PerturbAndSolve

import recon
from recon import L2, Gradient, Problem

NOISE = 0.5


def example():
    rng = np.random.default_rng(0)
    truth = np.cumsum(rng.standard_normal(200))
    blur = Convolution(np.exp(-(np.linspace(-3, 3, 21) ** 2)), (200,), boundary="symmetric")
    data = blur @ truth + NOISE * rng.standard_normal(200)
    problem = Problem(blur, data, NOISE**2 * L2() @ Gradient((200,)), noise=NOISE)
    result = recon.solve(problem, PerturbAndSolve(), stop=200)
    gain = float((blur @ np.ones(200)).mean())
    return truth, data / gain, result


def main():
    truth, data, result = example()
    low, high = result.interval(0.9)
    figure = Figure(figsize=(7.2, 3.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    t = np.arange(truth.size)
    axes.fill_between(t, low, high, color="#9db8d9", label="90 % interval")
    axes.plot(t, data, ".", color="0.6", markersize=3, label="data / gain")
    axes.plot(t, result.x, color="#1f4e8c", linewidth=1.4, label="posterior mean")
    axes.plot(t, truth, color="#b3312c", linewidth=0.9, label="truth")
    axes.set_xlabel("sample")
    axes.legend(frameon=False, fontsize=8, ncols=2)
    axes.spines[["top", "right"]].set_visible(False)
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images" / "uncertainty.png"
    figure.savefig(target)


if __name__ == "__main__":
    main()
