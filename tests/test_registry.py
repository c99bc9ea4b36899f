"""The registry: broken plugins beside a good one, lookups, and what every sentence says."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import (
    ABSENT,
    BROKEN,
    child_environment,
    command_line,
    install,
    install_broken,
    install_good,
    install_module,
)

from recon import hookspecs, registry
from recon.entries import Entry
from recon.errors import (
    BrokenPluginError,
    DuplicateNameError,
    MissingExtraError,
    UnknownNameError,
)

HOOKS = [name for name in hookspecs.__all__ if name.startswith("recon_")]


@pytest.fixture
def plugins(tmp_path, monkeypatch):
    """A folder for distributions, seen by this process; call it when they are there."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def look() -> None:
        registry.reload()

    yield tmp_path, look
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    monkeypatch.undo()
    registry.reload()


def failures_of(distribution: str) -> list[registry.Failure]:
    return [failure for failure in registry.failures() if failure.distribution == distribution]


def entries_source(*entries: str) -> str:
    return (
        "from recon.entries import Entry\nfrom recon.hookspecs import hookimpl\n\n"
        f"@hookimpl\ndef recon_entries():\n    return [{', '.join(entries)}]\n"
    )


def entry(**changes: object) -> str:
    """The text of an entry with some fields changed."""
    sound = {"kind": "prior", "name": "a", "target": "json:loads", "summary": "x"}
    return f"Entry(**{ {**sound, **changes}!r})"


# -- five broken plugins beside a good one -------------------------------------------------------------------


def test_good_plugin_works_beside_five_broken_ones(plugins):
    folder, look = plugins
    install_broken(folder)
    install_good(folder)
    look()
    found = registry.get("operator", "good-scale")
    assert found.__name__ == "GoodScale"
    assert found(3).shape == (3, 3)
    assert registry.source(registry.find("operator", "good-scale")) == "a-good-plugin"
    assert "a-good-plugin" not in {failure.distribution for failure in registry.failures()}


def test_each_broken_plugin_is_listed_with_its_reason(plugins):
    folder, look = plugins
    install_broken(folder)
    install_good(folder)
    look()
    reasons = {name: [failure.reason for failure in failures_of(name)] for name in BROKEN}
    assert reasons["bad-import"] == [f"cannot be loaded: ModuleNotFoundError: No module named '{ABSENT}'"]
    assert "cannot be loaded: PluginValidationError" in reasons["bad-signature"][0]
    assert reasons["bad-twin"] == [
        "The operator 'good-scale' is announced by a-good-plugin and by bad-twin. a-good-plugin came first "
        "and keeps it; the other needs a new name."
    ]
    assert reasons["bad-hook"] == ["recon_entries raised: RuntimeError: boom on purpose"]
    assert reasons["bad-extra"] == []  # a missing extra is no failure of the plugin ...
    entry = registry.find("solver", "fast-one")
    assert registry.missing(entry) == (ABSENT,)
    with pytest.raises(MissingExtraError) as caught:  # ... but of the lookup
        registry.get("solver", "fast-one")
    assert str(caught.value) == (
        f"The solver 'fast-one' needs {ABSENT}, which is not installed. Run: pip install \"bad-extra[gpu]\""
    )
    assert isinstance(failures_of("bad-twin")[0].error, DuplicateNameError)


def test_other_entries_of_a_duplicate_plugin_stay(plugins):
    folder, look = plugins
    install_broken(folder)
    install_good(folder)
    look()
    assert registry.get("operator", "twin-only") is json.loads


def test_doctor_names_the_five_with_reasons(tmp_path):
    install_broken(tmp_path)
    install_good(tmp_path)
    done = command_line("doctor", path=tmp_path, COLUMNS="400")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for name, words in {
        "bad-import": f"No module named '{ABSENT}'",
        "bad-signature": "colour",
        "bad-twin": "announced by a-good-plugin and by bad-twin",
        "bad-extra": 'pip install "bad-extra[gpu]"',
        "bad-hook": "boom on purpose",
    }.items():
        assert any(line.startswith(name) and words in line for line in lines), name
    good = next(line for line in lines if line.startswith("a-good-plugin"))
    assert good.split() == ["a-good-plugin", "1.2", "3", "ok"]


