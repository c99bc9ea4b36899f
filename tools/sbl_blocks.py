"""Print the tables of docs/sbl-structured.md: Bsbl, PcSbl and TMsbl on the generators of ../shared/reference.

    python tools/sbl_blocks.py [block] [pattern] [time]

Needs the developers' ../shared folder. Every cell is the mean over seeds 0-4 (block) or 0-9 (mmv); the figures in the
heads are those of figures.md, section B.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
from recon_sbl.blocks import Bsbl
from recon_sbl.pattern import PcSbl
from recon_sbl.tmsbl import TMsbl

import recon

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "shared" / "reference"))
import gen_sbl

LEVELS = (10, 20, 30)


def show(text):
    """One line, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def block(seed, snr):
    return gen_sbl.make("block", seed, snr)


def moved(seed, snr):
    """The block case with all columns and entries turned by 3: no block starts where a multiple of 8 is."""
    q = block(seed, snr)
    q.A, q.X = np.roll(q.A, 3, axis=1), np.roll(q.X, 3, axis=0)
    return q


def mmv(rho):
    """The mmv case with another temporal correlation."""

    def make(seed, snr):
        kept = gen_sbl._ar1
        gen_sbl._ar1 = lambda r, rows, n, _: kept(r, rows, n, rho)
        try:
            return gen_sbl.make("mmv", seed, snr)
        finally:
            gen_sbl._ar1 = kept

    return make


def row(title, solver, make, seeds, known=True):
    """One line: NMSE / F1 at each level, learned noise as part of the true, iterations, seconds per run."""
    cells, start, runs = [], time.perf_counter(), 0
    for snr in LEVELS:
        errors, scores, levels, counts = [], [], [], []
        for seed in range(seeds):
            q = make(seed, snr)
            true = q.noise_var**0.5
            data = q.Y.T.copy() if q.Y.shape[1] > 1 else q.Y[:, 0]
            problem = recon.Problem(recon.Matrix(q.A), data, noise=true if known else None)
            result = recon.solve(problem, solver, stop=2000, every=10**6)
            x = np.atleast_2d(result.x).T
            errors.append(gen_sbl.nmse(x, q.X))
            scores.append(gen_sbl.f1(x, q.X))
            levels.append(result.hyperparameters["noise"] / true)
            counts.append(result.iterations)
            runs += 1
        noise = "" if known else f" s {np.mean(levels):.2f}"
        cells.append(f"{np.mean(errors):.3e} / {np.mean(scores):.3f}{noise} ({np.mean(counts):.0f} its)")
    seconds = (time.perf_counter() - start) / runs
    show(f"{title:42s} " + "   ".join(cells) + f"   {seconds:.2f} s")


def oracle(make, seeds):
    means = [
        np.mean([gen_sbl.nmse(gen_sbl.oracle(q), q.X) for q in (make(s, snr) for s in range(seeds))])
        for snr in LEVELS
    ]
    show(f"{'least squares on the true support':42s} " + "   ".join(f"{m:.3e}" for m in means))


def blocks():
    show("block (10 / 20 / 30 dB; grouped MacKay, known noise: 2.911e-1 / 4.835e-2 / 3.729e-3)")
    oracle(block, 5)
    row("Bsbl(8)", Bsbl(8), block, 5)
    row("Bsbl(8, update='em')", Bsbl(8, update="em"), block, 5)
    row("Bsbl(8, correlation=0)", Bsbl(8, correlation=0.0), block, 5)
    row("Bsbl(8), noise learned", Bsbl(8), block, 5, known=False)
    row("Bsbl(8), noise learned by em", Bsbl(8, learn_noise="em"), block, 5, known=False)
    for h in (4, 16):
        row(f"Bsbl({h})", Bsbl(h), block, 5)
    for h in (4, 8, 16):
        row(f"Bsbl({h}, overlap=True)", Bsbl(h, overlap=True), block, 5)
    show("the same, turned by 3 entries")
    row("Bsbl(8)", Bsbl(8), moved, 5)
    row("Bsbl(4)", Bsbl(4), moved, 5)
    row("Bsbl(8, overlap=True)", Bsbl(8, overlap=True), moved, 5)
    row("Bsbl(8, overlap=True), noise learned", Bsbl(8, overlap=True), moved, 5, known=False)


def pattern():
    show("block, without the blocks (ungrouped gamma_map: 5.92e-1 / 4.12e-1 / 3.65e-1)")
    row("Bsbl(1, correlation=0) = Sbl", Bsbl(1, correlation=0.0), block, 5)
    for eta in (0.0, 0.5, 1.0):
        row(f"PcSbl(eta={eta})", PcSbl(eta=eta), block, 5)
    row("PcSbl(), noise learned", PcSbl(), block, 5, known=False)
    row("PcSbl(), noise learned by em", PcSbl(learn_noise="em"), block, 5, known=False)


def temporal():
    show("mmv (10 / 20 / 30 dB; gamma_map at rho 0.9: 7.202e-2 / 6.990e-3 / 7.083e-4)")
    for rho in (0.9, 0.0, 0.99):
        show(f"rho = {rho}")
        make = mmv(rho)
        oracle(make, 10)
        for kind in ("ar1", "full", "none"):
            row(f"TMsbl(correlation={kind!r})", TMsbl(correlation=kind), make, 10)
        row("TMsbl(update='em')", TMsbl(update="em"), make, 10)
        row("TMsbl(), noise learned", TMsbl(), make, 10, known=False)
        row("TMsbl('none'), noise learned", TMsbl(correlation="none"), make, 10, known=False)


if __name__ == "__main__":
    asked = sys.argv[1:] or ["block", "pattern", "time"]
    for name, table in (("block", blocks), ("pattern", pattern), ("time", temporal)):
        if name in asked:
            table()
