"""Run files: every section and key, and one sentence that names file, key and rule for whatever is wrong."""

from __future__ import annotations

import textwrap

import numpy as np
import pytest
from recon_operators.tomography import FanBeam, ParallelBeam
from recon_proximal import Fista, Pdhg

import recon
from recon import registry
from recon.config import Output, Stopping, load_run
from recon.errors import ConfigError, DataError, ReconError
from recon.stopping import Gap
from recon.values import read_arrays

RNG = np.random.default_rng(5)
MATRIX, DATA = RNG.standard_normal((6, 4)), RNG.standard_normal(6)


@pytest.fixture
def folder(tmp_path):
    """A folder with a matrix and data in several forms."""
    np.savez(tmp_path / "scan.npz", A=MATRIX, y=DATA, truth=np.ones(4), sigma=np.full(6, 0.1))
    np.save(tmp_path / "y.npy", DATA)
    return tmp_path


@pytest.fixture
def load(folder):
    """Write a run file and load it."""

    def load(text: str):
        file = folder / "run.toml"
        file.write_text(textwrap.dedent(text), encoding="utf-8")
        return load_run(file)

    return load


OPERATOR = 'operator = {name = "matrix", matrix = {file = "scan.npz", key = "A"}}\n'
FILE = OPERATOR + 'data = {file = "y.npy"}\n'


# -- what a run file can say ---------------------------------------------------------------------------------


def test_every_section(load, folder):
    run = load("""
        title = "my scan"
        seed = 7
        [data]
        file = "scan.npz"
        key = "y"
        truth = "scan.npz"
        truth_key = "truth"
        noise = 0.1
        precision = "float32"
        [operator]
        name = "matrix"
        matrix = {file = "scan.npz", key = "A"}
        [loss]
        name = "weighted-least-squares"
        weights = {file = "scan.npz", key = "sigma"}
        [prior]
        name = "L1"
        weight = 0.25
        [solver]
        name = "fista"
        restart = false
        [stopping]
        iterations = 40
        change = 1e-3
        gap = 1e-2
        seconds = 9
        [output]
        folder = "out"
        formats = ["npz", "zarr"]
        picture = false
        save_every = 3
    """)
    assert (run.title, run.seed, run.folder) == ("my scan", 7, folder / "out")
    assert run.solver == Fista(restart=False)
    assert run.problem.prior == recon.L1(0.25)
    assert run.problem.data.dtype == np.float32
    assert run.problem.noise == 0.1
    assert np.array_equal(run.problem.operator.matrix, MATRIX)
    assert np.array_equal(run.problem.loss.weights, np.full(6, 0.1))
    assert np.array_equal(run.sample.truth, np.ones(4))
    assert run.sample.notes == {"source": "scan.npz"}
    assert run.stopping == Stopping(40, 1e-3, 1e-2, 9.0)
    assert run.output == Output("out", ("npz", "zarr"), False, 3)
    words = "MaxIterations(limit=40) | Change(tol=0.001, patience=3) | Gap(tol=0.01) | MaxSeconds(limit=9.0)"
    assert repr(run.stopping.rule()) == words


def test_defaults(load, folder):
    run = load(FILE)
    assert (run.title, run.seed, run.folder, run.solver) == ("run", 0, folder / "results", None)
    assert run.problem.prior is None
    assert isinstance(run.problem.loss, recon.LeastSquares)
    assert run.problem.noise is None
    assert repr(run.stopping.rule()) == "MaxIterations(limit=500) | Change(tol=1e-05, patience=3)"
    assert run.output == Output("results", ("npz",), True, 100)


def test_a_change_of_zero_switches_that_rule_off(load):
    rule = load(FILE + "stopping = {iterations = 3, change = 0}").stopping.rule()
    assert repr(rule) == "MaxIterations(limit=3)"


def test_discrepancy_and_gap_rules(load):
    run = load(
        OPERATOR
        + 'data = {file = "y.npy", noise = 0.5}\nstopping = {discrepancy = 1.1, gap = 0.1, change = 0}'
    )
    assert repr(run.stopping.rule()).endswith("Gap(tol=0.1) | Discrepancy(factor=1.1)")
    assert Gap(0.1) in run.stopping.rule().rules[0].rules


