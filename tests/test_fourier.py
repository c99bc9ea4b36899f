"""Cartesian MRI: exact against numpy.fft, the operator contract, closed forms, error texts, registry, benchmark."""

import importlib
import pickle

import numpy as np
import pytest
import torch
from recon_operators.fourier import CartesianMRI, cartesian, masks

from recon.errors import ArrayError, ParameterError, ShapeError
from recon.linalg import axpy, cg
from recon.operator import capability
from recon.testing import check_operator

RNG = np.random.default_rng(0)


def noise(*shape):
    return RNG.standard_normal(shape) + 1j * RNG.standard_normal(shape)


def sampled(*shape):
    mask = RNG.random(shape) < 0.6
    mask.flat[0] = True
    return mask


SCANS = {
    "even, points": CartesianMRI(sampled(8, 6)),
    "odd, points": CartesianMRI(sampled(7, 9)),
    "odd and even, lines": CartesianMRI(masks.uniform((9, 8), 2, 2)),
    "lines along the first axis": CartesianMRI(masks.uniform((8, 7), 2, 2, axes=(0,))),
    "one axis": CartesianMRI(sampled(11)),
    "three axes": CartesianMRI(masks.uniform((3, 6, 5), 2, 2, axes=(1, 2))),
    "one pixel": CartesianMRI(np.ones((1, 1))),
    "everything": CartesianMRI(np.ones((4, 5))),
    "coils": CartesianMRI(sampled(6, 5), noise(3, 6, 5)),
    "coils, lines, odd": CartesianMRI(masks.uniform((7, 9), 3, 1), noise(2, 7, 9)),
    "coils, three axes": CartesianMRI(masks.uniform((2, 5, 4), 2, 2, axes=(1, 2)), noise(2, 2, 5, 4)),
    "example": CartesianMRI.example(),
}


def by_numpy(A, x):
    """The same scan in the words of numpy.fft: a shift, a transform, a shift, a mask."""
    axes = tuple(range(-A.mask.ndim, 0))
    seen = x if A.maps is None else A.maps * x
    k = np.fft.fftshift(np.fft.fftn(np.fft.ifftshift(seen, axes), axes=axes, norm="ortho"), axes)
    return A.mask * k


@pytest.mark.parametrize("name", SCANS)
def test_is_the_shifted_transform_of_numpy(name):
    A = SCANS[name]
    x = noise(*A.domain.shape)
    np.testing.assert_allclose(A @ x, by_numpy(A, x), rtol=0, atol=1e-13 * np.linalg.norm(x))


@pytest.mark.parametrize("name", SCANS)
def test_contract(name, like):
    check_operator(SCANS[name], like=like)


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("batch", [(0,), (1,), (2, 3)])
@pytest.mark.parametrize("name", ["odd, points", "coils, lines, odd"])
def test_any_scale_batch_and_layout_in_single_precision(name, batch, scale):
    A = SCANS[name]
    x = np.asfortranarray(scale * noise(*batch, *A.domain.shape)).astype(np.complex64)
    x.setflags(write=False)
    seen = x if A.maps is None else np.expand_dims(x, -3)
    y = A @ x
    assert y.dtype == np.complex64
    np.testing.assert_allclose(y, by_numpy(A, seen.astype(complex)), rtol=0, atol=1e-5 * scale)
    truth = A.H @ by_numpy(A, seen.astype(complex))
    np.testing.assert_allclose(A.normal(x), truth, rtol=0, atol=2e-5 * scale)


@pytest.mark.parametrize("maps", [None, noise(2, 9, 8)], ids=["one coil", "coils"])
def test_normal_transforms_along_undersampled_axes_only(maps, monkeypatch):
    seen = []

    def spy(transform):
        def called(x, axes, *rest):
            seen.append(tuple(axes))
            return transform(x, axes, *rest)

        return called

    for name in ("fftn", "ifftn"):
        monkeypatch.setattr(cartesian, name, spy(getattr(cartesian, name)))
    CartesianMRI(masks.uniform((9, 8), 2, 2), maps).normal(noise(9, 8))
    assert seen == [(-1,), (-1,)]


