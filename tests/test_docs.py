"""The documentation is true: its code runs, its commands and run files work, its links lead somewhere.

What the pages may use:

    ```python     runs; blocks of a page share one namespace, in order, in an empty folder
    ```text       right after a python block: its output ("..." stands for anything, spaces do not count)
    ```toml       a run file (completed where only some sections are shown) is loaded; other TOML is parsed
    ```console    every line "$ recon ..." runs, and shows the lines below it; "$ pip install ./FOLDER" of a
                  plugin is imitated; other commands are not run
    <!-- file: NAME -->        before a block: it is written to NAME (a .py file is not run by itself)
    <!-- exit code: N -->      before a console block: what its last command ends with
    <!-- needs: MODULE -->     before a block: it runs where the module is installed
    <!-- not run: REASON -->   before a block: it is not run
"""

from __future__ import annotations

import doctest
import functools
import importlib
import importlib.util
import inspect
import re
import runpy
import shlex
import sys
import tomllib
import types
from dataclasses import dataclass
from pathlib import Path

import pluggy
import pytest

import recon
from recon import errors, hookspecs, registry
from recon.cli import main
from recon.cli.group import VERBS
from recon.config import load_run

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
HOOKS = [name for name in hookspecs.__all__ if name.startswith("recon_")]

FENCE = re.compile(r"^```(\w*)[ \t]*\n(.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
MARK = re.compile(r"<!--\s*(file|exit code|not run|needs):\s*(.*?)\s*-->\s*\Z")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SMALL_DATA = '\n[data]\ndataset = "shepp-logan"\nsize = 32\nviews = 10\n'


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, its text, the line it starts on, and the marks in front of it."""

    language: str
    text: str
    line: int
    marks: dict[str, str]
    follows: int  # index of the block that it directly follows, or -1


@functools.cache
def blocks(page: Path) -> tuple[Block, ...]:
    source = page.read_text(encoding="utf-8")
    found: list[Block] = []
    end = 0
    for match in FENCE.finditer(source):
        before = source[end : match.start()]
        follows = len(found) - 1 if found and not before.strip() else -1
        marks: dict[str, str] = {}
        while mark := MARK.search(before.rstrip() + "\n" if before.strip() else ""):
            marks[mark[1]] = mark[2]
            before = before[: mark.start()]
        line = source.count("\n", 0, match.start()) + 1
        found.append(Block(match[1], match[2], line, marks, follows))
        end = match.end()
    return tuple(found)


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def shown(expected: str, got: str) -> bool:
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    lines = [text for text in expected.splitlines() if text.strip()]
    got = "\n".join(text.strip() for text in got.splitlines() if text.strip()) + "\n"
    return doctest.OutputChecker().check_output("\n".join(text.strip() for text in lines) + "\n", got, flags)


# -- everything that is shown runs ------------------------------------------------------------------------------


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    """An empty current folder, with registry and imported modules as before afterwards."""
    modules = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.delenv("RECON_TRACEBACK", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    registry.reload()
    yield tmp_path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    monkeypatch.undo()
    registry.reload()


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_blocks_run(page, empty_folder, capsys, monkeypatch):
    module = types.ModuleType("page_of_the_docs")  # a real module: classes of the page can be pickled
    monkeypatch.setitem(sys.modules, module.__name__, module)
    namespace = vars(module)
    output = ""
    for block in blocks(page):
        where = f"{page_id(page)}:{block.line}"
        needs = block.marks.get("needs")
        if "file" in block.marks:
            path = empty_folder / block.marks["file"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        if "not run" in block.marks or (needs and importlib.util.find_spec(needs) is None):
            output = None
            continue
        if block.language == "python" and not block.marks.get("file", "").endswith(".py"):
            code = "\n" * block.line + block.text  # so that a traceback names the line of the page
            exec(compile(code, str(page), "exec", dont_inherit=True), namespace)
            output = capsys.readouterr().out
        elif (
            block.language == "text"
            and block.follows >= 0
            and blocks(page)[block.follows].language == "python"
        ):
            assert output is None or shown(block.text, output), f"{where} shows another output than\n{output}"
        elif block.language == "toml":
            _check_toml(block, empty_folder, where)
        elif block.language == "console":
            _check_console(block, empty_folder, where, capsys)
    if page.name == "write-a-plugin.md":
        _check_hooks(namespace)


def _check_toml(block: Block, folder: Path, where: str) -> None:
    parsed = tomllib.loads(block.text)
    sections = {"data", "operator", "loss", "prior", "solver", "stopping", "output"}
    if not sections & set(parsed) or "build-system" in parsed:
        return
    path = folder / block.marks.get("file", "shown.toml")
    path.write_text(block.text + ("" if "data" in parsed else SMALL_DATA), encoding="utf-8")
    assert load_run(path).problem is not None, where


def _check_console(block: Block, folder: Path, where: str, capsys) -> None:
    commands = re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    assert commands, f"{where} shows no command: begin it with '$ '"
    for number, text in enumerate(commands):
        line, _, expected = text.partition("\n")
        words = shlex.split(line)
        if words[:2] == ["pip", "install"] and words[-1].startswith("./"):
            _install(folder / words[-1], folder)
        if words[0] != "recon":
            assert not expected.strip(), f"{where}: the output of {line!r} cannot be checked"
            continue
        code = main(words[1:])
        out, err = capsys.readouterr()
        last = number == len(commands) - 1
        assert code == (int(block.marks.get("exit code", 0)) if last else 0), f"{where} {line}\n{out}{err}"
        assert "Traceback" not in out + err
        if expected.strip():
            assert shown(expected, out + err), f"{where}: {line} shows another output than\n{out}{err}"


def _install(plugin: Path, folder: Path) -> None:
    """What `pip install` of a small plugin does: its modules and entry points are found from now on."""
    project = tomllib.loads((plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    points = "".join(f"{name} = {target}\n" for name, target in project["entry-points"]["recon"].items())
    (info / "entry_points.txt").write_text(f"[recon]\n{points}", encoding="utf-8")
    sys.path.insert(0, str(plugin))  # undone by the fixture: it restores sys.path
    registry.reload()


def _check_hooks(namespace: dict) -> None:
    """The examples of hooks are accepted by pluggy: right names, right arguments."""
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    plugin = type("Shown", (), {name: staticmethod(namespace[name]) for name in HOOKS})
    manager.register(plugin)
    manager.check_pending()
    assert {hook for hook in HOOKS if getattr(manager.hook, hook).get_hookimpls()} == set(HOOKS)


def test_hardly_anything_is_left_out():
    left_out = [
        (page_id(page), block.line, block.marks["not run"])
        for page in PAGES
        for block in blocks(page)
        if "not run" in block.marks
    ]
    assert len(left_out) <= 3, left_out
    assert all(len(reason) > 10 for _, _, reason in left_out), left_out


def test_every_block_names_its_language():
    unnamed = [(page_id(p), b.line) for p in PAGES for b in blocks(p) if not b.language]
    assert unnamed == []


@pytest.mark.parametrize("path", sorted((DOCS / "runs").glob("*.toml")), ids=lambda path: path.name)
def test_run_files_load(path):
    assert load_run(path).title


def test_a_run_file_of_the_docs_runs(tmp_path, capsys):
    path = DOCS / "runs" / "head-small.toml"
    assert main(["run", str(path), "--output", str(tmp_path / "out")]) == 0, capsys.readouterr().err
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"result.npz", "result.png", "result.json"}


# -- links and pictures -----------------------------------------------------------------------------------------


def _prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page):
    for target in LINK.findall(_prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        goal = (page.parent / path).resolve() if path else page
        assert goal.exists(), f"{page_id(page)}: {target}"
        assert goal.is_relative_to(ROOT), f"{page_id(page)}: {target}"
        if anchor:
            assert anchor in _anchors(goal), f"{page_id(page)}: {target}, known: {sorted(_anchors(goal))}"


def test_every_page_can_be_reached_from_the_index():
    listed = {target.partition("#")[0] for target in LINK.findall(_prose(DOCS / "index.md"))}
    assert {page.name for page in DOCS.glob("*.md")} - listed <= {"index.md"}


def test_pictures_are_small_and_used():
    used = {Path(t).name for page in PAGES for t in LINK.findall(_prose(page)) if t.endswith(".png")}
    pictures = list((DOCS / "images").iterdir())
    assert {picture.name for picture in pictures} == used
    for picture in pictures:
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert picture.stat().st_size < 400_000, picture.name


def test_geometry_figure_is_drawn(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["draw_geometry.py", str(tmp_path / "geometry.png")])
    runpy.run_path(str(DOCS / "draw_geometry.py"), run_name="__main__")
    assert (tmp_path / "geometry.png").stat().st_size > 10_000


# -- nothing is missing -----------------------------------------------------------------------------------------


def _module_names() -> list[tuple[str, str]]:
    modules = [
        "recon.arrays",
        "recon.constants",
        "recon.errors",
        "recon.fft",
        "recon.interop",
        "recon.linalg",
        "recon.losses",
        "recon.metrics",
        "recon.noise",
        "recon.observers",
        "recon.priors",
        "recon.selection",
        "recon.solver",
        "recon.stopping",
        "recon.testing",
        "recon_datasets",
        "recon_operators.convolution",
        "recon_operators.fourier",
        "recon_operators.fourier.masks",
        "recon_operators.sampling",
        "recon_operators.sensing",
        "recon_operators.tomography",
        "recon_proximal",
        "recon_sbl",
        "recon_unmixing",
        "recon_diffusion",
        "recon_wavelets",
    ]
    return [(module, name) for module in modules for name in importlib.import_module(module).__all__]


def test_reference_names_everything_public():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", _prose(DOCS / "reference.md")))))
    listed |= set(re.findall(r"\w+Error", text))
    assert [name for name in recon.__all__ if name not in listed] == []
    assert [f"{module}.{name}" for module, name in _module_names() if name not in listed] == []


def test_reference_names_every_error():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    tree = re.findall(r"(\w+Error)\b", inspect.getdoc(errors))
    assert set(tree) >= set(errors.__all__)
    assert [name for name in errors.__all__ if name not in text] == []


def test_reference_names_every_entry_and_command():
    text = (DOCS / "reference.md").read_text(encoding="utf-8")
    ours = [e for e in registry.entries() if registry.source(e) == registry.OURS]
    assert [f"{entry.kind} {entry.name}" for entry in ours if f"`{entry.name}`" not in text] == []
    assert [verb for verb in VERBS if f"`recon {verb}" not in text] == []


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_is_documented_with_an_example(hook):
    page = DOCS / "write-a-plugin.md"
    assert f"`{hook}`" in _prose(page)
    examples = [b.text for b in blocks(page) if b.language == "python" and f"def {hook}(" in b.text]
    assert len(examples) == 1
    assert "@hookimpl" in examples[0]


def test_run_file_page_names_every_key():
    from recon.config import Output, Stopping
    from recon.params import fields

    text = (DOCS / "run-files.md").read_text(encoding="utf-8")
    keys = [field.name for cls in (Stopping, Output) for field in fields(cls)]
    keys += ["title", "seed", "dataset", "index", "file", "key", "truth", "truth_key", "noise", "precision"]
    assert [key for key in keys if f"`{key}`" not in text] == []


# -- the README -------------------------------------------------------------------------------------------------


def test_readme_has_the_two_commands():
    commands = [b.text.strip() for b in blocks(ROOT / "README.md") if b.language == "sh"]
    assert commands[:2] == [
        "pip install . && recon demo",
        'pip install -e ".[test]" -c constraints.txt && pytest',
    ]


def test_readme_has_the_picture_the_licence_and_twelve_lines():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "docs/images/demo.png" in LINK.findall(text)
    assert "BSD-3-Clause" in text
    assert "CC BY 4.0" in text
    assert "10.5281/zenodo.6984868" in text
    (example,) = (b.text for b in blocks(ROOT / "README.md") if b.language == "python")
    assert len(example.splitlines()) == 12


@pytest.mark.parametrize("page", [*PAGES, *sorted((DOCS / "runs").glob("*.toml"))], ids=page_id)
def test_no_page_names_a_place_on_somebodys_machine(page):
    text = page.read_text(encoding="utf-8")
    assert (
        re.findall(r"(?:^|[\s\"'(`=])(/(?:work|home|root|tmp|Users|opt|mnt|data)/\S*|[A-Z]:\\\S*)", text)
        == []
    )


def test_changelog_names_this_version():
    assert f"## {recon.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