def test_several_priors_are_summed(load):
    run = load(
        FILE
        + """
        [[prior]]
        name = "l1"
        weight = 2.0
        [[prior]]
        name = "nonnegative"
        """
    )
    assert run.problem.prior.terms == (recon.L1(2.0), recon.NonNegative())
    assert load(FILE + '[[prior]]\nname = "l1"').problem.prior == recon.L1()


def test_noise_may_be_estimated_or_an_array(load):
    assert load(OPERATOR + 'data = {file = "y.npy", noise = "estimate"}').problem.noise == "estimate"
    noise = load(
        OPERATOR + 'data = {file = "y.npy", noise = {file = "scan.npz", key = "sigma"}}'
    ).problem.noise
    assert np.array_equal(noise, np.full(6, 0.1))


def test_a_dataset_with_parameters_brings_operator_truth_and_noise(load):
    run = load("""
        [data]
        dataset = "shepp-logan"
        size = 12
        views = 5
        noise = 0.01
        seed = 3
        [solver]
        name = "pdhg"
    """)
    sample = registry.get("dataset", "shepp-logan")(size=12, views=5, noise=0.01, seed=3)[0]
    assert isinstance(run.problem.operator, ParallelBeam)
    assert np.array_equal(run.problem.data, sample.data)
    assert np.array_equal(run.sample.truth, sample.truth)
    assert run.problem.noise == sample.noise
    assert run.solver == Pdhg()


def test_a_numbered_sample_of_a_dataset(load):
    run = load('data = {dataset = "random-ellipses", size = 12, views = 5, index = 4}')
    sample = registry.get("dataset", "random-ellipses")(size=12, views=5)[4]
    assert np.array_equal(run.problem.data, sample.data)


def test_an_operator_may_replace_that_of_the_dataset(load):
    run = load("""
        [data]
        dataset = "shepp-logan"
        size = 12
        views = 5
        detectors = 18
        [operator]
        name = "parallel-beam"
        image_shape = [9, 9]
        n_detectors = 18
        angles = {start = 0, stop = 180, count = 5}
    """)
    assert run.problem.operator.domain.shape == (9, 9)


def test_evenly_spaced_values(load, folder):
    text = """
        [data]
        file = "sinogram.npy"
        [operator]
        name = "fan-beam"
        image_shape = [8, 8]
        n_detectors = 11
        detector_spacing = 1.0
        source_origin = 20.0
        origin_detector = 10.0
        angles = {start = 10, stop = 370, count = 6UNIT}
    """
    np.save(folder / "sinogram.npy", np.ones((6, 11)))
    wanted = 10 + 60 * np.arange(6)
    run = load(text.replace("UNIT", ""))
    assert isinstance(run.problem.operator, FanBeam)
    np.testing.assert_allclose(run.problem.operator.angles, np.deg2rad(wanted), rtol=1e-15)
    run = load(text.replace("UNIT", ', unit = "radians"'))
    np.testing.assert_allclose(run.problem.operator.angles, wanted, rtol=1e-15)


def test_operators_of_operators_and_specs(load, folder):
    factor = '{name = "matrix", matrix = {file = "scan.npz", key = "A"}}'
    np.save(folder / "image.npy", RNG.standard_normal((6, 6)))
    run = load(
        f'data = {{file = "image.npy"}}\noperator = {{name = "kronecker", factors = [{factor}, {factor}]}}'
    )
    assert run.problem.operator.domain.shape == (4, 4)
    run = load('data = {file = "image.npy"}\noperator = {name = "identity", spec = {shape = [6, 6]}}')
    assert run.problem.operator.domain == recon.ArraySpec((6, 6))


