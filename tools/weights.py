"""Measure what automatic weights lose against the best weight, in dB: images of ../shared/data, cut to 128^2.

    python tools/weights.py [--problems denoise gauss levin ct mri] [--prior tv] [--rule sure] [--images 8]
                            [--noise known|estimate] [--cache FILE] [--json FILE]

    denoise       A = identity                                         sigma 0.05, 0.1, 0.2
    gauss         periodic blur, Gaussian of 1.6 pixels                sigma 0.005, 0.01, 0.03
    levin         periodic blur, kernel 1 of Levin et al. 2009         sigma 0.01, 0.02, 0.04
    ct            60 parallel views                                    sigma 0.5, 1, 2 % of the largest line integral
    mri           25 % of the lines of k-space, variable density       sigma 0.01, 0.02, 0.05

Grey values are in [0, 1]. The noise is white and Gaussian, in k-space in real and imaginary part each. The best
weight is searched with the truth: steps of a factor 2 in both directions, then parabolas; --cache keeps it.
"""

import argparse
import json
import math
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from recon_operators.convolution import Convolution
from recon_operators.fourier import CartesianMRI, masks
from recon_operators.tomography import ParallelBeam, sparse_view
from recon_wavelets import Wavelet

import recon
from recon._searching import least
from recon.driver import select_weight
from recon.stopping import Change, MaxIterations

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SIZE = 128
PHOTOGRAPHS = (
    "set12/01",
    "set12/05",
    "set12/08",
    "kodak24/kodim04",
    "kodak24/kodim07",
    "bsd68/102061",
    "bsd68/148026",
    "bsd68/3096",
)
NOISE = {
    "denoise": (0.05, 0.1, 0.2),
    "gauss": (0.005, 0.01, 0.03),
    "levin": (0.01, 0.02, 0.04),
    "ct": (0.005, 0.01, 0.02),
    "mri": (0.01, 0.02, 0.05),
}


@dataclass(frozen=True, eq=False)
class Case:
    """One problem without its prior: A, the image, the data and the standard deviation of their noise."""

    operator: recon.Operator
    truth: Any
    data: Any
    sigma: float

    def problem(self, prior: str, noise: Any) -> recon.Problem:
        """With TV, or with l1 of db4 coefficients, of which the image is made (synthesis)."""
        if prior == "tv":
            return recon.Problem(self.operator, self.data, recon.TV(1.0), noise=noise)
        return recon.Problem(self.operator @ self.transform.H, self.data, recon.L1(1.0), noise=noise)

    @property
    def transform(self) -> Wavelet:
        return Wavelet(self.truth.shape, "db4", 4, self.operator.domain.kind)

    def psnr(self, prior: str, x: Any) -> float:
        """Of a solution of ``problem``; peak 1."""
        image = x if prior == "tv" else self.transform.H @ x
        return float(-10 * np.log10(np.mean(np.abs(image - self.truth) ** 2)))


def photograph(name: str, size: int = SIZE) -> Any:
    """The middle of a picture, in [0, 1]."""
    picture = Image.open(DATA / "images" / f"{name}.png").convert("L")
    return _middle(np.asarray(picture, dtype=np.float64) / 255.0, size)


