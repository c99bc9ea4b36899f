"""The cases of `recon bench diffusion`: built and run on tiny images; no time is asserted."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from recon_diffusion import DiffPir, GaussianPrior
from recon_diffusion.laws import linear_law
from recon_diffusion.network import Network
from recon_diffusion.prior import DiffusionPrior

import recon
from recon import bench as timing

pytest.importorskip("torch")
bench = pytest.importorskip("recon_diffusion.bench")


@pytest.fixture(autouse=True)
def short_samples(monkeypatch):
    monkeypatch.setattr(timing, "SHORTEST", 1e-4)


@pytest.fixture
def prior():
    """D = z / (1 + s^2) of images around 0.5: the network says v = -s sqrt(a) z ... = 0 in v-prediction."""
    import torch

    class Zero(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x, t):
            return self.weight * x

    module = Zero().requires_grad_(False)
    return DiffusionPrior.of(Network(module, linear_law(continuous=True), "v_prediction"))


def test_cases_build_and_run(prior, monkeypatch):
    monkeypatch.setattr(bench, "_importable", lambda: False)
    found = bench.cases(prior, size=16, steps=2)
    assert [case.name.split()[:2] for case in found] == [
        [method, name]
        for name in ("inpainting", "blur", "ct")
        for method in ("DiffPir", "Dps", "Ddrm")
        if (name, method) != ("ct", "Ddrm")
    ]
    for case in found:
        assert list(case.peers) == ["2 calls of the network"]
        assert case.ours().shape == (16, 16)
        measured = timing.measure(case, rounds=1)
        assert not measured.ours.error
        assert not measured.peers[0].error


def test_the_network_alone_is_called_as_often_as_asked(prior):
    calls = []

    @dataclasses.dataclass(frozen=True, eq=False)
    class Counting(Network):
        def estimate(self, z, s):
            calls.append(s)
            return z

    net = prior.network
    bench.network_alone(Counting(net.module, net.law), 16, 5)()
    assert len(calls) == 5
    assert calls == sorted(calls, reverse=True)


def test_problems_have_the_noise_they_say():
    truth = np.random.default_rng(0).random((64, 64))
    prior = GaussianPrior(
        np.full((64, 64), 0.5), np.ones((64, 64)), recon.Identity(recon.ArraySpec((64, 64)))
    )
    for name in bench.PROBLEMS:
        posed = bench.problem(name, truth, prior, seed=3)
        off = posed.data - posed.operator @ truth
        assert posed.data.dtype == np.float32
        assert np.std(off) == pytest.approx(posed.noise, rel=0.06)
        assert not np.array_equal(posed.data, bench.problem(name, truth, prior, seed=4).data)


def test_the_decomposed_blur_is_the_blur():
    truth = np.random.default_rng(0).random((16, 20))
    posed = bench.problem("blur", truth, None)
    other = bench.decomposed(posed)
    np.testing.assert_allclose(other.operator @ truth, posed.operator @ truth, atol=1e-12)
    assert other.operator.svd().s.size == truth.size
    masked = bench.problem("inpainting", truth, None)
    assert bench.decomposed(masked) is masked


def test_a_run_is_the_solver_s_own(prior):
    truth = np.random.default_rng(0).random((16, 16))
    posed = bench.problem("inpainting", truth, prior)
    case = bench._ours(posed, DiffPir(steps=3))
    np.testing.assert_array_equal(case(), recon.solve(posed, DiffPir(steps=3)).x)