@pytest.mark.parametrize(
    ("stored", "precision", "wanted"),
    [
        (np.int16, None, np.float64),
        (np.uint8, "float32", np.float32),
        (np.float16, None, np.float32),
        (np.float32, None, np.float32),
        (np.float32, "float64", np.float64),
        (">f4", None, np.dtype("=f4")),
        (">f8", None, np.dtype("=f8")),
        (np.float64, "float32", np.float32),
        (np.longdouble, None, np.float64),
    ],
)
def test_precision_follows_the_data_unless_it_is_given(load, folder, stored, precision, wanted):
    np.save(folder / "y.npy", np.arange(6).astype(stored))
    given = f', precision = "{precision}"' if precision else ""
    data = load(OPERATOR + f'data = {{file = "y.npy"{given}}}').problem.data
    assert data.dtype == wanted
    assert data.dtype.isnative
    assert np.array_equal(data, np.arange(6))


def test_complex_precision(load, folder):
    np.save(folder / "y.npy", (DATA + 1j * DATA).astype(np.complex64))
    np.save(folder / "A.npy", MATRIX + 1j * MATRIX)
    text = 'operator = {name = "matrix", matrix = {file = "A.npy"}}\ndata = {file = "y.npy"PRECISION}'
    assert load(text.replace("PRECISION", "")).problem.data.dtype == np.complex64
    assert load(text.replace("PRECISION", ', precision = "float64"')).problem.data.dtype == np.complex128


