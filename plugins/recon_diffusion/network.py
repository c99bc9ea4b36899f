"""Networks: what a UNet predicts, turned into D(z, s) in network values.

    z = x + s n,  a = 1 / (1 + s^2)                                              network values, s too
    epsilon-prediction    D = z - s o(sqrt(a) z, t)
    v-prediction          D = a z - s sqrt(a) o(sqrt(a) z, t)
    sample-prediction     D = o(sqrt(a) z, t)
    EDM (Karras 2022)     D = c_skip z + c_out o(c_in z, t),   c_skip = d^2 / (s^2 + d^2),   c_in = 1 / sqrt(s^2 + d^2),
                          c_out = s d c_in,   d standard deviation of the training images

t is the step of level s in the law the network was trained with. Torch is imported when a network is first used.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from recon.errors import ParameterError
from recon_diffusion.laws import EdmLaw, NoiseLaw, law_of_scheduler

__all__ = ["Network", "Precision", "Prediction", "digest_of_weights"]

Prediction: TypeAlias = Literal["epsilon", "v_prediction", "sample", "edm"]
"""What a network gives, as diffusers names it; ``"edm"`` for Karras' preconditioning, with an EdmLaw."""

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""What a module computes in."""


@dataclass(frozen=True, eq=False)
class Network:
    """A torch network and all that is needed to read it.

    Parameters
    ----------
    module
        Called as ``module(x, t)``, x (images, channels, rows, columns) in the precision of its weights, float32 where
        it has none, and t one step each; gives an array, or an object with ``sample``. Further channels than it takes
        (a learned variance) are left out.
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

    @classmethod
    def from_diffusers(
        cls,
        unet: Any,
        scheduler: Any,
        *,
        low: float = -1.0,
        high: float = 1.0,
        fold: int = 1,
        complex_images: bool = False,
        continuous: bool = False,
        spreads: tuple[tuple[float, float], ...] | None = None,
        digest: str = "",
    ) -> Network:
        """A network from a diffusers ``UNet2DModel`` at hand and the scheduler it was trained with.

        Parameters
        ----------
        unet
            Unconditional; its weights are used as they are, and never changed.
        scheduler
            Says the noise law and the prediction; see :func:`recon_diffusion.laws.law_of_scheduler`.
        low, high
            Values of an image that are -1 and 1 in the network; by default an image has those of the network.
        fold, complex_images, continuous, spreads, digest
            As of the class; the digest is computed where none is given.

        Raises
        ------
        ParameterError
            When the network is conditional, or its channels do not fit.
        """
        config = unet.config
        if config.get("num_class_embeds") or config.get("class_embed_type"):
            raise ParameterError(
                "A UNet2DModel must be unconditional, got one with class labels. Train a prior without them."
            )
        inner, outer = config["in_channels"], config["out_channels"]
        channels = inner // fold**2
        if inner % fold**2 or outer not in (inner, 2 * inner) or complex_images != (channels == 2):
            raise ParameterError(
                f"A UNet2DModel must have fold^2 channels for each channel of an image, 2 of a complex one, got "
                f"{inner} in and {outer} out with fold = {fold}. Check fold and complex_images."
            )
        law, prediction = law_of_scheduler(scheduler, continuous)
        multiple = fold * 2 ** (len(config["block_out_channels"]) - 1)
        known: Any = prediction
        made = digest or digest_of_weights(unet)
        return cls(unet, law, known, low, high, fold, channels, complex_images, multiple, spreads, made)

    def estimate(self, z: Any, s: float) -> Any:
        """D(z, s) of torch images (images, channels, rows, columns), all in network values; differentiable.

        s is rounded to the nearest level that the network knows, in every place: a network told another level than
        its input has is worse than one asked for a neighbouring level. D(z, 0) = z.
        """
        import torch

        if s <= 0.0:
            return z
        s = self.law.level(s)
        x = torch.nn.functional.pixel_unshuffle(z, self.fold) if self.fold > 1 else z
        t = torch.full((len(x),), self.law.step(s), dtype=torch.float32, device=x.device)
        data = self.law.data if isinstance(self.law, EdmLaw) else 1.0
        kept = 1.0 / (data * data + s * s)
        out = self.module((kept**0.5 * x).to(getattr(self._weight, "dtype", torch.float32)), t)
        out = getattr(out, "sample", out)[:, : x.shape[1]].to(x.dtype)
        if self.prediction == "edm":
            clean = data * data * kept * x + s * data * kept**0.5 * out
        elif self.prediction == "epsilon":
            clean = x - s * out
        elif self.prediction == "v_prediction":
            clean = kept * x - s * kept**0.5 * out
        else:
            clean = out
        return torch.nn.functional.pixel_shuffle(clean, self.fold) if self.fold > 1 else clean

    def to(self, device: Any) -> None:
        """Move the module to a device, where it is not there."""
        if self._weight is not None and self._weight.device != device:
            self.module.to(device)

    def cast(self, precision: Precision) -> Network:
        """The same network with weights in another precision; itself where they have it. What is around stays float32.

        Raises
        ------
        ParameterError
            When the module has no weights to cast.
        """
        import copy

        import torch

        wanted = getattr(torch, precision)
        if getattr(self._weight, "dtype", torch.float32) == wanted:
            return self
        if self._weight is None:
            raise ParameterError(
                f"precision must be float32 for a network without torch weights, got {precision!r}. Leave it out."
            )
        # the plain method: that of diffusers warns of parts to keep in float32, of which there are none
        return replace(self, module=torch.nn.Module.to(copy.deepcopy(self.module), wanted))

    @property
    def _weight(self) -> Any:
        """The first weight of the module; None where it has none."""
        return next(iter(getattr(self.module, "parameters", tuple)()), None)


def digest_of_weights(module: Any) -> str:
    """SHA-256 of the names and values of a module's weights; 1 GB takes about a second."""
    import hashlib

    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()