def test_doctor_json_says_the_same(tmp_path):
    install_broken(tmp_path)
    install_good(tmp_path)
    done = command_line("doctor", "--json", path=tmp_path)
    report = json.loads(done.stdout)
    assert done.returncode == 1
    assert report["ok"] is False
    assert {"bad-import", "bad-signature", "bad-twin", "bad-hook"} <= {
        failure["distribution"] for failure in report["failures"]
    }
    assert [m["install"] for m in report["missing"] if m["distribution"] == "bad-extra"] == [
        'pip install "bad-extra[gpu]"'
    ]
    good = next(p for p in report["plugins"] if p["distribution"] == "a-good-plugin")
    assert (good["version"], good["entry_points"], good["entries"]) == ("1.2", ["a-good-plugin"], 3)
    assert good["ok"] is True
    [check] = [line for line in report["checks"] if line["distribution"] == "a-good-plugin"]
    assert (check["title"], check["ok"], check["text"]) == ("good driver", True, "version 3 found")


def test_listing_imports_no_implementation(tmp_path):
    install_good(tmp_path)
    code = (
        "import sys; from recon import registry; names = [e.name for e in registry.entries()];"
        "assert 'good-scale' in names and 'good_plugin.things' not in sys.modules;"
        "registry.get('operator', 'good-scale'); assert 'good_plugin.things' in sys.modules;"
        "assert 'good_plugin.commands' not in sys.modules and 'click' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=child_environment(tmp_path), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_our_own_plugins_are_light_too():
    code = (
        "import sys; from recon import registry; registry.entries();"
        "ours = [m for m in sys.modules if m.startswith('recon_')];"
        "heavy = [m for m in ours if '.' in m and not m.endswith('._hooks')];"
        "heavy += [m for m in ('scipy', 'numba', 'click', 'rich', 'torch') if m in sys.modules];"
        "assert not heavy, heavy; assert not registry.failures(), registry.failures()"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# -- lookups -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["good-scale", "GoodScale", "good_scale", "GOOD-SCALE", "goodscale", "Good Scale"]
)
def test_names_are_found_however_they_are_written(plugins, name):
    install_good(plugins[0])
    plugins[1]()
    assert registry.find("operator", name).name == "good-scale"


def test_misspelt_names_suggest_the_right_one(plugins):
    install_good(plugins[0])
    plugins[1]()
    with pytest.raises(
        UnknownNameError, match=r"There is no operator named 'good-scael'. Did you mean 'good-scale'\?"
    ):
        registry.get("operator", "good-scael")
    with pytest.raises(
        UnknownNameError, match=r"no prior named 'GoodScale'. That name belongs to the kind 'operator'."
    ):
        registry.get("prior", "GoodScale")
    with pytest.raises(UnknownNameError, match=r"There is no kind 'opertor'. Did you mean 'operator'\?"):
        registry.get("opertor", "good-scale")
    with pytest.raises(UnknownNameError, match=r"There is no kind 'xyz'. Known: operator, prior, loss, "):
        registry.entries("xyz")
    with pytest.raises(UnknownNameError, match=r"no bench named 'qqqqqq'. Known: .*good-bench"):
        registry.find("bench", "qqqqqq")
    with pytest.raises(LookupError):  # also what SciPy-like code expects
        registry.find("bench", "qqqqqq")


def test_names_that_differ_only_in_hyphens_need_the_exact_one(plugins):
    source = entries_source(
        'Entry("operator", "ab-c", "json:loads", "x")', 'Entry("operator", "a-bc", "json:dumps", "y")'
    )
    install_module(plugins[0], "hyphens", source)
    plugins[1]()
    assert registry.get("operator", "a-bc") is json.dumps
    with pytest.raises(UnknownNameError, match=r"no operator named 'abc'. Did you mean 'a-bc'\?"):
        registry.get("operator", "abc")


def test_a_folder_of_the_same_name_does_not_count_as_installed(plugins):
    folder, look = plugins
    (folder / "only_a_folder").mkdir()
    needs = {"folder": "only_a_folder", "there": "json", "dotted": "json.nothing"}
    entries = [entry(name=name, needs=(need,)) for name, need in needs.items()]
    install_module(folder, "folders", entries_source(*entries))
    look()
    assert registry.missing(registry.find("prior", "folder")) == ("only_a_folder",)
    assert registry.missing(registry.find("prior", "dotted")) == ("json.nothing",)
    assert registry.get("prior", "there") is json.loads
    with pytest.raises(MissingExtraError, match=r"Run: pip install only_a_folder$"):
        registry.get("prior", "folder")


def test_what_is_behind_a_name_may_be_broken(plugins):
    folder, look = plugins
    entries = [
        'Entry("prior", "no-module", "no_such_module:X", "x")',
        'Entry("prior", "no-class", "json:Nothing", "x")',
        'Entry("prior", "raises", "bad_target:X", "x")',
        'Entry("prior", "half", "half_target:X", "x", needs=("half_installed",), extra="half")',
    ]
    files = {
        "broken_hooks.py": entries_source(*entries),
        "bad_target.py": "1 / 0",
        "half_target.py": "import half_installed",
        "half_installed.py": "raise ImportError('libhalf.so is missing', name='half_installed')",
    }
    install(folder, "broken", files, "broken_hooks")
    look()
    for name, words in {
        "no-module": "no_such_module:X (ModuleNotFoundError: No module named 'no_such_module')",
        "no-class": "json:Nothing (AttributeError: module 'json' has no attribute 'Nothing')",
        "raises": "bad_target:X (ZeroDivisionError: division by zero)",
    }.items():
        with pytest.raises(BrokenPluginError) as caught:
            registry.get("prior", name)
        assert str(caught.value) == (
            f"broken is broken: its prior '{name}' cannot be loaded from {words}. "
            "Reinstall it, or tell its authors."
        )
    with pytest.raises(MissingExtraError) as missing:
        registry.get("prior", "half")
    assert str(missing.value) == (
        "The prior 'half' needs half_installed, which cannot be imported (libhalf.so is missing). "
        'Run: pip install "broken[half]"'
    )


def test_source_of_a_stranger(plugins):
    plugins[1]()
    with pytest.raises(UnknownNameError, match=r"no prior named 'nobodys'. Take one of recon.entries\(\)."):
        registry.source(Entry("prior", "nobodys", "json:loads", "x"))


# -- what plugins can do wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("42", "recon_entries must return recon.entries.Entry objects, got 42."),
        (entry(kind="thing"), "Entry.kind must be one of operator, prior, loss, "),
        (entry(name="Bad_Name"), "Entry.name must be lower case with hyphens, got 'Bad_Name'."),
        (entry(name=None), "Entry.name must be lower case with hyphens, got None."),
        (entry(target="json.loads"), "Entry('a').target must be 'module:Name', got 'json.loads'."),
        (entry(summary=""), "Entry('a').summary must be one line of text, got ''."),
        (entry(summary="two\nlines"), "Entry('a').summary must be one line of text, got 'two"),
        (entry(needs="torch"), "Entry('a').needs must be a tuple of strings, got 'torch'."),
        (entry(cites=["b"]), "Entry('a').cites must be a tuple of strings, got ['b']."),
        (entry(extra=None), "Entry('a').extra must be a string, got None."),
    ],
)
def test_unsound_entries_are_refused_and_sound_ones_kept(plugins, bad, reason):
    install_module(plugins[0], "unsound", entries_source(bad, entry(name="sound")))
    plugins[1]()
    [failure] = failures_of("unsound")
    assert failure.reason.startswith(reason)
    assert isinstance(failure.error, BrokenPluginError)
    assert registry.get("prior", "sound") is json.loads