def test_paths_are_relative_to_the_run_file(load, folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load(FILE + 'output = {folder = "a/b"}').folder == folder / "a" / "b"


# -- what is wrong with it -----------------------------------------------------------------------------------

MISTAKES = {
    "iterations = 3": "has no key 'iterations'. It belongs to [stopping].",
    "zzzzzz = 3": "has no key 'zzzzzz'. Known: data, operator, loss, prior, solver, stopping, output, seed, title.",
    "[stoping]": "has no key 'stoping'. Did you mean 'stopping'?",
    'data = "htc2022"': "[data] must be a table, got 'htc2022'. Write [data].",
    "solver = 3": "[solver] must be a table, got 3.",
    'prior = "tv"': "[prior] must be a table, got 'tv'.",
    "seed = -1": "[seed] must be an integer >= 0, got -1.",
    "seed = true": "[seed] must be an integer >= 0, got True.",
    "title = 3": "[title] must be a string, got 3.",
    "": "[data] must have either dataset or file, got neither.",
    'data = {dataset = "htc2022", file = "y.npy"}': "[data] must have either dataset or file, got both.",
    "data = {dataset = 3}": "[data] must have a name, got 3. `recon list dataset` shows them.",
    'data = {dataset = "shep-logan"}': "[data] There is no dataset named 'shep-logan'. Did you mean 'shepp-logan'?",
    'data = {dataset = "htc2022", view = "full"}': "[data] Htc2022 has no parameter 'view'. Did you mean 'views'?",
    'data = {dataset = "htc2022", views = "half"}': "[data] Htc2022.views must be one of 'full', 'sparse60'",
    'data = {dataset = "htc2022", index = 1}': "[data] index must be 0 to 0, got 1.",
    'data = {dataset = "htc2022", index = -1}': "[data] index must be 0 to 0, got -1.",
    'data = {dataset = "htc2022", index = "a"}': "[data] index must be 0 to 0, got 'a'.",
    'data = {dataset = "shepp-logan", size = 12, views = 5, precision = "half"}': (
        "[data] precision must be 'float32' or 'float64', got 'half'."
    ),
    'data = {file = "y.npy"}': "[operator] must be given with a data file, got none. `recon list operator`.",
    'data = {file = "y.npy", nois = 1}': "[data] has no key 'nois'. Did you mean 'noise'?",
    FILE + "stopping = {iteration = 3}": (
        "[stopping] Stopping has no parameter 'iteration'. Did you mean 'iterations'?"
    ),
    FILE + "stopping = {iterations = 3.5}": "[stopping] Stopping.iterations must be an integer, got 3.5.",
    FILE + "stopping = {iterations = -3}": "[stopping] Stopping.iterations must be >= 0, got -3.",
    FILE + "stopping = {change = -1}": "[stopping] Stopping.change must be >= 0, got -1.0.",
    FILE + "stopping = {gap = 0}": "[stopping] Stopping.gap must be > 0, got 0.0.",
    FILE
    + "stopping = {seconds = nan}": "[stopping] Stopping.seconds must be a finite number or None, got nan.",
    FILE
    + 'stopping = {discrepancy = "yes"}': "[stopping] Stopping.discrepancy must be a number or None, got 'yes'.",
    FILE + "stopping = {discrepancy = 1}": (
        "[stopping] Discrepancy needs the noise level: "
        "Problem.noise must be a number, an array or 'estimate', got None."
    ),
    FILE
    + 'output = {formats = ["tiff"]}': "[output] Output.formats[0] must be one of 'npz', 'zarr', got 'tiff'.",
    FILE + 'output = {formats = "npz"}': "[output] Output.formats must be a sequence, got 'npz'.",
    FILE + 'output = {folder = ""}': "[output] Output.folder must be of length 1 or more, got ''.",
    FILE + "output = {picture = 1}": "[output] Output.picture must be true or false, got 1.",
    FILE + "output = {save_every = 0}": "[output] Output.save_every must be >= 1, got 0.",
    FILE + 'output = {dir = "a"}': "[output] Output has no parameter 'dir'.",
    FILE + 'prior = {name = "l1", weight = "best"}': (
        "[prior] weight must be a number or one of auto, discrepancy, sure, gcv, whiteness, lcurve, got 'best'."
    ),
    FILE + 'prior = [{name = "l1", weight = "auto"}, {name = "tv", weight = 1.0, ndim = 1}]': (
        "[prior] weight = 'auto' chooses one factor for all priors, so no other may have a weight, got 2 weights. "
        "Give numbers, or leave the others out."
    ),
    FILE + "solver = {}": "[solver] must have a name, got none. `recon list solver` shows them.",
    FILE + "solver = {name = 3}": "[solver] must have a name, got 3.",
    FILE + 'solver = {name = "fisat"}': "[solver] There is no solver named 'fisat'. Did you mean 'fista'?",
    FILE
    + 'solver = {name = "tv"}': "[solver] There is no solver named 'tv'. That name belongs to the kind 'prior'.",
    FILE
    + 'solver = {name = "fista", step = 1}': "[solver] Fista has no parameter 'step'. Did you mean 'step_size'?",
    FILE + 'solver = {name = "fista", step_size = 0}': "[solver] Fista.step_size must be > 0",
    FILE + 'solver = {name = "diffpir", diversity = {strengh = 1.0}}': (
        "[solver.diversity] Diversity has no parameter 'strengh'. Did you mean 'strength'?"
    ),
    FILE + 'solver = {name = "diffpir", diversity = {strength = -1.0}}': (
        "[solver.diversity] Diversity.strength must be >= 0, got -1.0."
    ),
    FILE + 'prior = ["tv"]': "[prior] must be a table, got 'tv'. Write [prior] with a name.",
    FILE + 'prior = {name = "l1", wight = 1}': "[prior] L1 has no parameter 'wight'. Did you mean 'weight'?",
    FILE + 'prior = {name = "l1", weight = inf}': "[prior] L1.weight must be",
    FILE + 'prior = {name = "tv"}': "[prior] TV.ndim must be at most the 1 axes of the image, got 2.",
    FILE + 'loss = {name = "poisson"}': "[loss] Poisson data must be counts >= 0, got negative entries.",
    FILE + 'loss = {name = "hubert"}': "[loss] There is no loss named 'hubert'.",
    'data = {file = "y.npy"}\noperator = {name = "matrix"}': "[operator] Matrix needs 'matrix'.",
    'data = {file = "y.npy"}\noperator = {name = "identity", spec = [6]}': "[operator] Identity.spec must be",
    'data = {file = "y.npy"}\noperator = {name = "kronecker", factors = [1]}': "[operator] Kronecker.factors must",
    'data = {file = "y.npy"}\noperator = {name = "kronecker", factors = [{name = "matrx"}]}': (
        "[operator] There is no operator named 'matrx'. Did you mean 'matrix'?"
    ),
    'data = {file = "y.npy"}\noperator = {name = "matrix", matrix = {path = "y.npy"}}': (
        "[operator] A table as a value must be {file, key} or {start, stop, count, unit} or {shape, kind}, got {path}."
    ),
    'data = {file = "y.npy"}\noperator = {name = "matrix", matrix = {file = 3}}': (
        "[operator] file must be a string, got 3."
    ),
    'data = {file = "y.npy"}\noperator = {name = "matrix", matrix = {file = "y.npy", keys = "A"}}': (
        "[operator] has no key 'keys'. Did you mean 'key'?"
    ),
    'data = {file = "y.npy"}\noperator = {name = "matrix", matrix = {start = 0, stop = 1}}': (
        "[operator] Spaced needs 'count'."
    ),
    'data = {file = "y.npy"}\noperator = {name = "matrix", matrix = "A"}': "[operator] Matrix",
    OPERATOR + "data = {file = 3}": "[data] file must be a string, got 3.",
    OPERATOR + 'data = {file = "scan.npz", key = ["y"]}': "[data] key must be a string, got ['y'].",
    OPERATOR
    + 'data = {file = "scan.npz", key = "A"}': "[data] Problem.data must have shape (..., 6), got (6, 4).",
    OPERATOR + 'data = {file = "y.npy", noise = 0}': (
        "[data] noise must be a number > 0, {file, key} or 'estimate', got 0."
    ),
    OPERATOR + 'data = {file = "y.npy", noise = inf}': "[data] noise must be a number > 0",
    OPERATOR + 'data = {file = "y.npy", noise = true}': "[data] noise must be a number > 0",
    OPERATOR + 'data = {file = "y.npy", noise = "guess"}': "[data] noise must be a number > 0",
    OPERATOR + 'data = {file = "y.npy", noise = {file = "scan.npz", key = "truth"}}': (
        "[data] Problem.noise must have the shape of the data"
    ),
    OPERATOR + 'data = {file = "y.npy", truth = "y.npy"}': (
        "[data] truth must be finite, of the shape (4,) of the image, got an array of shape (6,) and dtype float64."
    ),
    OPERATOR
    + 'data = {file = "y.npy", truth = "scan.npz", truth_key = 1}': "[data] key must be a string, got 1.",
}


@pytest.mark.parametrize("text", MISTAKES, ids=lambda t: t.removeprefix(OPERATOR) or "empty")
def test_mistakes_name_the_file_the_key_and_the_rule(load, folder, text):
    with pytest.raises(ConfigError) as caught:
        load(text)
    sentence = str(caught.value)
    assert sentence.startswith(f"{folder / 'run.toml'}: ")
    assert MISTAKES[text] in sentence.replace("array(", "")
    assert "\n" not in sentence
    assert len(sentence) < 420


def test_toml_that_cannot_be_read_names_the_line(load, folder):
    with pytest.raises(
        ConfigError, match=r"run.toml must be a TOML file, got a fault: .*at line 3, column 5"
    ):
        load('[data]\nfile = "y.npy"\nkey y\n')
    with pytest.raises(ConfigError, match=r"must be a TOML file, got a fault: .*line 2"):
        load("seed = 1\nseed = 2\n")
    (folder / "run.toml").write_bytes(b"title = '\xff'")
    with pytest.raises(ConfigError, match=r"run.toml must be a TOML file, got a fault: .*utf-8"):
        load_run(folder / "run.toml")


def test_a_run_file_that_is_not_there(folder):
    with pytest.raises(ConfigError, match=r"no.toml must be a run file, got nothing there. Check the path."):
        load_run(folder / "no.toml")
    with pytest.raises(ConfigError, match=r"must be a run file, got a folder. Name the .toml file in it."):
        load_run(folder)
    with pytest.raises(ConfigError, match=r"cannot be read: not a directory."):
        load_run(folder / "y.npy" / "run.toml")


# -- data files ----------------------------------------------------------------------------------------------


def test_data_files_that_cannot_be_used(load, folder):
    text = OPERATOR + 'data = {file = "FILE"}'
    with pytest.raises(DataError, match=r"no.npy must exist, got nothing there. .* relative to the run file"):
        load(text.replace("FILE", "no.npy"))
    (folder / "y.xyz").write_text("1")
    with pytest.raises(DataError, match=r"y.xyz must be of a format that a plugin reads, got '.xyz'"):
        load(text.replace("FILE", "y.xyz"))
    (folder / "plain").write_text("1")
    with pytest.raises(DataError, match=r"must be of a format that a plugin reads, got 'no suffix'"):
        load(text.replace("FILE", "plain"))
    with pytest.raises(
        DataError, match=r"scan.npz must hold one array, or be given with a key, got A, y, truth"
    ):
        load(text.replace("FILE", "scan.npz"))
    with pytest.raises(DataError, match=r"scan.npz must hold the array 'z', got A, y, truth, sigma"):
        load(OPERATOR + 'data = {file = "scan.npz", key = "z"}')
    np.savez(folder / "words.npz", a=np.array("hello"))
    with pytest.raises(DataError, match=r"words.npz must hold one array, or be given with a key, got none"):
        load(text.replace("FILE", "words.npz"))


def test_values_that_cannot_be_used(load, folder):
    bad = DATA.copy()
    bad[2] = np.nan
    np.save(folder / "y.npy", bad)
    with pytest.raises(
        ConfigError, match=r"\[data\] Problem.data must be finite, got 1 of 6 entries NaN or infinite"
    ):
        load(FILE)
    np.save(folder / "y.npy", DATA + 1j)
    with pytest.raises(
        ConfigError, match=r"\[data\] Problem.data must be real floating point, got complex128"
    ):
        load(FILE)


def test_a_reader_that_raises_is_one_sentence(load, folder, monkeypatch):
    def fail(path):
        raise RuntimeError("the scanner is asleep")

    monkeypatch.setattr(registry, "hooks", lambda name: [("a-plugin", lambda path: None), ("a-plugin", fail)])
    sentence = r"y.npy must be readable, got RuntimeError from a-plugin: the scanner is asleep"
    with pytest.raises(DataError, match=sentence):
        read_arrays(folder / "y.npy")


# -- classes of plugins that are not declared as ours --------------------------------------------------------


class PlainPrior(recon.Prior):
    def __init__(self, weight=1.0, label="a"):
        if weight < 0:
            raise KeyError("weight")
        self.weight = weight

    def value(self, x):
        return 0.0

    def prox(self, v, t):
        return v


def test_a_plain_class_is_made_by_its_signature(load, monkeypatch):
    found = registry.get
    monkeypatch.setattr(
        registry, "get", lambda kind, name: PlainPrior if name == "plain" else found(kind, name)
    )
    assert load(FILE + 'prior = {name = "plain", weight = 2.5}').problem.prior.weight == 2.5
    with pytest.raises(
        ConfigError, match=r"\[prior\] PlainPrior has no parameter 'wight'. Did you mean 'weight'?"
    ):
        load(FILE + 'prior = {name = "plain", wight = 2.5}')
    with pytest.raises(
        ConfigError, match=r"\[prior\] PlainPrior has no parameter 'zzz'. Known: weight, label."
    ):
        load(FILE + 'prior = {name = "plain", zzz = 2.5}')
    with pytest.raises(
        ConfigError, match=r"\[prior\] PlainPrior cannot be made of weight: KeyError: 'weight'."
    ):
        load(FILE + 'prior = {name = "plain", weight = -1}')


def test_every_error_is_ours(load):
    """Random damage to a good run file: a Run, or one of our errors, never anything else."""
    good = (
        'title = "a"\nseed = 1\n' + FILE + "stopping = {iterations = 3}\n"
        '[[prior]]\nname = "l1"\nweight = 0.5\n[output]\nfolder = "out"\nformats = ["npz"]\n'
    )
    rng = np.random.default_rng(0)
    pieces = [
        "{",
        "}",
        "[",
        "]",
        "=",
        '"',
        "1",
        "nan",
        "name",
        ",",
        "\n",
        "true",
        "-",
        '{file = "y.npy"}',
        "[1]",
    ]
    raised = set()
    for _ in range(300):
        text = good
        for _ in range(rng.integers(1, 3)):
            a = int(rng.integers(len(text)))
            text = text[:a] + str(rng.choice(pieces)) + text[a + int(rng.integers(0, 6)) :]
        try:
            load(text)
        except ReconError as error:
            raised.add(type(error))
    assert raised == {ConfigError, DataError}
