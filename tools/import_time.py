"""What ``import recon`` costs beside ``import numpy``: CPU time of fresh interpreters, run in turn.

    python tools/import_time.py [rounds]

Prints the medians of user + system time, in milliseconds, of ten rounds (or as many as are given), once with
the start of the interpreter and once without it, and their ratios to NumPy's. Nothing depends on the figures.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

CASES = {
    "(nothing)": "pass",
    "import numpy": "import numpy",
    "import recon": "import recon",
    "all of recon": "import recon\nfor name in recon.__all__: getattr(recon, name)",
}


def cpu_time(code: str) -> float:
    """Seconds of user and system time of a fresh interpreter that runs ``code``."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main(rounds: int = 10) -> None:
    for code in CASES.values():
        cpu_time(code)  # writes the byte code and fills the file cache
    seconds: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(rounds):
        for name, code in CASES.items():
            seconds[name].append(cpu_time(code))
    median = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    start, numpy = median["(nothing)"], median["import numpy"]
    rows = [f"{'':14}{'ms':>8}{'ratio':>8}{'ms':>12}{'ratio':>8}   (right: without the interpreter's start)"]
    for name, value in median.items():
        alone = value - start
        rows.append(f"{name:14}{value:8.1f}{value / numpy:8.2f}{alone:12.1f}{alone / (numpy - start):8.2f}")
    sys.stdout.write("\n".join(rows) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
