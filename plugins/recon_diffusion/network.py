"""Networks as priors: what a UNet predicts, turned into D(z, s) in the units of the image.

    x = unit * v + offset,   v in [low, high] -> [-1, 1] = (2 v - low - high) / (high - low)      network values

    z = x + s n,  a = 1 / (1 + s^2)                                              network values, s too
    epsilon-prediction    D = z - s o(sqrt(a) z, t)
    v-prediction          D = a z - s sqrt(a) o(sqrt(a) z, t)
    sample-prediction     D = o(sqrt(a) z, t)

t is the step of level s in the law the network was trained with. Torch is imported when a network is first used.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
from annotated_types import Ge, Gt

from recon import Prior
from recon.arrays import Array, as_numpy, from_numpy, is_complex
from recon.errors import ShapeError
from recon.params import Doc, Parameters
from recon_diffusion.laws import NoiseLaw

__all__ = ["DiffusionPrior", "Network", "Prediction"]

Prediction: TypeAlias = Literal["epsilon", "v_prediction", "sample"]
"""What a network gives, as diffusers names it."""


@dataclass(frozen=True, eq=False)
class Network:
    """A torch network and all that is needed to read it.

    Parameters
    ----------
    module
        Called as ``module(x, t)``, x (images, channels, rows, columns) in float32 and t one step each; gives an array,
        or an object with ``sample``. Further channels than it takes (a learned variance) are left out.
    law
        Noise levels of its steps.
    prediction
        What it gives.
    low, high
        Values of the image that are -1 and 1 in the network.
    fold
        Pixel unshuffle in front of the module, undone behind it.
    channels
        1 for grey images (rows, columns); 2 with ``complex_images`` for complex ones; else the last axis of an image.
    multiple
        Rows and columns must be multiples of this.
    spreads
        Pairs (level in network values, root mean square error of D there), measured on held-out images; or None.
    digest
        SHA-256 of the weights.
    """

    module: Any
    law: NoiseLaw
    prediction: Prediction = "epsilon"
    low: float = 0.0
    high: float = 1.0
    fold: int = 1
    channels: int = 1
    complex_images: bool = False
    multiple: int = 8
    spreads: tuple[tuple[float, float], ...] | None = None
    digest: str = ""

    @property
    def scale(self) -> float:
        """What 1 is in the network, in values of the image."""
        return 0.5 * (self.high - self.low)

    def estimate(self, z: Any, s: float) -> Any:
        """D(z, s) of torch images (images, channels, rows, columns), all in network values; differentiable."""
        import torch

        kept = 1.0 / (1.0 + s * s)
        x = torch.nn.functional.pixel_unshuffle(z, self.fold) if self.fold > 1 else z
        t = torch.full((len(x),), self.law.step(s), dtype=torch.float32, device=x.device)
        out = self.module(kept**0.5 * x, t)
        out = getattr(out, "sample", out)[:, : x.shape[1]]
        if self.prediction == "epsilon":
            clean = x - s * out
        elif self.prediction == "v_prediction":
            clean = kept * x - s * kept**0.5 * out
        else:
            clean = out
        return torch.nn.functional.pixel_shuffle(clean, self.fold) if self.fold > 1 else clean


@dataclass(frozen=True, repr=False)
class DiffusionPrior(Parameters, Prior):
    """What a diffusion network has learned of images: the prior of all samplers, and of plug-and-play solvers.

    ``denoise(v, sigma)`` is the network's estimate of the image in v = x + sigma n. Images have the shape the operator
    says; axes in front, those of a volume too, are further images. Networks run in float32, ``batch`` images at once.

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

    Raises
    ------
    MissingExtraError
        When torch or diffusers is not installed, at the first use.
    DataError
        When there is no such prior, or its files are not what they should be.
    """

    source: Annotated[str, Doc("name of a shipped prior, or path of a folder")]
    _: KW_ONLY
    unit: Annotated[float, Gt(0), Doc("one unit of the network's training images, in units of x")] = 1.0
    offset: Annotated[float, Doc("x where a training image is 0")] = 0.0
    batch: Annotated[int, Ge(1), Doc("images given to the network at once")] = 16
    device: Annotated[str | None, Doc("torch device of the network")] = None

    @classmethod
    def of(cls, network: Network, name: str = "given", **options: Any) -> DiffusionPrior:
        """A prior of a network at hand, with the options of the class."""
        made = cls(name, **options)
        made.__dict__["_network"] = network
        return made

    @property
    def network(self) -> Network:
        """The network, loaded at the first use."""
        if "_network" not in self.__dict__:
            from recon_diffusion.files import load_network

            self.__dict__["_network"] = load_network(self.source)
        found: Network = self.__dict__["_network"]
        return found

    def __getstate__(self) -> dict[str, Any]:
        if self.source == "given":
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
        """r: root mean square error of D at level s, as measured; else s d / sqrt(s^2 + d^2), d the scale."""
        table = self.network.spreads
        if not table:
            return s * self.scale / float(np.hypot(s, self.scale))
        levels, errors = np.log(np.array(table).T)
        own = s / self.scale
        if own < table[0][0]:
            return s * min(1.0, table[0][1] / table[0][0])
        return self.scale * float(np.exp(np.interp(np.log(own), levels, errors)))

    def denoise(self, v: Array, sigma: float) -> Array:
        """The image in v = x + sigma n, both in units of x."""
        import torch

        images, back = self._opened(v)
        with torch.no_grad():
            parts = [self._clean(part, sigma) for part in torch.split(images, self.batch)]
        return back(torch.cat(parts))

    def denoise_vjp(self, v: Array, sigma: float) -> tuple[Array, Callable[[Array], Array]]:
        """D(v, sigma) and the function c -> J^T c, which may be called more than once."""
        import torch

        images, back = self._opened(v)
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
        size = spec.shape[-axes:] if len(spec.shape) >= axes else ()
        fits = len(size) == axes and all(n % net.multiple == 0 for n in size[:2])
        if axes == 3 and fits:
            fits = size[2] == net.channels
        if spec.kind != kind or not fits:
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
        import torch

        net = self.network
        tensor = v if isinstance(v, torch.Tensor) else torch.from_numpy(np.ascontiguousarray(as_numpy(v)))
        device = self.device or (tensor.device if isinstance(v, torch.Tensor) else "cpu")
        centre = (self.offset + 0.5 * self.unit * (net.low + net.high)) if shift else 0.0
        if is_complex(v):
            tensor = torch.movedim(torch.view_as_real(tensor), -1, -3)
        elif net.channels > 1:
            tensor = torch.movedim(tensor, -1, -3)
        else:
            tensor = tensor[..., None, :, :]
        shape = tensor.shape
        images = ((tensor - centre) * (1.0 / self.scale)).to(device=device, dtype=torch.float32)
        images = images.reshape(-1, *shape[-3:])
        if next(iter(net.module.parameters())).device != images.device:
            net.module.to(images.device)

        def back(images: Any, shift: bool = True) -> Array:
            values = images.reshape(shape) * self.scale
            if shift:
                values = values + centre
            if is_complex(v):
                values = torch.view_as_complex(torch.movedim(values, -3, -1).contiguous())
            elif net.channels > 1:
                values = torch.movedim(values, -3, -1)
            else:
                values = values[..., 0, :, :]
            if isinstance(v, torch.Tensor):
                return values.to(device=v.device, dtype=v.dtype)
            return from_numpy(values.cpu().numpy(), v, dtype=v.dtype)

        return images, back

    def __repr__(self) -> str:
        return f"DiffusionPrior({self.source!r})"

    @classmethod
    def example(cls) -> DiffusionPrior:
        """The smallest prior that is shipped."""
        return cls("probe-64")
