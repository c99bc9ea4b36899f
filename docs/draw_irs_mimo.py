"""Draw docs/images/irs-mimo.png: channels over a reflecting surface, estimated from training data at 4 to 20 dB.

    python docs/draw_irs_mimo.py [FILE [TRIALS]]

It prints the table of docs/irs-mimo.md. 30 trials take about three minutes of one core.
"""

import sys
import time
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from recon_sbl import IrsMimo, Komp, KroSbl, PcKroSbl, SeparableSbl, channel_nmse, symbol_error_rate

import recon

RATIOS = (4, 8, 12, 16, 20)
BLOCKS = (True, False, True)  # angles are spread at the surface and at the base, not at the user
THEIRS = {"search": False, "restart": False, "scaled": False}

METHODS = {
    "KroSbl, SVD": (KroSbl(), "C0", "o-"),
    "KroSbl, AM": (KroSbl("am"), "C1", "s-"),
    "PcKroSbl": (PcKroSbl(blocks=BLOCKS, prune=(0.01, 0.1, 0.01)), "C2", "^-"),
    "SeparableSbl": (SeparableSbl(), "C3", "D-"),
    "Komp": (Komp(), "C4", "v-"),
    "SVD, authors' settings": (KroSbl(prune=1e-3, **THEIRS), "C0", "o--"),
    "AM, authors' settings": (KroSbl("am", **THEIRS), "C1", "s--"),
    "PC, authors' settings": (
        PcKroSbl(0.5, BLOCKS, "em", release=False, prune=(0.01, 0.1, 0.01), start=3e-3),
        "C2",
        "^--",
    ),
}


def oracle(sample):
    """Least squares on the true support."""
    x, factors, inside = sample.truth, sample.operator.factors, []
    fit = sample.data
    for axis, factor in enumerate(factors):
        taken = np.flatnonzero(np.abs(x).sum(tuple({0, 1, 2} - {axis})))
        inside.append(taken)
        inverse = np.linalg.lstsq(factor.matrix[:, taken], np.eye(len(factor.matrix)), rcond=None)[0]
        fit = np.moveaxis(np.tensordot(inverse, fit, (1, axis)), 0, axis)
    result = np.zeros_like(x)
    result[np.ix_(*inside)] = fit
    return result


def measure(trials):
    """NMSE, SER and SER in the authors' way, by method: (ratios, trials, 3); and seconds per estimate."""
    found = {
        name: np.zeros((len(RATIOS), trials, 3))
        for name in (*METHODS, "oracle least squares", "known channel")
    }
    seconds = dict.fromkeys(METHODS, 0.0)
    for r, snr in enumerate(RATIOS):
        for t, sample in enumerate(IrsMimo(snr=snr, count=trials)):
            problem = recon.Problem(sample.operator, sample.data, noise=sample.noise)
            C = sample.notes["channel"]
            truth, estimates = (
                C @ sample.truth,
                {"known channel": sample.truth, "oracle least squares": oracle(sample)},
            )
            for name, (solver, *_) in METHODS.items():
                begin = time.process_time()
                theirs = "authors" in name
                estimates[name] = recon.solve(problem, solver, stop=150 if theirs else 1000, every=1000).x
                seconds[name] += (time.process_time() - begin) / trials / len(RATIOS)
            for name, x in estimates.items():
                H = C @ x
                found[name][r, t] = (
                    channel_nmse(H, truth),
                    symbol_error_rate(H, truth, snr),
                    symbol_error_rate(H, truth, snr, "received"),
                )
    return found, seconds


def table(found, seconds):
    for name, values in found.items():
        mean, median = values.mean(1), np.median(values[..., 0], axis=1)
        rows = (("NMSE", mean[:, 0]), ("median", median), ("SER", mean[:, 1]), ("SER received", mean[:, 2]))
        for what, row in rows:
            print(f"{name:24} {what:13}", *(f"{value:9.2e}" for value in row))
        print(f"{name:24} seconds       {seconds.get(name, 0):9.3f}")


def main(target, trials=30):
    found, seconds = measure(trials)
    table(found, seconds)
    figure = Figure(figsize=(10.4, 4.1), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3, width_ratios=(1, 1, 1))
    styles = {name: style for name, (_, *style) in METHODS.items()}
    styles |= {"oracle least squares": ("0.5", ":"), "known channel": ("0.2", ":")}
    views = (
        ("channel NMSE, mean", lambda v: v[..., 0].mean(1), (1e-4, 2.0)),
        ("channel NMSE, median", lambda v: np.median(v[..., 0], axis=1), (1e-4, 2.0)),
        ("QPSK symbol error rate, mean", lambda v: v[..., 1].mean(1), (1e-7, 1.0)),
    )
    for axes, (title, value, limits) in zip(panels, views, strict=True):
        for name, (colour, line) in styles.items():
            if name == "known channel" and "NMSE" in title:
                continue
            axes.semilogy(
                RATIOS, np.maximum(value(found[name]), 1e-30), line, color=colour, ms=4, lw=1.3, label=name
            )
        axes.set(title=title, xlabel="SNR / dB", xticks=RATIOS, ylim=limits)
        axes.grid(alpha=0.3)
    figure.legend(
        *panels[2].get_legend_handles_labels(), loc="outside lower center", ncols=5, fontsize=8, frameon=False
    )
    figure.set_dpi(100)
    figure.canvas.draw()
    picture = Image.fromarray(np.asarray(figure.canvas.buffer_rgba())[..., :3])
    picture.quantize(64).save(target, optimize=True)  # a third of the size


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    file = sys.argv[1] if len(sys.argv) > 1 else here / "images" / "irs-mimo.png"
    main(file, int(sys.argv[2]) if len(sys.argv) > 2 else 30)
