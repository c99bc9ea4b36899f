"""What the tests of `recon run` share: a small problem on disk, and the command in this process or its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from fake_plugins import child_environment

HEAD = 'data = {file = "scan.npz", key = "y"}\noperator = {name = "matrix", matrix = {file = "scan.npz", key = "A"}}\n'
LASSO = HEAD + 'prior = {name = "l1", weight = 0.05}\nsolver = {name = "fista"}\n'
QUICK = LASSO + "stopping = {iterations = 25, change = 0}\noutput = {picture = false}\n"


def make(folder: Path, text: str, name: str = "run.toml") -> Path:
    """A run file with its data beside it."""
    rng = np.random.default_rng(3)
    truth = np.zeros(40)
    truth[[3, 17, 30]] = 1.0, -2.0, 1.5
    matrix = rng.standard_normal((30, 40))
    np.savez(folder / "scan.npz", A=matrix, y=matrix @ truth + 0.01 * rng.standard_normal(30), truth=truth)
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def start(*arguments: str | Path, **options: object) -> subprocess.Popen[str]:
    """``recon ...`` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "recon.cli", *map(str, arguments)],
        env=child_environment(),
        text=True,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
    )


def wait_for(child: subprocess.Popen[str], done: object, seconds: float = 60.0) -> None:
    """Wait until ``done()``, while the child lives."""
    end = time.monotonic() + seconds
    while not done():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


def listing(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))