def test_misspelt_hooks_and_wrappers_are_reported(plugins):
    source = """
        from recon.entries import Entry
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_entrees():
            return []

        @hookimpl
        def zzzzzz():
            return []

        @hookimpl(optionalhook=True)
        def of_another_version():
            return []

        @hookimpl(wrapper=True)
        def recon_checks():
            return (yield)

        @hookimpl
        def recon_entries():
            return [Entry("prior", "spelt", "json:loads", "x")]
    """
    install_module(plugins[0], "misspelt", source)
    plugins[1]()
    assert [failure.reason for failure in failures_of("misspelt")] == [
        "recon_checks must be a plain function, got a hook wrapper.",
        "There is no hook named 'recon_entrees'. Did you mean 'recon_entries'?",
        "There is no hook named 'zzzzzz'. Known: "
        "recon_checks, recon_commands, recon_entries, recon_observers, recon_read, recon_write.",
    ]
    assert registry.get("prior", "spelt") is json.loads
    assert "misspelt" not in [distribution for distribution, _ in registry.hooks("recon_checks")]


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import sys; sys.exit(3)", "cannot be loaded: SystemExit: 3"),
        ("def f(:", "cannot be loaded: SyntaxError: "),
        ("raise ValueError", "cannot be loaded: ValueError"),
    ],
)
def test_a_module_of_hooks_may_do_anything(plugins, source, reason):
    install_module(plugins[0], "wild", source)
    install_good(plugins[0])
    plugins[1]()
    assert [failure.reason.startswith(reason) for failure in failures_of("wild")] == [True]
    assert registry.find("operator", "good-scale")


