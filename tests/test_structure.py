"""The shape of the tree: arrows run downward, no circles, light imports, no prints, everything documented.

All of it is read from the source with ``ast``, but for ``import recon``, which is run in a fresh process.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import recon

ROOT = Path(__file__).parents[1]
HOMES = [ROOT, ROOT / "operators", ROOT / "plugins", ROOT / "datasets"]
PACKAGES = sorted(p.parent for home in HOMES for p in home.glob("recon*/__init__.py"))

# The floors of the core, lowest first: a module imports modules of its own floor or of lower ones.
FLOORS = [
    ["_version", "errors", "lazy"],
    ["params", "arrays", "storage", "svd"],
    ["operator", "differences", "constants", "fft"],
    [
        "algebra",
        "kronecker",
        "sparse",
        "derivatives",
        "stacks",
        "linalg",
        "losses",
        "balls",
        "priors",
        "dataset",
        "metrics",
    ],
    ["problem"],
    ["solver", "noise", "duality", "_ridge", "_searching"],
    ["stopping", "plotting", "selection"],
    ["checkpoint", "result"],
    ["observers"],
    ["entries", "hookspecs", "registry", "_hooks"],
    ["driver"],
    ["interop", "testing", "bench", "schema", "values"],
    ["config"],
    ["batch"],
    ["cli"],
]
FLOOR_OF = {name: floor for floor, names in enumerate(FLOORS) for name in names}

# The core knows no plugin; its demo shows ours.
DEMO = "recon.cli.demo"


def name_of(path):
    home = next(h for h in reversed(HOMES) if path.is_relative_to(h))
    parts = path.relative_to(home).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {name_of(p): p for package in PACKAGES for p in sorted(package.rglob("*.py"))}


@cache
def tree(name):
    return ast.parse(FILES[name].read_text(encoding="utf-8"))


def is_type_checking(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(name, lazy):
    """Names imported by a module at its own level or, where ``lazy``, anywhere; type checking left out."""
    found, stack = [], list(tree(name).body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            found += [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} must import by full names, line {node.lineno}"
            found += [(node.module, alias.name) for alias in node.names]
        elif not is_type_checking(node) and (
            lazy or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        ):
            stack += ast.iter_child_nodes(node)
    return found


def arrows(name, lazy=False):
    """The modules of the tree that a module imports; ``from recon import Name`` counts as Name's home."""
    ends = set()
    for module, attribute in imports(name, lazy):
        if f"{module}.{attribute}" in FILES:
            ends.add(f"{module}.{attribute}")
        elif module == "recon":
            ends.add(f"recon.{recon._HOME_OF.get(attribute, '')}".rstrip("."))
        elif module in FILES:
            ends.add(module)
    return ends - {"recon", name}  # `import recon` itself imports nothing but numpy: the rest is lazy


def circle(graph):
    """A list of modules that import each other in a circle, or None."""
    done, path = set(), []

    def visit(node):
        if node in path:
            return path[path.index(node) :] + [node]
        if node in done:
            return None
        path.append(node)
        for end in sorted(graph.get(node, ())):
            found = visit(end)
            if found:
                return found
        path.pop()
        done.add(node)
        return None

    for start in sorted(graph):
        found = visit(start)
        if found:
            return found
    return None


def test_the_test_sees_circles():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}}) is None
    assert "recon.arrays" in arrows("recon.linalg")
    assert "recon.plotting" in arrows("recon.result", lazy=True)
    assert "recon.plotting" not in arrows("recon.result")
    assert len(FILES) > 60
    assert {p.name for p in PACKAGES} >= {
        "recon",
        "recon_operators",
        "recon_proximal",
        "recon_datasets",
        "recon_wavelets",
        "recon_sbl",
        "recon_unmixing",
    }


def test_no_circle_at_module_level():
    assert circle({name: arrows(name) for name in FILES}) is None


def test_no_circle_inside_functions_either():
    assert circle({name: arrows(name, lazy=True) for name in FILES}) is None


def floor(name):
    return FLOOR_OF[name.split(".")[1]]


@pytest.mark.parametrize("name", [n for n in FILES if n.startswith("recon.")])
def test_core_imports_downward_and_no_plugin(name):
    assert name.split(".")[1] in FLOOR_OF, f"{name} needs a floor in FLOORS"
    for end in arrows(name, lazy=True):
        if not end.startswith("recon."):
            assert name == DEMO, f"{name} imports the plugin module {end}"
            assert end not in arrows(name), f"{name} must import {end} inside a function"
        else:
            assert floor(end) <= floor(name), f"{name} imports {end}, which lies above it"


def test_packages_use_only_public_names_of_each_other():
    for name in FILES:
        own = name.split(".")[0]
        for module, attribute in imports(name, lazy=True):
            package, *rest = (module or "").split(".")
            if package in {p.name for p in PACKAGES} - {own}:
                private = [part for part in (*rest, attribute or "") if part.startswith("_")]
                assert not private, f"{name} imports the private {module}.{attribute}"
                assert package == "recon" or own != "recon_operators", f"{name} imports {module}"