def _middle(image: Any, size: int) -> Any:
    rows, columns = ((n - size) // 2 for n in image.shape)
    return image[rows : rows + size, columns : columns + size]


def _means(image: Any, factor: int) -> Any:
    rows, columns = (n // factor for n in image.shape)
    return image.reshape(rows, factor, columns, factor).mean((1, 3))


def head(number: int) -> Any:
    """A slice of a head CT: 0 is air, 1 is 1000 HU or more."""
    hu = np.load(DATA / "ct" / "ge_head_slices_01_12.npz")["hu"][number]
    return np.clip((_means(hu.astype(np.float64), hu.shape[0] // SIZE) + 1000) / 2000, 0, 1)


def brain(number: int) -> Any:
    """A slice of a T1-weighted brain with a phase that varies slowly."""
    slices = np.load(DATA / "mri" / "t1w_slices_150_210.npz")["image"].astype(np.float64)
    image = _means(_middle(slices[number], 2 * SIZE), 2)
    y, x = (np.indices(image.shape) - SIZE / 2) / SIZE
    return image / image.max() * np.exp(1j * (x + 2 * y**2))


def case(name: str, number: int, level: int) -> Case:
    """Image ``number`` at noise ``level`` of a problem named above."""
    truth = {"ct": head, "mri": brain}.get(name, lambda n: photograph(PHOTOGRAPHS[n]))(number)
    operator = OPERATORS[name](truth.shape)
    clean, sigma = operator @ truth, NOISE[name][level]
    if name == "ct":
        sigma *= float(clean.max())
    draw = np.random.default_rng([level, number]).standard_normal((2, *clean.shape))
    noise = draw[0] + 1j * draw[1] if name == "mri" else draw[0]
    measured = operator.mask if name == "mri" else 1.0
    return Case(operator, truth, clean + sigma * measured * noise, sigma)


def _gaussian(shape: Any) -> recon.Operator:
    offset = np.arange(-7, 8)
    row = np.exp(-(offset**2) / (2 * 1.6**2))
    return Convolution(np.outer(row, row) / row.sum() ** 2, shape)


OPERATORS = {
    "denoise": lambda shape: recon.Identity(recon.ArraySpec(shape)),
    "gauss": _gaussian,
    "levin": lambda shape: Convolution(levin("k01"), shape),
    "ct": lambda shape: ParallelBeam(shape, sparse_view(60), 184),
    "mri": lambda shape: CartesianMRI(masks.variable_density(shape, 4, 12, power=3)),
}


def levin(name: str) -> Any:
    """A kernel of the blurred photographs of Levin et al. (2009), sum 1."""
    return np.load(DATA / "kernels" / "levin09.npz")[name].astype(np.float64)


# -- the measurement -------------------------------------------------------------------------------------


def best(c: Case, prior: str) -> float:
    """The highest PSNR that any weight gives."""
    problem = c.problem(prior, c.sigma)
    state = None
    found = -math.inf

    def loss(weight: float) -> float:
        nonlocal state, found
        begin = state and replace(state, iteration=0)
        trial = replace(problem, prior=weight * problem.prior)
        state = recon.solve(trial, state=begin, stop=MaxIterations(1000) | Change(1e-5)).state
        found = max(found, c.psnr(prior, state.x))
        return -c.psnr(prior, state.x)

    back = problem.operator.H @ (0 * c.data + 1.0)
    least(loss, [c.sigma * float(np.linalg.norm(back)) / math.sqrt(back.size)])
    return found


def measure(name: str, number: int, level: int, prior: str, rule: str, noise: str, cache: dict) -> dict:
    """One case: the loss against the best weight, and what the choice has cost."""
    c = case(name, number, level)
    key = f"{prior} {name} {number} {level}"
    if key not in cache:
        cache[key] = best(c, prior)
    chosen = select_weight(c.problem(prior, c.sigma if noise == "known" else "estimate"), rule)
    final = replace(c.problem(prior, c.sigma), prior=chosen.weight * c.problem(prior, c.sigma).prior)
    once = recon.solve(final, stop=MaxIterations(1000) | Change(3e-5, patience=2), every=10)
    return {
        "problem": name,
        "image": number,
        "noise": NOISE[name][level],
        "best": round(cache[key], 3),
        "loss": round(cache[key] - c.psnr(prior, chosen.x), 3),
        "weight": chosen.weight,
        "trials": len(chosen.trials),
        "iterations": chosen.iterations,
        "one_solve": once.iterations,
    }


def table(rows: list[dict]) -> list[str]:
    """Per problem and noise: mean and largest loss, trials, iterations as multiples of one solve."""
    lines = [
        "| problem | noise | best PSNR | mean loss | largest loss | weights tried | cost in solves |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, noise in dict.fromkeys((row["problem"], row["noise"]) for row in rows):
        some = [row for row in rows if (row["problem"], row["noise"]) == (name, noise)]
        mean = {key: float(np.mean([row[key] for row in some])) for key in ("best", "loss", "trials")}
        cost = float(np.mean([row["iterations"] / row["one_solve"] for row in some]))
        largest = max(row["loss"] for row in some)
        lines.append(
            f"| {name} | {noise} | {mean['best']:.2f} | {mean['loss']:.2f} | {largest:.2f} "
            f"| {mean['trials']:.1f} | {cost:.1f} |"
        )
    return lines


def main() -> None:
    """Read the options, measure, print the table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", default=list(NOISE), choices=list(NOISE))
    parser.add_argument("--prior", default="tv", choices=["tv", "l1"])
    parser.add_argument("--rule", default="sure")
    parser.add_argument("--noise", default="known", choices=["known", "estimate"])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--cache", type=Path, help="file that keeps the PSNR of the best weights")
    parser.add_argument("--json", type=Path, help="file for the figures")
    given = parser.parse_args()
    cache = json.loads(given.cache.read_text()) if given.cache and given.cache.exists() else {}
    rows = []
    for name in given.problems:
        for level in range(3):
            for number in range(given.images):
                rows.append(measure(name, number, level, given.prior, given.rule, given.noise, cache))
                if given.cache:
                    given.cache.write_text(json.dumps(cache))
                sys.stderr.write(json.dumps(rows[-1]) + "\n")
    sys.stdout.write("\n".join(table(rows)) + "\n")
    if given.json:
        text = {"prior": given.prior, "rule": given.rule, "noise_level": given.noise, "rows": rows}
        given.json.write_text(json.dumps(text, indent=1) + "\n")


if __name__ == "__main__":
    main()