def test_a_point_in_the_middle_has_a_flat_spectrum():
    for shape in ((8, 8), (7, 8), (5, 5)):
        x = np.zeros(shape, complex)
        x[tuple(n // 2 for n in shape)] = 1
        np.testing.assert_allclose(
            CartesianMRI(np.ones(shape)) @ x, np.full(shape, 1 / np.sqrt(np.prod(shape))), atol=1e-15
        )


def test_a_shifted_point_turns_the_phase_the_right_way():
    """One pixel to the right: exp(-2 pi i k / n) along a row, k from -(n // 2)."""
    x = np.zeros((8, 10), complex)
    x[4, 6] = 1
    k = np.arange(10) - 5
    np.testing.assert_allclose(
        (CartesianMRI(np.ones((8, 10))) @ x)[3], np.exp(-2j * np.pi * k / 10) / np.sqrt(80)
    )


def test_nothing_where_nothing_is_sampled():
    A = SCANS["coils"]
    assert np.all((A @ noise(*A.domain.shape))[:, ~A.mask] == 0)
    assert np.array_equal(A.H @ np.where(A.mask, 0, noise(*A.codomain.shape)), np.zeros(A.domain.shape))


@pytest.mark.parametrize("name", SCANS)
def test_norm_bound_is_the_norm_where_nothing_is_left_out(name):
    A = SCANS[name]
    full = CartesianMRI(np.ones(A.mask.shape), A.maps)
    matrix = (full @ np.eye(full.shape[1]).reshape(-1, *A.mask.shape).astype(complex)).reshape(
        full.shape[1], -1
    )
    assert full.norm_bound() == pytest.approx(np.linalg.norm(matrix, 2), rel=1e-12)
    assert A.norm_bound() == full.norm_bound()


def test_norm_bound_of_maps_whose_squares_overflow():
    maps = np.full((4, 2, 2), 1e20, np.complex64)
    assert CartesianMRI(np.ones((2, 2)), maps).norm_bound() == pytest.approx(2e20)


@pytest.mark.parametrize("name", ["even, points", "odd and even, lines", "three axes"])
@pytest.mark.parametrize("rho", [0.05, 1.0, 20.0])
def test_data_prox_is_what_conjugate_gradients_find(name, rho):
    A = SCANS[name]
    v, y = noise(2, *A.domain.shape), noise(2, *A.codomain.shape)
    wanted = cg(lambda x: axpy(rho, x, A.H @ (A @ x)), axpy(rho, v, A.H @ y), tol=1e-14)
    np.testing.assert_allclose(A.data_prox(v, y, rho), wanted, rtol=0, atol=1e-8 * np.abs(wanted).max())


def test_pinv_and_svd_of_one_coil():
    A = SCANS["odd, points"]
    (m, n) = A.shape
    matrix = (A @ np.eye(n).reshape(n, *A.domain.shape).astype(complex)).reshape(n, m).T
    y = noise(*A.codomain.shape)
    np.testing.assert_allclose(A.pinv(y).ravel(), np.linalg.pinv(matrix) @ y.ravel(), atol=1e-12)
    U, s, V = A.svd()
    x = noise(*A.domain.shape)
    np.testing.assert_allclose(U @ (s * (V.H @ x)), A @ x, atol=1e-13)
    np.testing.assert_allclose(V.H @ (V @ x), x, atol=1e-13)
    assert sorted(s.ravel()) == pytest.approx(np.sort(np.linalg.svd(matrix, compute_uv=False)), abs=1e-12)


def test_coils_have_no_closed_forms():
    A = SCANS["coils"]
    assert [name for name in ("data_prox", "pinv", "svd") if capability(A, name)] == []


def test_torch_differentiates_it():
    A = SCANS["coils"]
    x = torch.asarray(noise(*A.domain.shape)).requires_grad_()
    y = torch.asarray(noise(*A.codomain.shape))
    (0.5 * (abs(A @ x - y) ** 2).sum()).backward()
    wanted = A.H @ (A @ x.detach() - y)
    assert torch.allclose(x.grad, wanted, atol=1e-12)


def test_fields_are_private_and_read_only():
    mask, maps = sampled(5, 4), noise(2, 5, 4)
    A = CartesianMRI(mask, maps)
    before = A.mask.copy()
    mask[:], maps[:] = False, 0
    assert np.array_equal(A.mask, before)
    assert np.all(A.maps != 0)
    for array in (A.mask, A.maps):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert repr(A) == "<CartesianMRI: (5, 4) complex -> (2, 5, 4) complex>"
    x = noise(5, 4)
    assert np.array_equal(pickle.loads(pickle.dumps(A)) @ x, A @ x)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: CartesianMRI([[0.0, 0.5]]), ParameterError,
         "CartesianMRI.mask must be booleans or 0 and 1, got float64. Compare it"),
        (lambda: CartesianMRI(np.zeros((4, 4))), ParameterError,
         r"mask must have 1 to 3 axes and a sample, got shape \(4, 4\) with 0 samples"),
        (lambda: CartesianMRI(np.ones((2, 2, 2, 2))), ParameterError, "mask must have 1 to 3 axes"),
        (lambda: CartesianMRI(np.ones((4, 4)), np.ones((2, 4, 4))), ArrayError,
         "CartesianMRI.maps must be complex, got float64. Convert them"),
        (lambda: CartesianMRI(np.ones((4, 4)), noise(4, 4)), ShapeError,
         r"CartesianMRI.maps must have shape \(coils, 4, 4\), got \(4, 4\). The coils come first, then"),
        (lambda: CartesianMRI(np.ones((4, 4)), noise(2, 4, 5)), ShapeError, r"got \(2, 4, 5\)"),
        (lambda: CartesianMRI(np.ones((4, 4)), np.full((2, 4, 4), np.nan * 1j)), ArrayError, "maps must be finite"),
        (lambda: CartesianMRI.example() @ np.ones((8, 7)), ArrayError, "must be complex floating"),
    ],
)  # fmt: skip
def test_error_texts(make, error, text):
    with pytest.raises(error, match=text):
        make()


