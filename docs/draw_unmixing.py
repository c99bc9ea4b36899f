"""Draw docs/images/unmixing-blind.png and unmixing-guidance.png: the guidance-map model on a synthetic scene.

python docs/draw_unmixing.py [FOLDER]

Spectra, residual and maps as `result.plot()` draws them; then the guidance map beside the true mixedness, spectra of
several methods beside the true one, and how F falls.
"""

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from recon_unmixing import extract_endmembers, guided_unmixing, mixedness, sparse_nmf, spectral_angles

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tools"))
from guidance import scene  # noqa: E402


def main(folder):
    _, Y, E, A, bad = scene(0)
    found = guided_unmixing(Y, len(E))
    found.plot().savefig(folder / "unmixing-blind.png", dpi=80)
    figure = Figure(figsize=(11, 6), layout="constrained")
    FigureCanvasAgg(figure)
    (first, second, third), (fourth, fifth, sixth) = figure.subplots(2, 3)
    for axes, image, title in (
        (first, 1 - mixedness(A), "true: 1 - mixedness"),
        (second, found.guidance, "learnt guidance map h"),
    ):
        shown = axes.imshow(image, vmin=0, vmax=1, cmap="magma", interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    figure.colorbar(shown, ax=[first, second], shrink=0.8, label="1 pure, 0 even mixture")
    third.plot(1 - mixedness(A).ravel(), found.guidance.ravel(), ".", ms=2, alpha=0.4)
    third.set_xlabel("1 - true mixedness", fontsize=8)
    third.set_ylabel("h", fontsize=8)
    correlation = np.corrcoef(1 - mixedness(A).ravel(), found.guidance.ravel())[0, 1]
    third.set_title(f"pixels: correlation {correlation:.2f}", fontsize=9)
    others = {
        "VCA": extract_endmembers(Y, len(E)),
        "L1/2-NMF": sparse_nmf(Y, len(E)).endmembers,
        "guided_unmixing": found.endmembers,
    }
    for axes, k in ((fourth, 0), (fifth, 1)):
        for band in bad:
            axes.axvspan(band - 0.5, band + 0.5, color="0.9", lw=0)
        for name, spectra in others.items():
            best = spectra[np.argmin(spectral_angles(E[k : k + 1], spectra)[0])]
            axes.plot(best, lw=0.9, label=name)
        axes.plot(E[k], "k--", lw=0.9, label="true")
        axes.set_ylim(0, 1.6 * E.max())
        axes.set_title(f"endmember {k + 1}; grey: outlier bands", fontsize=9)
        axes.set_xlabel("band", fontsize=8)
    fourth.legend(fontsize=7)
    for method in ("accelerated", "multiplicative"):
        path = guided_unmixing(Y, len(E), start="vca", method=method, iterations=200, tol=0.0).objective
        sixth.plot(np.arange(len(path)), path, label=method, lw=1)
    sixth.set_xscale("symlog")
    sixth.set_title("F by iteration, from VCA", fontsize=9)
    sixth.legend(fontsize=7)
    for axes in figure.axes:
        axes.tick_params(labelsize=7)
    figure.savefig(folder / "unmixing-guidance.png", dpi=80)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "images")
