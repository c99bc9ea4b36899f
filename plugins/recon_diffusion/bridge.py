"""Operators inside torch: a function of tensors whose backward is the exact adjoint.

    y = A x,    grad_x = A^H grad_y        torch's gradient of a real number L by a complex x is dL/dRe + i dL/dIm

so that networks and losses can be trained, or images optimised, through any operator. As the map is linear its
backward is one too, and gradients of gradients are right.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from recon import Operator
from recon.arrays import Array, as_numpy, leaves
from recon.errors import ArrayError, ParameterError

__all__ = ["TorchOperator", "as_torch"]


def as_torch(operator: Operator) -> TorchOperator:
    """The operator as a differentiable function of torch tensors.

    Parameters
    ----------
    operator
        Any operator. Tensors on the CPU go to it as NumPy arrays that share their memory; on a GPU it gets the
        tensors themselves.

    Returns
    -------
    TorchOperator
        ``f(x)`` of x (..., *domain), float32, float64 or their complex kinds as the domain says; any axes in front; a
        tuple of tensors where the domain is one. ``f.H`` is the adjoint. Costs one product with A forward, one with
        A^H backward. It serves ``torch.autograd`` (double backward and forward mode too) and ``torch.func``.

    Raises
    ------
    ParameterError
        When it is no operator.
    """
    if not isinstance(operator, Operator):
        raise ParameterError(
            f"as_torch.operator must be an Operator, got {type(operator).__name__}. "
            "Wrap a matrix with recon.Matrix."
        )
    return TorchOperator(operator)


@dataclass(frozen=True)
class TorchOperator:
    """What :func:`as_torch` gives."""

    operator: Operator

    def __call__(self, x: Array) -> Array:
        import torch

        for leaf in leaves(x):
            if not isinstance(leaf, torch.Tensor):
                raise ArrayError(
                    f"as_torch(operator) input must be a torch tensor, got {type(leaf).__name__}. "
                    "Use operator @ x for other arrays."
                )
        out = _function().apply(self.operator, *leaves(x))
        return out if isinstance(self.operator.codomain, tuple) else out[0]

    @property
    def H(self) -> TorchOperator:
        """The adjoint."""
        return TorchOperator(self.operator.H)


def _product(operator: Operator, tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    """A x of the members of x, outside autograd."""
    import torch

    plain = tuple(leaf.detach().resolve_conj().resolve_neg().contiguous() for leaf in tensors)
    shared = all(leaf.device.type == "cpu" for leaf in plain)
    given = tuple(as_numpy(leaf) for leaf in plain) if shared else plain
    out = operator @ (given if isinstance(operator.domain, tuple) else given[0])
    if not shared:
        return leaves(out)
    # torch must own what it gets: the identity gives its input back, cropping a view, constants are read-only
    own = [
        leaf.copy() if leaf.base is not None or any(leaf is one for one in given) else leaf
        for leaf in leaves(out)
    ]
    return tuple(torch.from_numpy(leaf) for leaf in own)


@functools.cache
def _function() -> Any:
    """The autograd function; made when torch is first needed."""
    import torch

    class Apply(torch.autograd.Function):
        """The members of x -> the members of A x."""

        @staticmethod
        def forward(operator: Operator, *tensors: Any) -> tuple[Any, ...]:
            return _product(operator, tensors)

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            ctx.operator = inputs[0]

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> tuple[Any, ...]:
            return (None, *Apply.apply(ctx.operator.H, *gradients))

        @staticmethod
        def jvp(ctx: Any, _: Any, *tangents: Any) -> tuple[Any, ...]:
            return Apply.apply(ctx.operator, *tangents)

        @staticmethod
        def vmap(info: Any, axes: tuple[Any, ...], operator: Operator, *tensors: Any) -> tuple[Any, Any]:
            moved = [
                leaf.expand(info.batch_size, *leaf.shape) if axis is None else leaf.movedim(axis, 0)
                for leaf, axis in zip(tensors, axes[1:], strict=True)
            ]
            out = Apply.apply(operator, *moved)
            return out, (0,) * len(out)

    return Apply