def test_announced_entries_exist():
    from recon_operators._hooks import recon_entries

    ours = {e.name: e for e in recon_entries() if e.target.startswith("recon_operators.fourier")}
    assert set(ours) == {"cartesian-mri", "non-cartesian-mri", "mri"}
    for entry in ours.values():
        assert entry.cites
        module, _, name = entry.target.partition(":")
        target = getattr(importlib.import_module(module), name)
        if entry.kind == "operator":
            notes = target.__doc__.partition("Notes\n")[2]
            assert all(f"{word}: " in notes for word in ("Formula", "Shapes", "Units", "Cost", "Source"))


def test_bench_compares_like_with_like():
    from recon_operators.fourier.bench import cases

    made = cases()
    names = [case.name for case in made]
    assert len(set(names)) == len(names)
    assert len(names) >= 6
    for case in made:
        ours = np.asarray(case.ours())
        assert ours.dtype == np.complex64
        for peer, theirs in case.peers.items():
            if peer.startswith(("sigpy", "pylops")):
                other = np.asarray(theirs()).reshape(ours.shape)
                scale = np.vdot(other, ours) / np.vdot(other, other)  # FINUFFT's and SigPy's factors differ
                limit = 2e-2 if case.name.startswith("radial") else 1e-5
                assert np.linalg.norm(ours - scale * other) <= limit * np.linalg.norm(ours)
                if not case.name.startswith("radial normal"):
                    assert abs(scale - 1) < 1e-2
