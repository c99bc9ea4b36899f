"""Bad input on the command line: one clear sentence, the right exit code, no traceback, nothing half written."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from run_files import HEAD, LASSO, QUICK, listing, make, start

from recon import registry
from recon.cli import main

FULL = os.strerror(errno.ENOSPC).lower()


@pytest.fixture
def fails(tmp_path, capsys, monkeypatch):
    """Run a file that must fail with a code and one sentence, and leave the folder as it was."""
    monkeypatch.delenv("RECON_TRACEBACK", raising=False)

    def fails(text: str, code: int, *words: str, options: tuple[str, ...] = ()) -> str:
        if text:
            make(tmp_path, text)
        before = listing(tmp_path)
        assert main(["run", str(tmp_path / "run.toml"), *options]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("Error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        assert "internal error" not in err
        assert "array(" not in err
        for word in words:
            assert word in err
        assert listing(tmp_path) == before
        return err

    return fails


# -- the run file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LASSO + "stoping = {}\n", "run.toml: has no key 'stoping'. Did you mean 'stopping'?"),
        (LASSO + "stopping = {iters = 3}\n", "[stopping] Stopping has no parameter 'iters'. Did you mean"),
        (LASSO + "output = {formats = 3}\n", "[output] Output.formats must be a sequence, got 3."),
        (LASSO.replace("weight", "wieght"), "[prior] L1 has no parameter 'wieght'. Did you mean 'weight'?"),
        (
            LASSO.replace("fista", "fistula"),
            "[solver] There is no solver named 'fistula'. Did you mean 'fista'?",
        ),
        (LASSO.replace("0.05", "'high'"), "[prior] weight must be a number or one of"),
        (LASSO.replace("0.05", "-1"), "[prior] L1.weight must be >= 0, got -1"),
        (
            "[data\n",
            "run.toml must be a TOML file, got a fault: Expected ']' at the end of a table declaration",
        ),
        (LASSO + "stopping = {discrepancy = 1}\n", "[stopping] Discrepancy needs the noise level"),
        (LASSO.replace('key = "y"', 'key = "A"'), "Problem.data must have shape (..., 30), got (30, 40)."),
    ],
)
def test_a_wrong_run_file_ends_with_2(fails, text, words):
    fails(text, 2, words)


def test_files_that_are_not_there_end_with_2(tmp_path, capsys):
    assert main(["run", str(tmp_path / "no.toml")]) == 2
    assert capsys.readouterr().err == (
        f"Error: {tmp_path / 'no.toml'} must be a run file, got nothing there. Check the path.\n"
    )
    assert main(["run", str(tmp_path)]) == 2
    assert "must be a run file, got a folder." in capsys.readouterr().err
    assert main(["run"]) == 2
    assert "Missing argument 'FILE'" in capsys.readouterr().err


# -- the data ------------------------------------------------------------------------------------------------


def test_data_that_cannot_be_read_end_with_1(fails, tmp_path):
    make(tmp_path, LASSO)
    scan = tmp_path / "scan.npz"
    whole = scan.read_bytes()

    def with_data(content: bytes, *words: str) -> None:
        text = LASSO.replace('file = "scan.npz", key = "y"', 'file = "y.npz", key = "y"', 1)
        make(tmp_path, text)
        (tmp_path / "y.npz").write_bytes(content)
        fails("", 1, *words)

    with_data(whole[: len(whole) // 2], "y.npz must be a readable .npz file, got a damaged or foreign one")
    with_data(b"", "y.npz must be a readable .npz file, got a damaged or foreign one")
    with_data(b"hello", "y.npz must be a readable .npz file")
    rotten = bytearray(whole)
    rotten[len(whole) // 2] ^= 255
    with_data(bytes(rotten), "y.npz must be a readable .npz file, got a damaged or foreign one (BadZipFile)")
    fails(LASSO.replace('key = "y"', 'key = "z"'), 1, "scan.npz must hold the array 'z', got A, y, truth.")
    fails(
        LASSO.replace('"scan.npz", key = "y"', '"no.npz", key = "y"'),
        1,
        "no.npz must exist, got nothing there.",
    )


def test_an_encrypted_archive(fails, tmp_path):
    make(tmp_path, LASSO.replace('file = "scan.npz", key = "y"', 'file = "y.npz"', 1))
    with zipfile.ZipFile(tmp_path / "y.npz", "w") as archive:
        archive.writestr("y.npy", b"x" * 100)
    content = bytearray((tmp_path / "y.npz").read_bytes())
    content[6] |= 1  # the bit that says: encrypted, in the local header and in the directory
    content[content.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "y.npz").write_bytes(content)
    fails("", 1, "y.npz must be readable, got RuntimeError from recon-inverse")


class Evil:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_pickled_data_are_never_unpickled(fails, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = LASSO.replace('file = "scan.npz", key = "y"', 'file = "y.npy"', 1)
    make(tmp_path, text)
    np.save(tmp_path / "y.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    fails("", 1, "y.npy must be readable without pickle, got pickled objects. Save plain numeric arrays.")
    (tmp_path / "y.npy").write_bytes(pickle.dumps(Evil()))
    fails("", 1, "y.npy must be a readable .npy file")
    assert not (tmp_path / "pwned").exists()


def test_data_of_bad_values(fails, tmp_path):
    text = LASSO.replace('file = "scan.npz", key = "y"', 'file = "y.npy"', 1)
    make(tmp_path, text)
    y = np.ones(30)
    y[:3] = np.nan, np.inf, -np.inf
    np.save(tmp_path / "y.npy", y)
    fails("", 2, "[data] Problem.data must be finite, got 3 of 30 entries NaN or infinite.")
    np.save(tmp_path / "y.npy", np.ones(29))
    fails("", 2, "[data] Problem.data must have shape (..., 30), got (29,).")
    np.save(tmp_path / "y.npy", np.array(["a"] * 30))
    fails("", 1, "y.npy must hold numbers, got dtype <U1")
    np.save(tmp_path / "y.npy", np.ones(30, complex))
    fails("", 2, "[data] Problem.data must be real floating point, got complex128.")


def test_integer_data_are_converted(tmp_path, capsys):
    file = make(tmp_path, QUICK.replace('file = "scan.npz", key = "y"', 'file = "y.npy"', 1))
    np.save(tmp_path / "y.npy", np.arange(30, dtype=np.uint16))
    assert main(["run", str(file)]) == 0


def test_a_problem_that_the_solver_cannot_take_ends_with_1(fails, tmp_path):
    (tmp_path / "results").mkdir()
    sentence = "Cgls needs an L2 prior or none, got L1(weight=0.05). Use Fista or Pdhg instead"
    fails(LASSO.replace('"fista"', '"cgls"'), 1, sentence, options=("--json",))
    assert listing(tmp_path / "results") == []


# -- places --------------------------------------------------------------------------------------------------


def test_a_file_where_the_folder_should_be(fails, tmp_path):
    (tmp_path / "results").write_text("mine")
    fails(QUICK, 1, "results must be a folder to write to, got an error: file exists.")
    (tmp_path / "file").write_text("mine")
    fails(QUICK, 1, "got an error: not a directory.", options=("--output", str(tmp_path / "file" / "a")))
    fails(QUICK, 2, "is a file", options=("--output", str(tmp_path / "file")))
    assert (tmp_path / "results").read_text() == "mine"


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(fails, tmp_path, monkeypatch):
    def refuse(**kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "results").mkdir()
    monkeypatch.setattr("recon.storage.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr("recon.driver.solve", lambda *args, **options: pytest.fail("it ran"))
    fails(QUICK, 1, "results must be a folder to write to, got an error: permission denied.")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(fails, tmp_path):
    (tmp_path / "results").mkdir(mode=0o500)
    fails(QUICK, 1, "results must be a folder to write to, got an error: permission denied.")


# -- full disks ----------------------------------------------------------------------------------------------

IMAGE = """
data = {dataset = "shepp-logan", size = SIZE, views = 4}
prior = {name = "nonnegative"}
solver = {name = "fista"}
stopping = {iterations = 4, change = 0}
output = {picture = PICTURE, save_every = SAVE, formats = FORMATS}
"""


def image(size: int, save: int = 100, picture: str = "false", formats: str = '["npz"]') -> str:
    words = {"SIZE": str(size), "SAVE": str(save), "PICTURE": picture, "FORMATS": formats}
    text = IMAGE
    for word, value in words.items():
        text = text.replace(word, value)
    return text


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB at ``results``."""
    place = tmp_path / "results"
    place.mkdir()
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("needs root to mount a tmpfs")
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "recon-test", str(place)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting is not permitted")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def run_on_a_full_disk(tmp_path, text: str, *options: str) -> str:
    child = start("run", make(tmp_path, text), *options)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 1
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    return err


