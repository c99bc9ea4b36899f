"""Operators inside torch: values, adjoints as gradients, double backward, dtypes, batch axes."""

from __future__ import annotations

import re

import numpy as np
import pytest
from recon_diffusion.bridge import as_torch
from recon_operators.convolution import Convolution
from recon_operators.tomography import ParallelBeam

from recon import ArraySpec, Identity, Matrix
from recon.errors import ArrayError, ParameterError, ShapeError
from recon.interop import from_functions
from recon.linalg import dense

torch = pytest.importorskip("torch")

TORCHS_OWN = pytest.mark.filterwarnings("ignore:.torch.jit.script:DeprecationWarning")  # forward mode uses it
RNG = np.random.default_rng(0)
CT = ParallelBeam((4, 4), np.arange(3) * np.pi / 3, 6)
COMPLEX = Matrix(RNG.standard_normal((5, 6)) + 1j * RNG.standard_normal((5, 6)))
MIXED = from_functions(
    lambda x: x[..., :3] + 1j * x[..., 1:],
    lambda y: (
        np.pad(y.real, [(0, 0)] * (y.ndim - 1) + [(0, 1)])
        + np.pad(y.imag, [(0, 0)] * (y.ndim - 1) + [(1, 0)])
    ),
    ArraySpec((4,)),
    ArraySpec((3,), "complex"),
    check=True,
)
PAIR = from_functions(
    lambda x: (x[..., :2], 2 * x[..., 1:]),
    lambda y: (
        np.concatenate([y[0], 0 * y[0][..., :1]], -1) + np.concatenate([0 * y[1][..., :1], 2 * y[1]], -1)
    ),
    ArraySpec((3,)),
    (ArraySpec((2,)), ArraySpec((2,))),
    check=True,
)


def tensor(spec, batch=(), dtype=torch.float64, grad=True):
    values = RNG.standard_normal((*batch, *spec.shape))
    if spec.kind == "complex":
        values = values + 1j * RNG.standard_normal(values.shape)
        dtype = {torch.float32: torch.complex64, torch.float64: torch.complex128}[dtype]
    return torch.from_numpy(values).to(dtype).requires_grad_(grad)


@TORCHS_OWN
@pytest.mark.parametrize("operator", [CT, COMPLEX, MIXED, PAIR, Identity(ArraySpec((3,)))], ids=str)
def test_gradients_of_first_and_second_order_are_right(operator):
    f = as_torch(operator)
    x = tensor(operator.domain, (2,))
    assert torch.autograd.gradcheck(f, x)
    assert torch.autograd.gradgradcheck(lambda x: [part.abs() ** 2 for part in _parts(f(x))], x)
    assert torch.autograd.gradcheck(f, x, check_forward_ad=True, check_backward_ad=False)


def _parts(out):
    return out if isinstance(out, tuple) else (out,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
@pytest.mark.parametrize("operator", [CT, COMPLEX, MIXED], ids=str)
def test_values_and_gradients_are_the_operators_in_its_precision(operator, batch, dtype):
    x = tensor(operator.domain, batch, dtype)
    y = tensor(operator.codomain, batch, dtype, grad=False)
    out = as_torch(operator)(x)
    expected = operator @ x.detach().numpy()
    np.testing.assert_array_equal(out.detach().numpy(), expected)
    assert out.dtype == y.dtype
    out.backward(y)
    np.testing.assert_array_equal(x.grad.numpy(), operator.H @ y.numpy())
    assert x.grad.dtype == x.dtype


def test_the_adjoint_and_conjugated_views():
    f = as_torch(COMPLEX)
    y = tensor(COMPLEX.codomain).detach()
    np.testing.assert_array_equal(f.H(y.conj()).numpy(), COMPLEX.H @ y.numpy().conj())
    assert f.H.H.operator is COMPLEX


@TORCHS_OWN
def test_jacobians_by_torch_func():
    x = tensor(CT.domain, grad=False)
    rows = torch.func.jacrev(as_torch(CT))(x).reshape(CT.shape)
    columns = torch.func.jacfwd(as_torch(CT))(x).reshape(CT.shape)
    np.testing.assert_allclose(rows.numpy(), dense(CT), atol=1e-12)
    np.testing.assert_allclose(columns.numpy(), dense(CT), atol=1e-12)


def test_a_network_learns_through_it():
    blur = Convolution(np.array([1.0, 2.0, 1.0]) / 4.0, (16,))
    truth = torch.from_numpy(RNG.standard_normal(16))
    data = as_torch(blur)(truth)
    x = torch.zeros(16, dtype=torch.float64, requires_grad=True)
    descent = torch.optim.SGD([x], lr=1.0)
    for _ in range(50):
        descent.zero_grad()
        loss = 0.5 * (as_torch(blur)(x) - data).square().sum()
        loss.backward()
        descent.step()
    by_hand = np.zeros(16)
    for _ in range(50):
        by_hand -= blur.H @ (blur @ by_hand - data.numpy())
    np.testing.assert_allclose(x.detach().numpy(), by_hand, atol=1e-12)


def test_the_output_never_shares_memory_with_the_input():
    for operator in (
        Identity(ArraySpec((4,))),
        from_functions(lambda x: x[..., ::-1], lambda y: y[..., ::-1], ArraySpec((4,)), ArraySpec((4,))),
    ):
        x = torch.ones(4, dtype=torch.float64)
        out = as_torch(operator)(x)
        out += 1.0
        assert (x == 1.0).all()


def test_refusals_say_what_to_do():
    with pytest.raises(
        ParameterError, match="as_torch.operator must be an Operator, got ndarray. Wrap a matrix"
    ):
        as_torch(np.eye(3))
    with pytest.raises(
        ArrayError, match=re.escape("as_torch(operator) input must be a torch tensor, got ndarray")
    ):
        as_torch(CT)(np.zeros((4, 4)))
    with pytest.raises(ShapeError, match=re.escape("input must have shape (..., 4, 4), got (7, 4)")):
        as_torch(CT)(torch.zeros(7, 4))
    with pytest.raises(ArrayError, match="must be real floating point, got int64"):
        as_torch(CT)(torch.zeros(4, 4, dtype=torch.int64))
