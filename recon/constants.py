"""Own numbers of operators, losses and priors: kept once, and carried to wherever the data are.

constant(values, owner)            a private, read-only, finite floating copy in NumPy, for a field of an operator
follow(values, xp, device, dtype)  the same numbers in the library, device and precision of the data

frozen(values)                     a private copy in the library it came in, for weights of a loss or a prior
real_as(values, x)                 the same real numbers in the library, device and precision of x
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import is_array_api_obj

from recon.arrays import as_numpy, device_of, namespace, real_like
from recon.errors import ArrayError

__all__ = ["constant", "follow", "frozen", "real_as"]


def constant(values: Any, owner: str) -> np.ndarray[Any, Any]:
    """A read-only floating or complex copy of numbers, on the CPU.

    Parameters
    ----------
    values
        Numbers of any array library, or nested sequences of them; integers and booleans become float64.
    owner
        What the error text names: ``"Diagonal.values"``.

    Raises
    ------
    ArrayError
        When they are no numbers, or not finite.
    """
    if isinstance(values, str):
        raise ArrayError(
            f"{owner} must be numbers, got {values!r}. Read the file first; in a run file write {{file = {values!r}}}."
        )
    array = np.array(as_numpy(values))
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind not in "fc":
        raise ArrayError(f"{owner} must be numbers, got dtype {array.dtype}. Convert it with numpy.asarray.")
    if not np.isfinite(array).all():
        raise ArrayError(f"{owner} must be finite, got NaN or infinity. Mask those entries first.")
    array.setflags(write=False)
    return array


def follow(values: np.ndarray[Any, Any], xp: Any, device: Any, dtype: Any) -> Any:
    """Numbers in the library, on the device and in the precision of the data; complex stays complex.

    Parameters
    ----------
    values
        Floating or complex NumPy array.
    xp, device, dtype
        What ``Operator.plan`` is given; of a complex `dtype` only the precision counts.
    """
    single = dtype in (xp.float32, xp.complex64)
    kind = {
        ("f", True): "float32",
        ("f", False): "float64",
        ("c", True): "complex64",
        ("c", False): "complex128",
    }
    return xp.asarray(values.astype(kind[values.dtype.kind, single]), device=device)


def frozen(values: Any) -> Any:
    """A copy that later changes of the caller's array do not reach; what is no array becomes one of NumPy."""
    if is_array_api_obj(values) and not isinstance(values, np.ndarray):
        return namespace(values).asarray(values, copy=True)
    copy = np.array(values)
    copy.setflags(write=False)
    return copy


def real_as(values: Any, x: Any) -> Any:
    """Real numbers in the library, device and precision of x; converted only where they differ."""
    real = real_like(0.0, x).dtype
    same = type(values) is type(x) and values.dtype == real and device_of(values) == device_of(x)
    return values if same else real_like(as_numpy(values), x)
