"""Draw docs/images/weights.png: what SURE sees of the error of each weight, and the error itself.

python docs/draw_weights.py [FILE]
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recon_datasets import SheppLogan

import recon
from recon.driver import select_weight

SIGMA = 0.3
RED, GREY = "#b3312c", "#777777"


def curves():
    """Weights, errors ||A (x_w - truth)||^2 and PSNR there; the selection; the number of data."""
    sample = SheppLogan(size=96, views=40)[0]
    A, truth = sample.operator, sample.truth
    data = A @ truth + SIGMA * np.random.default_rng(1).standard_normal(A.codomain.shape)
    problem = recon.Problem(A, data, recon.TV(1.0), noise=SIGMA)
    chosen = select_weight(problem, "sure")
    weights, errors, quality = chosen.weight * np.geomspace(0.1, 10, 15), [], []
    for weight in weights:
        x = recon.solve(replace(problem, prior=float(weight) * problem.prior), stop=400).x
        errors.append(float(np.sum((A @ (x - truth)) ** 2)))
        quality.append(float(10 * np.log10(truth.max() ** 2 / np.mean((x - truth) ** 2))))
    return weights, np.array(errors), quality, chosen, data.size


def main(path):
    weights, errors, quality, chosen, count = curves()
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    left.loglog(weights, errors, color=GREY, label="error of A x (needs the truth)")
    tried = sorted(chosen.trials, key=lambda trial: trial.weight)
    left.loglog(
        [t.weight for t in tried],
        [t.score - count * SIGMA**2 for t in tried],
        "o",
        color=RED,
        label="SURE at the weights tried",
    )
    left.set_ylabel("squared error in the data")
    left.legend(frameon=False, fontsize=8)
    right.semilogx(weights, quality, color=GREY)
    right.axvline(chosen.weight, color=RED, label="chosen")
    right.set_ylabel("PSNR of the image [dB]")
    right.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("weight of TV")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images" / "weights.png")
