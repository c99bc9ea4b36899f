"""Networks as priors of images in the units of a problem.

x = unit * v + offset,   v in [low, high] -> [-1, 1] = (2 v - low - high) / (high - low)      network values
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, MinLen

from recon import Prior
from recon.arrays import Array, ArraySpec, as_numpy, from_numpy, is_complex, namespace
from recon.errors import ParameterError, ShapeError
from recon.params import Doc, Parameters
from recon_diffusion.network import Network, Precision, digest_of_weights

__all__ = ["DiffusionPrior"]

_WIDTH = 0.7


@dataclass(frozen=True, repr=False, eq=False)
class DiffusionPrior(Parameters, Prior):
    """What a diffusion network has learned of images: the prior of all samplers, and of plug-and-play solvers.

    ``denoise(v, sigma)`` is the network's estimate of the image in v = x + sigma n. Images have the shape the operator
    says; axes in front, those of a volume too, are further images, ``batch`` of which the network sees at once.

    Parameters
    ----------
    source
        Name of a prior that is shipped (``recon list prior`` and ``recon priors list``), or path of a folder as
        ``recon train-prior`` and ``recon priors convert`` write them, or of a diffusers model.
    unit, offset
        x = unit * v + offset, with v the values the network was trained on: for attenuation per length, say, or counts.
    batch
        Images given to the network at once: more is faster on a GPU, and takes more memory.
    device
        Where torch runs it; that of the image where it is a torch tensor, else the CPU.
    precision
        What the network computes in. bfloat16 is off by 0.7 % of what the network adds, which no PSNR shows, and takes
        0.6 of the time for 16 images at once, 0.8 for one, on a CPU that has it (AVX512-BF16); slower on others.

    Raises
    ------
    MissingExtraError
        When torch or diffusers is not installed, at the first use.
    DataError
        When there is no such prior, or its files are not what they should be.
    ParameterError
        When torch does not have the device here.
    """

    source: Annotated[str, MinLen(1), Doc("name of a shipped prior, or path of a folder")]
    _: KW_ONLY
    unit: Annotated[float, Gt(0), Doc("one unit of the network's training images, in units of x")] = 1.0
    offset: Annotated[float, Doc("x where a training image is 0")] = 0.0
    batch: Annotated[int, Ge(1), Doc("images given to the network at once")] = 16
    device: Annotated[str | None, Doc("torch device of the network")] = None
    precision: Annotated[Precision, Doc("what the network computes in")] = "float32"

    convex: ClassVar[bool] = False  # type: ignore[misc]
    tol: ClassVar[float] = 1e-10
    """The network computes in float32 at best."""

    @classmethod
    def of(cls, network: Network, name: str = "given", **options: Any) -> DiffusionPrior:
        """A prior of a network at hand, with the options of the class."""
        made = cls(name, **options)
        made.__dict__.update(_network=network.cast(made.precision), _given=True)
        return made

    @property
    def network(self) -> Network:
        """The network, loaded at the first use."""
        if "_network" not in self.__dict__:
            from recon_diffusion.files import load_network

            self.__dict__["_network"] = load_network(self.source).cast(self.precision)
        found: Network = self.__dict__["_network"]
        return found

    def digest(self) -> str:
        """SHA-256 of the weights, which the name of a folder does not show; without torch. For checkpoints."""
        if "_network" in self.__dict__:
            net = self.network
            made = hasattr(net.module, "state_dict")
            return net.digest or (digest_of_weights(net.module) if made else type(net.module).__qualname__)
        from recon_diffusion.files import digest_of

        return digest_of(self.source)

    def __getstate__(self) -> dict[str, Any]:
        if "_given" in self.__dict__:
            return dict(self.__dict__)
        return {name: value for name, value in self.__dict__.items() if not name.startswith("_")}

    # -- what samplers ask -------------------------------------------------------------------------------

    @property
    def scale(self) -> float:
        """What 1 is in the network, in units of x."""
        return self.unit * self.network.scale

    def level(self, sigma: float) -> float:
        """The nearest noise level that the network knows, in units of x."""
        return self.scale * self.network.law.level(sigma / self.scale)

    def spread(self, s: float) -> float:
        """r = 0.7 s d / sqrt(s^2 + d^2), d the scale: how far samplers take the image to be from D at level s.

        The root mean square error of D (``network.spreads``) is smaller, but sits at the edges: with it samplers trust
        D most where it errs. 0.7 was chosen on three held-out bodies at 16 views: with the measured error the mean of
        ``Daps`` is 2 dB worse, with 1 its 90 % intervals are too wide.
        """
        return _WIDTH * s * self.scale / float(np.hypot(s, self.scale))

    def denoise(self, v: Array, sigma: float) -> Array:
        """The image in v = x + sigma n, both in units of x."""
        images, back = self._opened(v)
        import torch

        with torch.no_grad():
            parts = [self._clean(part, sigma) for part in torch.split(images, self.batch)]
        return back(torch.cat(parts))

    def denoise_vjp(self, v: Array, sigma: float) -> tuple[Array, Callable[[Array], Array]]:
        """D(v, sigma) and the function c -> J^T c, which may be called more than once."""
        images, back = self._opened(v)
        import torch

        images = images.detach().requires_grad_(True)
        with torch.enable_grad():
            clean = torch.cat([self._clean(part, sigma) for part in torch.split(images, self.batch)])

        def pull(cotangent: Array) -> Array:
            values, _ = self._opened(cotangent, shift=False)
            (gradient,) = torch.autograd.grad(clean, images, values, retain_graph=True)
            return back(gradient, shift=False)

        return back(clean.detach()), pull

    def score(self, x: Array, sigma: float) -> Array:
        """(D(x, sigma) - x) / sigma^2, the gradient of the log density of images with noise (Tweedie's formula)."""
        return (self.denoise(x, sigma) - x) * (1.0 / sigma**2)

    def prox(self, v: Array, t: float) -> Array:
        """D(v, sqrt(t)): what plug-and-play solvers put in the place of a prox."""
        return self.denoise(v, self.level(t**0.5)) if t > 0.0 else v

    def check_spec(self, spec: Any) -> None:
        """Refuse images whose shape or kind the network cannot take."""
        net = self.network
        kind = "complex" if net.complex_images else "real"
        axes = 2 if net.channels == 1 or net.complex_images else 3
        shape = () if isinstance(spec, tuple) else spec.shape
        size = shape[-axes:] if len(shape) >= axes else ()
        fits = len(size) == axes and all(n % net.multiple == 0 for n in size[:2])
        if axes == 3 and fits:
            fits = size[2] == net.channels
        if not fits or spec.kind != kind:
            channels = f", {net.channels}" if axes == 3 else ""
            raise ShapeError(
                f"DiffusionPrior {self.source!r} needs {kind} images (rows, columns{channels}), rows and columns "
                f"multiples of {net.multiple}, got {spec}. Pad the image, or train a prior for it."
            )

    # -- between arrays and the network ------------------------------------------------------------------

    def _clean(self, images: Any, sigma: float) -> Any:
        return self.network.estimate(images, sigma / self.scale)

    def _opened(self, v: Array, shift: bool = True) -> tuple[Any, Callable[..., Array]]:
        """Network images of an array of any library, and the way back; without shift for differences of images."""
        self.check_spec(ArraySpec(tuple(v.shape), "complex" if is_complex(v) else "real"))
        net = self.network
        import torch

        given = isinstance(v, torch.Tensor)
        tensor = v.resolve_conj() if given else torch.from_numpy(_writable(as_numpy(v)))
        device = _device(self.device) if self.device else tensor.device if given else "cpu"
        centre = (self.offset + 0.5 * self.unit * (net.low + net.high)) if shift else 0.0
        tensor = _channels_first(tensor, net)
        shape = tensor.shape
        real = torch.float64 if tensor.dtype == torch.float64 else torch.float32
        images = ((tensor.to(real) - centre) * (1.0 / self.scale)).to(device=device, dtype=torch.float32)
        images = images.reshape(-1, *shape[-3:])
        net.to(images.device)

        def back(images: Any, shift: bool = True) -> Array:
            values = images.to(real).reshape(shape) * self.scale
            if shift:
                values = values + centre
            values = _channels_last(values, net)
            fractions = namespace(v).isdtype(v.dtype, ("real floating", "complex floating"))
            kept = v.dtype if fractions else None  # the estimate of an image of whole numbers is not one
            if given:
                return values.to(device=v.device, dtype=kept)
            return from_numpy(values.cpu().numpy(), v, dtype=kept)

        return images, back

    def __repr__(self) -> str:
        return f"DiffusionPrior({self.source!r})"

    @classmethod
    def example(cls) -> DiffusionPrior:
        """The smallest prior that is shipped."""
        return cls("probe-64")


def _device(name: str) -> Any:
    import torch

    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # no such kind, no driver, not compiled for it
        raise ParameterError(
            f"DiffusionPrior.device must be one that torch has here, got {name!r}. Use cpu or cuda, or leave it out."
        ) from error


def _writable(values: Any) -> Any:
    """In C order and writable: torch warns of an array that is not, though nothing writes to it."""
    values = np.ascontiguousarray(values)
    return values if values.flags.writeable else values.copy()


def _channels_first(tensor: Any, net: Network) -> Any:
    """(..., channels, rows, columns), real."""
    import torch

    if net.complex_images:
        return torch.movedim(torch.view_as_real(tensor), -1, -3)
    return torch.movedim(tensor, -1, -3) if net.channels > 1 else tensor[..., None, :, :]


def _channels_last(values: Any, net: Network) -> Any:
    """As images are: (..., rows, columns), with channels behind where there are several."""
    import torch

    if net.complex_images:
        return torch.view_as_complex(torch.movedim(values, -3, -1).contiguous())
    return torch.movedim(values, -3, -1) if net.channels > 1 else values[..., 0, :, :]
