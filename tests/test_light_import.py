"""``import recon`` loads NumPy and nothing heavy: read from ``sys.modules`` of a process of its own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "cupy", "scipy.sparse", "dask", "matplotlib", "numba", "click", "rich")
LATER = ("torch", "cupy", "dask", "matplotlib", "numba", "rich", "click")
TOUCH = "import recon\nfor name in recon.__all__:\n    getattr(recon, name)\n"
HOOKS = "import recon.registry\nfor kind in recon.registry.KINDS:\n    recon.registry.entries(kind)\n"


def loaded(code: str) -> list[str]:
    """The modules that are loaded after ``code``."""
    ask = "\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + ask], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def test_the_heavy_ones_are_there_to_be_left_out():
    there = {name for name in HEAVY if importlib.util.find_spec(name.partition(".")[0])}
    assert {"torch", "scipy.sparse", "matplotlib", "numba", "click", "rich"} <= there


def test_import_recon_leaves_heavy_modules_alone():
    modules = loaded("import recon")
    assert "numpy" in modules
    assert [name for name in HEAVY if name in modules] == []
    assert [name for name in modules if name.startswith("scipy")] == []


@pytest.mark.parametrize("code", [TOUCH, HOOKS], ids=["every public name", "every entry"])
def test_looking_at_what_there_is_leaves_heavy_modules_alone(code):
    modules = loaded(code)
    assert [name for name in LATER if name in modules] == []


@pytest.mark.parametrize(
    "package",
    [
        "recon_operators",
        "recon_proximal",
        "recon_datasets",
        "recon_wavelets",
        "recon_sbl",
        "recon_unmixing",
        "recon_diffusion",
    ],
)
def test_plugins_and_their_hooks_are_light(package):
    modules = loaded(f"import {package}, {package}._hooks")
    assert [name for name in HEAVY if name in modules] == []


def test_every_public_name_is_there_and_a_wrong_one_says_so():
    code = "import recon; assert set(recon.__all__) <= set(dir(recon))\nrecon.Operater"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "AttributeError: module 'recon' has no attribute 'Operater'" in done.stderr
