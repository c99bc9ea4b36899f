"""``recon run``: what it writes, that it can be repeated, broken off and gone on with, bit for bit."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from run_files import HEAD, LASSO, QUICK, listing, make, start, wait_for

import recon
from recon import registry
from recon.checkpoint import load_state
from recon.cli import main
from recon.config import load_run
from recon.errors import CheckpointError

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")


@pytest.fixture
def run(tmp_path, capsys):
    """Write a run file, run it in this process: (exit code, output, error output)."""

    def run(text: str, *options: object) -> tuple[int, str, str]:
        code = main(["run", str(make(tmp_path, text)), *map(str, options)])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return code, out, err

    return run


# -- what it writes ------------------------------------------------------------------------------------------


def test_a_run_writes_arrays_picture_and_record(run, tmp_path):
    text = LASSO.replace('key = "y"}', 'key = "y", truth = "scan.npz", truth_key = "truth"}', 1)
    code, out, err = run(text + 'title = "three spikes"\nstopping = {iterations = 25, change = 0}\n')
    results = tmp_path / "results"
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [
        "three spikes: <Matrix: (40,) real -> (30,) real>",
        "solver Fista (named in the run file)",
    ]
    assert "MAX_ITERATIONS after 25 iterations" in out
    assert "nrmse" in out
    assert f"written to {results}: result.json, result.npz, result.png" in out
    assert listing(results) == ["result.json", "result.npz", "result.png"]
    with Image.open(results / "result.png") as picture:
        picture.load()
        assert min(picture.size) > 300
    with np.load(results / "result.npz", allow_pickle=False) as archive:
        x = archive["x"]
    problem = load_run(tmp_path / "run.toml").problem
    solver = registry.get("solver", "fista")()
    assert x.tobytes() == recon.solve(problem, solver, stop=25).x.tobytes()


def test_the_record_has_what_is_needed_to_repeat_the_run(run, tmp_path):
    code, out, err = run(QUICK + "seed = 9\n", "--json")
    assert (code, err) == (0, "")
    record = json.loads(out)
    assert json.loads((tmp_path / "results" / "result.json").read_text()) == record
    assert record["title"] == "run"
    assert record["run_file"] == str(tmp_path / "run.toml")
    assert record["seed"] == record["provenance"]["seed"] == 9
    assert record["config"]["prior"] == {"name": "l1", "weight": 0.05}
    assert record["config"]["data"] == {"file": "scan.npz", "key": "y"}
    assert record["solver"] == {"class": "Fista", "step_size": None, "restart": True, "line_search": False}
    assert record["provenance"]["stop"] == "MaxIterations(limit=25)"
    assert (record["status"], record["iterations"], record["resumed_from"]) == ("MAX_ITERATIONS", 25, None)
    assert len(record["data"]["sha256"]) == 16
    assert record["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert record["versions"]["numpy"] == np.__version__
    assert record["plugins"]["recon-inverse"] == recon.__version__
    assert record["machine"]["cores"] >= 1
    assert record["machine"]["cpu"]
    assert time.strptime(record["finished"][:19], "%Y-%m-%dT%H:%M:%S")


def test_running_twice_gives_the_same_bits(run, tmp_path):
    for text in (QUICK, 'data = {dataset = "shepp-logan", size = 16, views = 9, noise = 0.01}\n'
                 'prior = {name = "tv", weight = 0.01}\nstopping = {iterations = 30}\n'
                 "output = {picture = false}\n"):  # fmt: skip
        found = []
        for folder in ("a", "b"):
            assert run(text, "--output", tmp_path / folder, "--overwrite")[0] == 0
            with np.load(tmp_path / folder / "result.npz") as archive:
                found.append((archive["x"].tobytes(), archive["history.objective"].tobytes()))
        assert found[0] == found[1]


def test_a_solver_is_chosen_and_named(run, tmp_path):
    code, out, _ = run(
        HEAD + 'prior = {name = "l1"}\nstopping = {iterations = 3}\noutput = {picture = false}\n'
    )
    assert code == 0
    assert "solver ActiveSet (chosen: l1 and an explicit matrix" in out


def test_check_runs_nothing(run, tmp_path):
    code, out, _ = run(LASSO, "--check")
    assert code == 0
    assert out.startswith(
        f"{tmp_path / 'run.toml'} is fine: <Matrix: (40,) real -> (30,) real>, prior L1(weight=0.05"
    )
    code, out, _ = run(LASSO + "title = 'a'\n", "--check", "--json")
    assert code == 0
    assert json.loads(out)["config"]["title"] == "a"
    assert listing(tmp_path) == ["run.toml", "scan.npz"]


def test_dates_in_a_run_file_are_text_in_the_record(run, tmp_path):
    code, _, err = run(QUICK + "title = 2024-01-01\n")
    assert code == 2
    assert "[title] must be a string, got datetime.date(2024, 1, 1)." in err


def test_output_option(run, tmp_path):
    assert run(QUICK, "--output", tmp_path / "else" / "where")[0] == 0
    assert listing(tmp_path / "else" / "where") == ["result.json", "result.npz"]
    assert not (tmp_path / "results").exists()


@pytest.mark.skipif(importlib.util.find_spec("zarr") is None, reason="needs zarr")
def test_zarr(run, tmp_path):
    import zarr

    formats = QUICK.replace("picture = false", 'picture = false, formats = ["zarr"]')
    assert run(formats)[0] == 0
    assert listing(tmp_path / "results") == ["result.json", "result.zarr"]
    group = zarr.open_group(str(tmp_path / "results" / "result.zarr"), mode="r")
    assert group["x"].shape == (40,)
    assert group.attrs["record"]["status"] == "MAX_ITERATIONS"
    both = QUICK.replace("picture = false", 'picture = false, formats = ["zarr", "npz"]')
    code, _, err = run(both)
    assert code == 1
    assert "result.zarr is already there. Use --overwrite" in err
    assert run(both, "--overwrite")[0] == 0
    assert listing(tmp_path / "results") == ["result.json", "result.npz", "result.zarr"]
    assert run(QUICK, "--overwrite")[0] == 0
    assert listing(tmp_path / "results") == ["result.json", "result.npz"]  # nothing of an earlier run stays


def test_zarr_that_is_missing_fails_before_the_run(run, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "zarr" else find(name))
    code, out, err = run(QUICK.replace("picture = false", 'formats = ["npz", "zarr"]'))
    assert (code, out) == (1, "")
    assert err == (
        "Error: output.formats = ['zarr'] needs zarr, which is not installed. "
        "Run: pip install 'recon-inverse[batch]'\n"
    )
    assert not (tmp_path / "results").exists()


def test_a_format_that_no_plugin_writes(run, tmp_path, monkeypatch):
    found = registry.hooks
    monkeypatch.setattr(registry, "hooks", lambda name: [] if name == "recon_write" else found(name))
    code, _, err = run(QUICK.replace("picture = false", 'formats = ["npz", "zarr"]'))
    assert code == 1
    assert err == "Error: result.zarr must be of a format that a plugin writes, got '.zarr'.\n"
    assert listing(tmp_path / "results") == ["state.npz"]  # the work is kept for --resume


def test_existing_results_stay_unless_overwritten(run, tmp_path):
    assert run(QUICK)[0] == 0
    results = tmp_path / "results"
    before = {name: (results / name).read_bytes() for name in listing(results)}
    code, out, err = run(QUICK)
    assert (code, out) == (1, "")
    assert err == (
        f"Error: {results / 'result.npz'} is already there. Use --overwrite, or --output another folder.\n"
    )
    assert {name: (results / name).read_bytes() for name in listing(results)} == before
    assert run(QUICK.replace("25", "26"), "--overwrite")[0] == 0
    assert json.loads((results / "result.json").read_text())["iterations"] == 26


def test_a_diverged_run_is_written_and_fails(run, tmp_path):
    text = QUICK.replace('name = "fista"', 'name = "fista", step_size = 1e300').replace("25", "300")
    code, out, err = run(text)
    assert code == 1
    assert "DIVERGED after" in out
    assert err.startswith("Error: Fista ended with status DIVERGED after")
    assert err.count("\n") == 1
    record = json.loads((tmp_path / "results" / "result.json").read_text(), parse_constant=pytest.fail)
    assert record["status"] == "DIVERGED"
    assert record["last"]["objective"] is None
    code, out, err = run(text, "--json", "--overwrite")
    assert code == 1
    assert json.loads(out)["status"] == "DIVERGED"


def test_a_truth_of_another_kind_is_left_out_of_the_record(run, tmp_path):
    zero = 'key = "y", truth = "zero.npy"}'
    np.save(tmp_path / "zero.npy", np.zeros(40))
    assert run(QUICK.replace('key = "y"}', zero, 1))[0] == 0
    record = json.loads((tmp_path / "results" / "result.json").read_text())
    assert "psnr" not in record.get("against_truth", {})


# -- plugins -------------------------------------------------------------------------------------------------


def test_observers_of_plugins_watch_and_broken_ones_are_left_out(run, monkeypatch, caplog):
    seen = []

    def broken():
        raise RuntimeError("no camera")

    def hooks(name):
        if name != "recon_observers":
            return found(name)
        good = [lambda state, record: seen.append(state.iteration)]
        return [("a", broken), ("b", lambda: [3]), ("c", lambda: good)]

    found = registry.hooks
    monkeypatch.setattr(registry, "hooks", hooks)
    assert run(QUICK)[0] == 0
    assert seen == list(range(1, 26))
    assert "recon_observers of a raised RuntimeError: no camera" in caplog.text
    assert "recon_observers of b raised ParameterError: An observer must be" in caplog.text


# -- broken off, and gone on with ----------------------------------------------------------------------------

LONG = """
data = {dataset = "shepp-logan", size = 24, views = 12, noise = 0.01}
prior = {name = "tv", weight = 0.02}
solver = {name = "pdhg"}
stopping = {iterations = N, change = 0}
output = {picture = false, save_every = 20}
"""


def interrupted(tmp_path, *options, number=signal.SIGINT):
    """Start a run that takes for ever, break it off when it has saved a state: (exit code, out, err)."""
    file = make(tmp_path, LONG.replace("N", "10_000_000"))
    child = start("run", file, *options)
    folder = tmp_path / ("else" if options else "results")
    wait_for(child, lambda: (folder / "state.npz").exists())
    time.sleep(0.1)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    return child.returncode, out, err


def state_of(tmp_path, folder="results"):
    made = load_run(tmp_path / "run.toml")
    return load_state(tmp_path / folder / "state.npz", made.problem, made.solver)


@posix
def test_ctrl_c_saves_and_resume_goes_on_bit_for_bit(tmp_path, capsys):
    code, _, err = interrupted(tmp_path)
    results = tmp_path / "results"
    assert code == 130
    assert err.split("\n\n") == [  # click ends the line of the ^C
        f"The state is saved in {results / 'state.npz'}. Go on with: recon run {tmp_path / 'run.toml'} --resume",
        "Interrupted.\n",
    ]
    assert listing(results) == ["state.npz"]
    reached = state_of(tmp_path).iteration
    assert reached >= 20
    more = reached + 33
    make(tmp_path, LONG.replace("N", str(more)))
    file = str(tmp_path / "run.toml")
    assert main(["run", file]) == 1
    assert capsys.readouterr().err == (
        f"Error: {results / 'state.npz'} holds the state of an interrupted run. "
        "Go on with --resume, or start anew with --overwrite.\n"
    )
    assert main(["run", file, "--resume", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["resumed_from"], record["iterations"]) == (reached, more)
    assert listing(results) == ["result.json", "result.npz"]
    assert main(["run", file, "--output", str(tmp_path / "straight")]) == 0
    with np.load(results / "result.npz") as a, np.load(tmp_path / "straight" / "result.npz") as b:
        assert a["x"].tobytes() == b["x"].tobytes()
        assert a["history.objective"].tobytes() == b["history.objective"].tobytes()


@posix
def test_ctrl_c_names_the_folder_that_was_chosen(tmp_path):
    code, _, err = interrupted(tmp_path, "--output", tmp_path / "else")
    assert code == 130
    words = f"Go on with: recon run {tmp_path / 'run.toml'} --output {tmp_path / 'else'} --resume"
    assert words in err
    assert listing(tmp_path / "else") == ["state.npz"]


@posix
@pytest.mark.parametrize("delay", [0.0, 0.013, 0.029, 0.041])
def test_a_killed_run_leaves_a_whole_state_and_no_result(tmp_path, capsys, delay):
    """SIGKILL while states are saved as fast as they can be."""
    file = make(tmp_path, LONG.replace("N", "10_000_000").replace("save_every = 20", "save_every = 1"))
    child = start("run", file)
    results = tmp_path / "results"
    wait_for(child, lambda: (results / "state.npz").exists())
    time.sleep(delay)
    child.kill()
    child.communicate()
    assert child.returncode == -signal.SIGKILL
    assert [name for name in listing(results) if not name.startswith(".")] == ["state.npz"]
    reached = state_of(tmp_path).iteration
    assert reached >= 1
    make(tmp_path, LONG.replace("N", str(reached + 5)))
    assert main(["run", str(file), "--resume"]) == 0
    capsys.readouterr()
    assert [name for name in listing(results) if not name.startswith(".")] == ["result.json", "result.npz"]
    assert main(["run", str(file), "--overwrite"]) == 0


def test_resume_needs_a_state_of_the_same_run(run, tmp_path):
    code, out, err = run(QUICK, "--resume")
    assert (code, out) == (2, "")
    assert "results/state.npz must be there for --resume, got nothing. Run without --resume." in err
    made = load_run(tmp_path / "run.toml")
    (tmp_path / "results").mkdir()
    saved = tmp_path / "results" / "state.npz"
    recon.checkpoint.save_state(saved, made.solver.init(made.problem), made.problem, made.solver)
    before = saved.read_bytes()
    code, _, err = run(QUICK.replace("0.05", "0.06"), "--resume")
    assert code == 1
    assert err.startswith(
        f"Error: {saved} must come from the same prior, got a state of another. Resume with"
    )
    saved.write_bytes(before[: len(before) // 2])
    code, _, err = run(QUICK, "--resume")
    assert code == 1
    assert "state.npz must be a recon state file, got something unreadable" in err
    assert listing(tmp_path / "results") == ["state.npz"]
    saved.write_bytes(before)
    assert run(QUICK, "--resume")[0] == 0


def test_a_state_that_is_there_is_used_up_by_overwrite(run, tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "state.npz").write_text("of an older run")
    assert run(QUICK)[0] == 1
    assert run(QUICK, "--overwrite")[0] == 0
    assert listing(tmp_path / "results") == ["result.json", "result.npz"]


def test_ctrl_c_while_results_are_written_loses_nothing(run, tmp_path, monkeypatch):
    rename = os.replace

    def interrupt(source, target):
        if Path(target).parent == tmp_path / "results" and Path(target).name == "result.npz":
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("recon.cli.run.os.replace", interrupt)
        code, _, err = run(QUICK)
    assert code == 130
    assert "The state is saved in" in err
    assert listing(tmp_path / "results") == ["state.npz"]
    code, out, _ = run(QUICK, "--resume", "--json")
    assert code == 0
    assert json.loads(out)["iterations"] == json.loads(out)["resumed_from"] == 25


def test_the_state_is_of_the_run_file(tmp_path):
    """What `--resume` compares is also what load_state compares."""
    file = make(tmp_path, QUICK)
    made = load_run(file)
    recon.checkpoint.save_state(tmp_path / "s.npz", made.solver.init(made.problem), made.problem, made.solver)
    other = load_run(make(tmp_path, QUICK.replace('"fista"', '"pdhg"')))
    with pytest.raises(CheckpointError, match="must come from the same solver"):
        load_state(tmp_path / "s.npz", other.problem, other.solver)


# -- a weight that the data choose ---------------------------------------------------------------------------

CHOSEN = QUICK.replace("weight = 0.05", 'weight = "sure"').replace('key = "y"}', 'key = "y", noise = 0.01}')


def test_a_rule_chooses_the_weight(run, tmp_path):
    code, out, err = run(CHOSEN)
    assert (code, err) == (0, "")
    record = json.loads((tmp_path / "results" / "result.json").read_text())
    said = record["provenance"]["weight"]
    assert said["rule"] == "sure"
    assert f"weight {said['weight']:.4g} chosen by sure, {len(said['path'])} tried" in out
    assert listing(tmp_path / "results") == ["result.json", "result.npz"]
    made = load_run(tmp_path / "run.toml")
    again = recon.solve(made.problem, made.solver, weight=made.weight, stop=made.stopping.rule())
    assert again.provenance["weight"]["weight"] == said["weight"]


def test_resume_keeps_the_weight_that_was_chosen(run, tmp_path, monkeypatch):
    rename = os.replace

    def interrupt(source, target):
        if Path(target).name == "result.npz":
            raise KeyboardInterrupt
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr("recon.cli.run.os.replace", interrupt)
        assert run(CHOSEN)[0] == 130
    assert listing(tmp_path / "results") == ["state.npz", "weight.json"]
    with monkeypatch.context() as patch:
        patch.setattr("recon.driver.select_weight", None)  # must not be asked again
        assert run(CHOSEN, "--resume")[0] == 0
    assert run(CHOSEN, "--output", tmp_path / "straight")[0] == 0
    with np.load(tmp_path / "results/result.npz") as a, np.load(tmp_path / "straight/result.npz") as b:
        assert a["x"].tobytes() == b["x"].tobytes()
    assert listing(tmp_path / "results") == ["result.json", "result.npz"]


def test_a_rule_without_a_noise_level_is_one_sentence(run):
    code, _, err = run(QUICK.replace("weight = 0.05", 'weight = "sure"'))
    assert code == 2
    assert err.startswith("Error: weight = 'sure' needs the noise level: Problem.noise must be a number")