def test_heavy_libraries_are_imported_inside_functions():
    heavy = {"torch", "cupy", "cupyx", "dask", "distributed", "diffusers", "matplotlib", "pydantic", "zarr"}
    for name in FILES:
        stem = FILES[name].stem
        if stem.endswith(("_cupy", "_torch")) or name.startswith("recon_diffusion."):
            continue
        found = {module.split(".")[0] for module, _ in imports(name, lazy=False)} & heavy
        assert not found, f"{name} imports {found} at its top"


# --- packaging -----------------------------------------------------------------------------------------


def test_only_packages_have_an_init_and_each_is_typed():
    for folder in ("operators", "plugins", "datasets", "tests", "docs"):
        assert not (ROOT / folder / "__init__.py").exists(), (
            f"{folder}/__init__.py shadows other people's packages"
        )
    for package in PACKAGES:
        assert (package / "py.typed").is_file(), f"{package.name} needs py.typed"
        for folder in {p.parent for p in package.rglob("*.py")}:
            assert (folder / "__init__.py").is_file(), f"{folder} needs __init__.py"


@pytest.mark.parametrize("name", [n for n in FILES if n.endswith("._hooks")])
def test_hooks_are_light(name):
    allowed = {"__future__", "recon.entries", "recon.hookspecs"}
    standard = set(sys.stdlib_module_names)
    for module, _ in imports(name, lazy=False):
        assert module in allowed or module.split(".")[0] in standard, f"{name} imports {module} at its top"


HEAVY = [
    "torch", "cupy", "scipy", "scipy.sparse", "scipy.fft", "dask", "matplotlib", "numba", "click", "rich", "pluggy",
    "pywt", "pydantic", "zarr", "skimage",
]  # fmt: skip


def test_import_recon_is_light():
    script = f"import sys, recon; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


def test_solving_from_the_core_stays_light():
    script = (
        "import sys, numpy, recon\n"
        "A = recon.Gradient((4, 4))\n"
        "p = recon.Problem(A, A @ numpy.ones((4, 4)), recon.TV(0.1) + recon.NonNegative())\n"
        "p.prior.prox(numpy.ones((4, 4)), 1.0)\n"
        f"print([m for m in {HEAVY} if m in sys.modules and m != 'pluggy'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


# --- the face ------------------------------------------------------------------------------------------

FIXED = ["Operator", "ArraySpec", "Prior", "Loss", "Problem", "Solver", "State", "Result", "solve", "iterate", "get",
         "entries"]  # fmt: skip
MODULES = ["arrays", "linalg", "losses", "priors", "stopping", "observers", "checkpoint", "metrics", "testing",
           "errors", "interop"]  # fmt: skip


def test_fixed_public_names():
    for name in (*FIXED, *MODULES):
        assert name in recon.__all__
    assert sorted(recon.__all__) == sorted(set(recon.__all__))
    for name in recon.__all__:
        assert getattr(recon, name) is not None
    assert callable(recon.entries)
    assert dir(recon) == sorted(recon.__all__)
    with pytest.raises(AttributeError, match="module 'recon' has no attribute 'nothing'"):
        recon.nothing


@pytest.mark.parametrize("name", FILES)
def test_all_lists_only_what_is_there(name):
    module = tree(name)
    bound = {n.name for n in module.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    bound |= {a.asname or a.name for n in ast.walk(module) if isinstance(n, ast.ImportFrom) for a in n.names}
    listed = []
    for node in module.body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            bound |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)} if target else set()
            if isinstance(target, ast.Name) and target.id == "__all__":
                listed = ast.literal_eval(node.value)
    lazy = "__getattr__" in bound
    assert lazy or not set(listed) - bound, f"{name}.__all__ lists {set(listed) - bound}"


# --- habits --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
def test_no_print_and_no_bare_except(name):
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{name} line {node.lineno}: print belongs to no library"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name} line {node.lineno}: a bare except swallows Ctrl-C"


@pytest.mark.parametrize("name", FILES)
def test_everything_public_is_documented(name):
    module = tree(name)
    assert ast.get_docstring(module), f"{name} needs a first sentence that says what it is"
    for node in module.body:
        public = isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
        marks = {ast.unparse(mark) for mark in node.decorator_list} if public else set()
        if public and not marks & {"hookimpl", "overload"}:  # documented where they are specified
            assert ast.get_docstring(node), f"{name}.{node.name} needs a docstring"


def test_files_and_functions_are_short():
    for name in FILES:
        lines = FILES[name].read_text(encoding="utf-8").count("\n")
        assert lines <= 450, f"{name} has {lines} lines"
        for node in ast.walk(tree(name)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                length = (node.end_lineno or 0) - first.lineno + 1
                assert length <= 60, f"{name}.{node.name} has {length} lines of code"
