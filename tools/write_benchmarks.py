"""Run benchmarks and write their figures into docs/benchmarks.md and docs/benchmarks/*.json.

    python tools/write_benchmarks.py [NAME ...]     all benchmarks but gpu, or the named ones

Each benchmark gets one JSON file (date, processor, versions, medians, extremes) and one table between the marks
of docs/benchmarks.md. Tables of benchmarks that are not run are left as they are.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"
ALL = (
    "tomography",
    "cone-beam",
    "mri",
    "convolution",
    "sensing",
    "sampling",
    "wavelets",
    "convex",
    "lasso",
    "overhead",
)
ROUNDS = {"convex": "3"}  # of minutes each, with set-up


def main(names: list[str]) -> None:
    """Run and write, one benchmark after the other."""
    for name in names or ALL:
        rounds = ["--rounds", ROUNDS[name]] if name in ROUNDS else []
        run = subprocess.run(
            [sys.executable, "-m", "recon.cli", "bench", name, "--json", *rounds],
            capture_output=True,
            text=True,
        )
        if run.returncode:
            raise SystemExit(f"recon bench {name} failed: {run.stderr.strip() or run.stdout.strip()}")
        found = json.loads(run.stdout)
        date = found["date"][:10]
        for old in (DOCS / "benchmarks").glob(f"*-cpu-{name}.json"):
            old.unlink()
        (DOCS / "benchmarks" / f"{date}-cpu-{name}.json").write_text(json.dumps(found, indent=2) + "\n")
        put(name, table(name, date, found))


def table(name: str, date: str, found: dict) -> str:
    """One section in Markdown: ours, theirs, and how many times more they take."""
    head = (
        f"{date}, {found['cpu']}, {found['cores']} cores (one thread used), Python {found['python']}, "
        f"numpy {found['versions']['numpy']}. Whole output: `docs/benchmarks/{date}-cpu-{name}.json`."
    )
    rows = ["| operation | ours ms | compared with | theirs / ours (min to max) |", "|---|---|---|---|"]
    notes = []
    for case in found["benchmarks"][0]["cases"]:
        ours = f"{1e3 * case['ours']['seconds']['median']:.3g}"
        if case["note"] and f"{case['note']}." not in notes:
            notes.append(f"{case['note']}.")
        for peer in case["peers"]:
            if peer["error"]:
                continue
            r = peer["ratio"]
            ratio = f"{r['median']:.2f} ({r['min']:.2f} to {r['max']:.2f})"
            rows.append(f"| {case['name']} | {ours} | {peer['name']} | {ratio} |")
    return "\n".join([head, "", *rows, *(["", "Notes: " + " ".join(notes)] if notes else [])])


def put(name: str, text: str) -> None:
    """Replace the section of one benchmark, or add it at the end of the results."""
    page = PAGE.read_text(encoding="utf-8")
    begin, end = "<!-- results: begin -->", "<!-- results: end -->"
    start, stop = page.index(begin) + len(begin), page.index(end)
    sections = dict(re.findall(r"^### ([\w-]+)\n\n(.*?)(?=^### |\Z)", page[start:stop], re.S | re.M))
    sections[name] = text
    order = [key for key in (*ALL, "import") if key in sections]
    body = "\n\n".join(f"### {key}\n\n{sections[key].strip()}" for key in order)
    PAGE.write_text(f"{page[:start]}\n\n{body}\n\n{page[stop:]}", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