@pytest.mark.parametrize("formats", ['["npz"]', '["zarr"]'])
def test_a_result_that_does_not_fit_leaves_nothing(tmp_path, small_disk, formats):
    if "zarr" in formats:
        pytest.importorskip("zarr")
    err = run_on_a_full_disk(tmp_path, image(600, formats=formats))
    assert FULL in err.lower()
    assert "result." in err
    assert ".recon-" not in err
    assert listing(small_disk) == []


def test_a_state_that_does_not_fit_leaves_nothing(tmp_path, small_disk):
    err = run_on_a_full_disk(tmp_path, image(300, save=2))
    assert err == f"Error: {small_disk / 'state.npz'} cannot be written: {FULL}. Nothing was left there.\n"
    assert listing(small_disk) == []


def test_a_result_that_fits_is_written_where_its_state_would_not(tmp_path, small_disk):
    file = make(tmp_path, image(300))
    assert main(["run", str(file)]) == 0
    assert listing(small_disk) == ["result.json", "result.npz"]


def test_a_full_disk_leaves_the_results_of_the_run_before(tmp_path, small_disk):
    file = make(tmp_path, image(200))
    assert main(["run", str(file)]) == 0
    before = {name: (small_disk / name).read_bytes() for name in listing(small_disk)}
    run_on_a_full_disk(tmp_path, image(330), "--overwrite")
    assert {name: (small_disk / name).read_bytes() for name in listing(small_disk)} == before


