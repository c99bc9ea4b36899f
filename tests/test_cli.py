"""The command line: what each verb prints, its exit codes, and no traceback for a mistake of a user."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fake_plugins import child_environment, command_line, install_broken, install_good, install_module

from recon import registry
from recon._version import __version__
from recon.cli import main
from recon.cli.group import VERBS
from recon.cli.new_plugin import write_plugin
from recon.errors import ParameterError


@pytest.fixture
def recon(tmp_path_factory, monkeypatch, capsys):
    """Run ``recon ...`` in this process beside the good plugin: (exit code, output, error output)."""
    folder = tmp_path_factory.mktemp("plugins")
    install_good(folder)
    before = set(sys.modules)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delenv("RECON_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    registry.reload()

    def run(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    run.folder = folder
    yield run
    for name in set(sys.modules) - before:
        if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
    monkeypatch.undo()
    registry.reload()


# -- help and version ----------------------------------------------------------------------------------------


def test_help_names_every_verb_and_the_plugins_commands(recon):
    code, out, _ = recon("--help")
    assert code == 0
    assert all(f"  {verb} " in out for verb in VERBS)
    assert "Commands of plugins:" in out
    assert "Fail on purpose. (a-good-plugin)" in out
    assert recon() == (0, out, "")
    assert recon("-h")[1] == out


@pytest.mark.parametrize("verb", [*VERBS, "fail"])
def test_each_verb_has_help(recon, verb):
    code, out, _ = recon(verb, "--help")
    assert code == 0
    assert out.startswith(f"Usage: recon {verb} ")
    assert len(out.splitlines()) > 4


def test_version(recon):
    assert recon("--version") == (0, f"recon, version {__version__}\n", "")
    assert recon("-V")[0] == 0


def test_help_imports_no_verb():
    code = (
        "import sys; from recon.cli import main; assert main(['--help']) == 0;"
        "bad = [m for m in sys.modules if m.startswith('recon.cli.') and m != 'recon.cli.group'];"
        "bad += [m for m in ('scipy', 'matplotlib', 'numba', 'torch', 'rich.table') if m in sys.modules];"
        "assert not bad, bad"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=child_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


# -- list ----------------------------------------------------------------------------------------------------


def test_list_shows_what_is_registered(recon):
    code, out, _ = recon("list")
    assert code == 0
    assert any(
        line.split() == ["operator", "good-scale", "Multiply", "by", "a", "number", "a-good-plugin"]
        for line in out.splitlines()
    )
    code, out, _ = recon("list", "PRIORS")
    assert code == 0
    assert "good-prior" in out
    assert "good-scale" not in out


def test_list_json(recon):
    code, out, _ = recon("list", "operator", "--json")
    [record] = [item for item in json.loads(out) if item["name"] == "good-scale"]
    assert code == 0
    assert record["distribution"] == "a-good-plugin"
    assert record["target"] == "good_plugin.things:GoodScale"
    assert record["cites"] == ["A paper (2024)"]
    assert record["missing"] == []


def test_list_marks_what_is_not_installed_and_points_at_the_doctor(recon):
    install_broken(recon.folder)
    registry.reload()
    code, out, err = recon("list", "solver")
    assert code == 0
    assert "not installed" in out
    assert "a_library_that_is_not_there" in out
    assert err.endswith("problems with plugins. See 'recon doctor'.\n")
    [record] = [
        item for item in json.loads(recon("list", "solvers", "--json")[1]) if item["name"] == "fast-one"
    ]
    assert record["install"] == 'pip install "bad-extra[gpu]"'


def test_list_of_an_empty_kind(recon, monkeypatch):
    monkeypatch.setattr(registry, "entries", lambda kind=None: ())
    assert recon("list", "loss")[1] == "Nothing is registered of the kind loss. See 'recon doctor'.\n"
    monkeypatch.setenv("RECON_BENCH_CHILD", "1")
    assert recon("bench") == (0, "No plugin offers a benchmark.\n", "")


# -- info ----------------------------------------------------------------------------------------------------


def test_info_of_an_operator(recon):
    code, out, _ = recon("info", "operator", "GoodScale")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0] == "operator good-scale: Multiply by a number"
    assert "y = f x, entry by entry." in lines
    assert "Exact." in lines
    assert "Parameters" not in lines
    assert "size integer >= 1 required Number of samples, at least one." in lines
    assert "factor number > 0 2.0 the factor f" in lines
    assert "mode 'fast' or 'slow' 'fast'" in lines
    assert "spacing numbers or none none" in lines
    assert "can do norm_bound" in lines
    assert "example's domain (5,) real" in lines
    assert "cites A paper (2024)" in lines
    assert "import from good_plugin.things import GoodScale" in lines
    assert "from a-good-plugin" in lines


def test_info_of_a_class_without_declarations_whose_example_fails(recon):
    code, out, _ = recon("info", "prior", "good-prior")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "weight number 1.0" in lines
    assert "label text 'a'" in lines
    assert "example example() raised RuntimeError: no example today" in lines
    record = json.loads(recon("info", "prior", "good-prior", "--json")[1])
    assert record["schema"] is None
    assert record["capabilities"] == ["value"]
    assert record["example"] == {"fault": "example() raised RuntimeError: no example today"}


def test_info_of_a_benchmark(recon):
    code, out, _ = recon("info", "bench", "good-bench")
    assert code == 0
    assert "One case." in out


def test_info_json_has_a_schema_of_the_parameters(recon):
    code, out, _ = recon("info", "operator", "good-scale", "--json")
    record = json.loads(out)
    assert code == 0
    assert record["capabilities"] == ["norm_bound"]
    assert record["example"]["domain"] == "(5,) real"
    schema = record["schema"]
    assert schema["required"] == ["size"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "size": {"type": "integer", "minimum": 1},
        "factor": {"type": "number", "exclusiveMinimum": 0, "description": "the factor f", "default": 2.0},
        "mode": {"enum": ["fast", "slow"], "default": "fast"},
        "spacing": {
            "anyOf": [{"type": "array", "items": {"type": "number"}}, {"type": "null"}],
            "default": None,
        },
    }


def test_info_shows_the_notes_of_an_operator_in_rows(recon):
    code, out, _ = recon("info", "operator", "kronecker")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert "shapes (n1, ..., nd) -> (m1, ..., md) for factors n_k -> m_k" in lines
    assert "can do norm_bound, data_prox, pinv, svd, absolute_sums, factors" in lines
    assert "Notes" not in lines
    record = json.loads(recon("info", "operator", "kronecker", "--json")[1])
    assert record["formula"].startswith("X -> A X B^T for two factors")
    assert record["source"].endswith("85, doi:10.1016/S0377-0427(00)00393-9")  # of two lines


OURS = [e for e in registry.entries("operator") if registry.source(e).startswith("recon-inverse")]


@pytest.mark.parametrize("name", [e.name for e in OURS])
def test_info_of_each_operator_has_formula_shapes_units_cost_and_source(name, recon):
    """Claim 7 of every operator: what `recon info` prints."""
    record = json.loads(recon("info", "operator", name, "--json")[1])
    assert not [item for item in ("formula", "shapes", "units", "cost", "source") if not record.get(item)]
    assert record["cites"]


# -- doctor --------------------------------------------------------------------------------------------------


def test_doctor_reports_system_packages_and_checks(recon):
    code, out, _ = recon("doctor", "--json")
    report = json.loads(out)
    ours = [f for f in report["failures"] if f["distribution"] == "a-good-plugin"]
    assert ours == []
    assert report["packages"]["numpy"]
    assert report["system"]["cores"] >= 1
    assert code == (0 if report["ok"] else 1)
    assert report["ok"] == (not report["failures"])
    text = recon("doctor")[1]
    assert "version 3 found" in text
    assert ("All is well." in text) == report["ok"]


def test_doctor_deep_imports_every_entry_and_makes_its_example(recon):
    code, out, _ = recon("doctor", "--deep", "--json")
    lines = {(line["kind"], line["name"]): line for line in json.loads(out)["deep"]}
    assert code == 1
    assert lines["operator", "good-scale"]["ok"]
    assert lines["bench", "good-bench"]["ok"]
    assert lines["prior", "good-prior"] == {
        "kind": "prior",
        "name": "good-prior",
        "ok": False,
        "text": "RuntimeError: no example today",
    }


def test_doctor_reports_hooks_and_checks_that_fail(recon):
    source = """
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_checks():
            return [("filter wheel", lambda: 1 / 0), ("camera", lambda: "cooled")]
    """
    install_module(recon.folder, "bad-checks", source)
    install_module(recon.folder, "bad-checks-2", source.replace("return [(", "raise OSError('no bus') or [("))
    registry.reload()
    code, out, _ = recon("doctor", "--json")
    report = json.loads(out)
    assert code == 1
    assert {
        (c["title"], c["ok"], c["text"]) for c in report["checks"] if c["distribution"] == "bad-checks"
    } == {
        ("filter wheel", False, "ZeroDivisionError: division by zero"),
        ("camera", True, "cooled"),
    }
    assert [f["reason"] for f in report["failures"] if f["distribution"] == "bad-checks-2"] == [
        "recon_checks raised: OSError: no bus"
    ]
    plain = [" ".join(line.split()) for line in recon("doctor")[1].splitlines()]
    assert "filter wheel failed ZeroDivisionError: division by zero" in plain
    assert "bad-checks-2 1.0 0 failed" in plain


def test_doctor_reports_commands_that_are_refused(recon):
    source = """
        import click
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_commands():
            return [click.Command("list"), click.Command("fail"), len, click.Command("mine")]
    """
    install_module(recon.folder, "bad-commands", source)
    install_module(recon.folder, "bad-commands-2", source.replace("return [", "raise OSError('no') or ["))
    registry.reload()
    report = json.loads(recon("doctor", "--json")[1])
    assert [f["reason"] for f in report["failures"] if f["distribution"].startswith("bad-commands")] == [
        "The command 'list' belongs to recon. Choose another name.",
        "The command 'fail' belongs to a-good-plugin. Choose another name.",
        "recon_commands must give click commands, got builtin_function_or_method.",
        "recon_commands raised: OSError: no",
    ]
    assert recon("mine")[0] == 0


# -- bench ---------------------------------------------------------------------------------------------------


def test_bench_prints_json_from_a_child_with_one_thread(recon):
    done = command_line("bench", "good_bench", "--json", "--rounds", "2", path=recon.folder)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["threads"] == 1
    assert report["versions"]["numpy"]
    [bench] = report["benchmarks"]
    [case] = bench["cases"]
    ours, (loop, bad) = case["ours"], case["peers"]
    assert 0 < ours["seconds"]["min"] <= ours["seconds"]["median"] <= ours["seconds"]["max"]
    assert ours["repeats"] > 1
    assert loop["ratio"]["min"] <= loop["ratio"]["median"] <= loop["ratio"]["max"]
    assert bad["error"] == "ValueError: peer is [out] of order"
    assert bad["ratio"] is None


def test_bench_table_shows_failures_in_their_rows(recon, monkeypatch):
    monkeypatch.setenv("RECON_BENCH_CHILD", "1")
    code, out, _ = recon("bench", "good-bench", "--rounds", "1")
    assert code == 0
    assert "failed: ValueError: peer is [out] of order" in out
    assert "sum of 1000: toy" in out
    assert "ours" in out


def test_bench_that_cannot_be_set_up_fails_without_stopping_others(recon, monkeypatch):
    source = """
        from recon.entries import Entry
        from recon.hookspecs import hookimpl

        @hookimpl
        def recon_entries():
            return [Entry("bench", "a-broken", "bad_bench_hooks:cases", "x"),
                    Entry("bench", "b-broken", "bad_bench_hooks:ours", "x")]

        def cases():
            raise ImportError("no peer here")

        def ours():
            from recon.bench import Case
            return [Case("x", lambda: 1 / 0)]
    """
    install_module(recon.folder, "bad-bench", source)
    registry.reload()
    monkeypatch.setenv("RECON_BENCH_CHILD", "1")
    code, out, _ = recon("bench", "a-broken")
    assert code == 1
    assert "a-broken: failed: ImportError: no peer here" in out
    code, out, _ = recon("bench", "b-broken")
    assert code == 1
    assert "failed: ZeroDivisionError" in out


# -- new-plugin ----------------------------------------------------------------------------------------------


def test_new_plugin_writes_a_package(recon, tmp_path):
    code, out, _ = recon("new-plugin", "My_Scanner", "--directory", str(tmp_path))
    assert code == 0
    assert f"cd {tmp_path / 'my-scanner'} && pip install" in out
    made = tmp_path / "my-scanner"
    assert [path.name for path in tmp_path.iterdir()] == ["my-scanner"]
    assert sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()) == [
        "README.md",
        "my_scanner/__init__.py",
        "my_scanner/_hooks.py",
        "my_scanner/operator.py",
        "my_scanner/prior.py",
        "my_scanner/solver.py",
        "pyproject.toml",
        "tests/test_contract.py",
    ]
    assert not any("$" in path.read_text() for path in made.rglob("*.*"))
    assert 'my_scanner = "my_scanner._hooks"' in (made / "pyproject.toml").read_text()
    assert made.stat().st_mode & 0o777 == 0o777 & ~_umask()
    code, _, err = recon("new-plugin", "my-scanner", "--directory", str(tmp_path))
    assert code == 2
    assert err == (
        f"Error: new-plugin's folder must not exist, got {made}. Choose another name or --directory.\n"
    )


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


@pytest.mark.parametrize("name", ["", "3d", "a b", "../up", "a--b", "lambda", "ü", "a-"])
def test_new_plugin_refuses_names_that_cannot_be(tmp_path, name):
    with pytest.raises(
        ParameterError, match="NAME must be letters, digits and hyphens, beginning with a letter, got "
    ):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["json", "recon", "recon-sbl", "tests", "numpy", "pytest"])
def test_new_plugin_refuses_names_of_others(tmp_path, name):
    with pytest.raises(
        ParameterError, match=f"NAME must be free, got '{name}', which is the name of another package"
    ):
        write_plugin(name, tmp_path)


def test_new_plugin_leaves_nothing_behind_when_the_disk_is_full(recon, tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", full)
    code, _, err = recon("new-plugin", "my-scanner", "--directory", str(tmp_path))
    assert code == 1
    assert err.startswith("Error: No space left on device: ")
    assert list(tmp_path.iterdir()) == []


def test_new_plugin_wants_a_folder_that_exists(recon, tmp_path):
    code, _, err = recon("new-plugin", "my-scanner", "--directory", str(tmp_path / "nowhere"))
    assert code == 2
    assert "does not exist" in err


# -- errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["lits"], 2, "There is no command 'lits'. Did you mean 'list'? See 'recon --help'."),
        (["list", "--foo"], 2, "No such option"),
        (
            ["list", "thing"],
            2,
            "There is no kind 'thing'. Known: operator, prior, loss, solver, dataset, bench.",
        ),
        (["info", "operator"], 2, "Missing argument 'NAME'. See 'recon info --help'."),
        (["info", "operator", "god-scale"], 2, "no operator named 'god-scale'. Did you mean 'good-scale'?"),
        (["bench", "god-bench"], 2, "There is no bench named 'god-bench'. Did you mean 'good-bench'?"),
        (["bench", "--rounds", "0"], 2, "0 is not in the range x>=1. See 'recon bench --help'."),
        (["fail", "config"], 2, "run.toml: solver.name must be known, got 'x'."),
        (["fail", "data"], 1, "scan.mat cannot be read."),
        (["fail", "full"], 1, "No space left on device: out.npz"),
        (["fail", "memory"], 1, "Not enough memory. Unable to allocate 3 TiB"),
        (
            ["fail", "bug"],
            1,
            "internal error: KeyError: 'bins'. Run with RECON_TRACEBACK=1 to see the traceback",
        ),
    ],
)
def test_mistakes_are_one_sentence_with_an_exit_code(recon, arguments, code, text):
    got, out, err = recon(*arguments)
    assert (got, out) == (code, "")
    assert err.startswith("Error: ")
    assert text in err
    assert err.count("\n") == 1


def test_other_endings(recon):
    assert recon("fail", "interrupt")[0] == 130
    assert recon("fail", "exit")[0] == 7


def test_interrupted_says_so(recon):
    assert recon("fail", "interrupt")[2].strip() == "Interrupted."


def test_traceback_on_request(recon, monkeypatch):
    monkeypatch.setenv("RECON_TRACEBACK", "1")
    with pytest.raises(KeyError, match="bins"):
        main(["fail", "bug"])


def test_verbose_logs_to_standard_error(recon):
    assert recon("log") == (0, "", "")
    assert recon("-v", "log")[2] == "INFO recon: coarse\n"
    assert recon("-vv", "log")[2] == "INFO recon: coarse\nDEBUG recon.part: fine\n"
    assert logging.getLogger("recon").level == logging.NOTSET


# -- terminals, pipes, signals: in a process of its own ------------------------------------------------------


def test_a_reader_that_leaves_is_no_traceback(tmp_path):
    install_good(tmp_path)
    for arguments in (["list"], ["list", "--json"], ["doctor"], ["--help"]):
        child = subprocess.Popen(
            [sys.executable, "-P", "-m", "recon.cli", *arguments],
            env=child_environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        child.stdout.close()
        complaint = child.stderr.read()
        child.stderr.close()
        assert child.wait(60) == 1
        assert "Traceback" not in complaint
        assert "Exception ignored" not in complaint
        assert "Error" not in complaint


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output_is_one_sentence(tmp_path):
    install_good(tmp_path)
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "recon.cli", "list"],
            env=child_environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert done.returncode == 1
    assert "Error: No space left on device\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_terminal_that_is_not_utf8(tmp_path):
    install_good(tmp_path)
    for arguments in (["list"], ["info", "operator", "good-scale"], ["doctor"]):
        done = command_line(*arguments, path=tmp_path, PYTHONIOENCODING="ascii", LC_ALL="C", PYTHONUTF8="0")
        assert "Traceback" not in done.stdout + done.stderr
        assert done.stdout.isascii()
        assert "internal error" not in done.stderr


def test_no_color_is_respected(tmp_path):
    install_good(tmp_path)
    done = command_line("list", path=tmp_path, NO_COLOR="1", FORCE_COLOR="")
    assert "\x1b[3" not in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_ends_with_130(tmp_path):
    install_good(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "recon.cli", "fail", "wait"],
        env=child_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout.readline() == "waiting\n"
    child.send_signal(signal.SIGINT)
    _, complaint = child.communicate(timeout=60)
    assert child.returncode == 130
    assert complaint.strip() == "Interrupted."


# -- a plugin from the template, built and installed ---------------------------------------------------------


@pytest.mark.slow
def test_a_new_plugin_installs_passes_its_tests_and_is_listed(tmp_path):
    made = write_plugin("my-scanner", tmp_path)
    site = tmp_path / "site"
    offline = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    install = [sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(made)]
    subprocess.run(install, check=True, capture_output=True, text=True)
    environment = child_environment(site)
    tests = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", f"{made}/tests"]
    done = subprocess.run(tests, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    listed = command_line("list", "--json", path=site)
    names = {(e["kind"], e["name"]) for e in json.loads(listed.stdout) if e["distribution"] == "my-scanner"}
    assert names == {
        ("operator", "my-scanner-difference"),
        ("prior", "my-scanner-huber"),
        ("solver", "my-scanner-descent"),
    }
    assert command_line("info", "operator", "my-scanner-difference", path=site).returncode == 0