@pytest.mark.parametrize(
    "body", ["return None", "return 3", "yield 1; raise OSError('disk')", "raise SystemExit"]
)
def test_recon_entries_may_do_anything(plugins, body):
    source = f"from recon.hookspecs import hookimpl\n@hookimpl\ndef recon_entries():\n    {body}\n"
    install_module(plugins[0], "wild", source)
    plugins[1]()
    assert [failure.reason.startswith("recon_entries raised: ") for failure in failures_of("wild")] == [True]


def test_unreadable_metadata_loses_only_its_own_distribution(plugins):
    folder, look = plugins
    install_good(folder)
    damaged = folder / "damaged-1.0.dist-info"
    damaged.mkdir()
    (damaged / "entry_points.txt").write_text("[recon]\nthis line has no equals sign\n")
    look()
    assert registry.find("operator", "good-scale")
    [failure] = failures_of("damaged-1.0")
    assert failure.reason.startswith("cannot be read: ")


def test_our_own_distribution_comes_first(plugins):
    folder, look = plugins
    for name in ("recon-inverse", "aaa"):
        module = name.replace("-", "_") + "_hooks"
        text = entries_source(f'Entry("prior", "wanted", "json:loads", "of {name}")')
        install(folder, name, {f"{module}.py": text}, module, version="9.9")
    look()
    assert registry.find("prior", "wanted").summary == "of recon-inverse"
    assert registry.failures()[-1].distribution == "aaa"


def test_the_same_distribution_twice_on_the_path_counts_once(plugins, monkeypatch, tmp_path_factory):
    folder, look = plugins
    again = tmp_path_factory.mktemp("again")
    install_good(again)
    install_good(folder)
    monkeypatch.syspath_prepend(again)
    look()
    assert len([plugin for plugin in registry.plugins() if plugin.distribution == "a-good-plugin"]) == 1
    assert failures_of("a-good-plugin") == []


# -- hooks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_documented_and_tested(hook):
    doc = inspect.getdoc(getattr(hookspecs, hook))
    assert re.search(r"^Example\n-------\n>>> @hookimpl\n\.\.\. def " + hook, doc, re.MULTILINE)
    signature = inspect.signature(getattr(hookspecs, hook))
    assert all(item.annotation is not inspect.Parameter.empty for item in signature.parameters.values())
    assert signature.return_annotation is not inspect.Signature.empty
    tests = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    assert any(f'hooks("{hook}")' in text or f'implementation("{hook}")' in text for text in tests)
    with pytest.raises(NotImplementedError):
        getattr(hookspecs, hook)(*[None] * len(signature.parameters))


def implementation(hook: str):
    return next(
        function for distribution, function in registry.hooks(hook) if distribution == "a-good-plugin"
    )


def test_hooks_take_all_or_fewer_arguments(plugins, tmp_path):
    folder, look = plugins
    install_good(folder)
    look()
    read, write = implementation("recon_read"), implementation("recon_write")
    path = tmp_path / "x.good"
    assert write(path, {"x": 1}, {"note": "not taken"}) is True  # the plugin declares only two of the three
    assert read(path=path) == {"data": "{'x': 1}"}
    assert read(Path("other.txt")) is None
    assert write(path=Path("other.txt"), arrays={}, record={}) is None


def test_hooks_of_observers_checks_commands_entries(plugins):
    folder, look = plugins
    install_good(folder)
    look()
    assert [function for _, function in registry.hooks("recon_observers")]
    assert implementation("recon_observers")()[0](None, None) is None
    assert implementation("recon_checks")()[0][1]() == "version 3 found"
    assert [command.name for command in implementation("recon_commands")()] == ["fail", "log"]
    assert len(implementation("recon_entries")()) == 3
    assert registry.hooks("recon_read")
    assert registry.hooks("recon_write")


def test_one_raising_hook_does_not_lose_the_others(plugins):
    folder, look = plugins
    install_good(folder)
    first = """
        from recon.hookspecs import hookimpl

        @hookimpl(tryfirst=True)
        def recon_read(path):
            raise RuntimeError("cannot")
    """
    install_module(folder, "zzz-eager", first)
    look()
    order = [distribution for distribution, _ in registry.hooks("recon_read")]
    assert order.index("zzz-eager") < order.index("a-good-plugin")
    with pytest.raises(RuntimeError, match="cannot"):
        registry.hooks("recon_read")[0][1](Path("x"))
    assert implementation("recon_read")(Path("x")) is None


def test_unknown_hooks_suggest_the_right_one():
    with pytest.raises(
        UnknownNameError, match=r"There is no hook named 'recon_raed'. Did you mean 'recon_read'\?"
    ):
        registry.hooks("recon_raed")