def test_a_picture_that_does_not_fit_takes_the_arrays_with_it(tmp_path, small_disk):
    (small_disk / "ballast").write_bytes(bytes(860_000))
    run_on_a_full_disk(tmp_path, image(120, picture="true"))
    assert [name for name in listing(small_disk) if name != "state.npz"] == ["ballast"]


def test_a_full_disk_without_root(tmp_path, capsys, monkeypatch):
    """As above, with a disk that is made full by hand when the result is written."""

    def full(path, arrays, record):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = make(tmp_path, QUICK)
    with monkeypatch.context() as patch:
        patch.setattr("recon.cli.run.json.dumps", lambda *a, **k: full(0, 0, 0))
        assert main(["run", str(file)]) == 1
    assert capsys.readouterr().err == f"Error: {os.strerror(errno.ENOSPC)}\n"
    with monkeypatch.context() as patch:
        patch.setattr("recon.storage._flush", lambda path: full(0, 0, 0))
        assert main(["run", str(file), "--overwrite"]) == 1
    assert capsys.readouterr().err == (
        f"Error: {tmp_path / 'results' / 'result.npz'} cannot be written: {FULL}. Nothing was left there.\n"
    )
    assert [name for name in listing(tmp_path / "results") if name != "state.npz"] == []


# -- standard output -----------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="shell of POSIX")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", ">&- 2>&- <&-"])
def test_closed_streams(tmp_path, closed):
    file = make(tmp_path, QUICK)
    command = f'exec "{sys.executable}" -P -m recon.cli run "{file}" {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    assert listing(tmp_path / "results") == ["result.json", "result.npz"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_behind_standard_output(tmp_path):
    file = make(tmp_path, QUICK)
    with open("/dev/full", "w") as full:
        child = start("run", file, "--json", stdout=full)
        err = child.communicate(timeout=60)[1]
    assert child.returncode == 1
    assert err == f"Error: {os.strerror(errno.ENOSPC)}\n"
    assert listing(tmp_path / "results") == ["result.json", "result.npz"]


def test_a_plugin_that_is_missing_an_extra_is_a_sentence(fails, monkeypatch):
    from recon.errors import MissingExtraError

    def missing(kind, name):
        raise MissingExtraError(
            f"The {kind} {name!r} needs torch, which is not installed. Run: pip install x"
        )

    monkeypatch.setattr(registry, "get", missing)
    fails(HEAD, 2, "[operator] The operator 'matrix' needs torch, which is not installed. Run: pip install x")
