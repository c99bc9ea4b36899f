"""Checkpoints of guided-diffusion (ADM, Dhariwal and Nichol 2021) as diffusers networks.

Such a file is a flat table of weights, ``input_blocks.3.0.in_layers.2.weight`` and the like, without the numbers that
the network was made with. Most can be read off shapes; the size of an attention head and the order of queries, keys
and values cannot.

    input_blocks.0                    conv_in
    input_blocks.k                    residual blocks of level l, then one that halves the image
    middle_block.0, 1, 2              residual block, attention, residual block
    output_blocks.k                   residual blocks from the lowest level up, the last of a level doubles the image
    out.0, out.2                      conv_norm_out, conv_out

With a learned variance the network gives 2 C channels; the first C are the noise, and only those are kept.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from annotated_types import Ge

from recon.errors import DataError
from recon.params import Doc, Parameters
from recon_diffusion.files import need_extra, save_prior
from recon_diffusion.notes import Notes

__all__ = ["AdmOptions", "convert_adm", "read_adm"]

Weights: TypeAlias = Mapping[str, Any]

RESIDUAL = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
"""Names of the layers of a residual block, there and in diffusers."""


@dataclass(frozen=True)
class AdmOptions(Parameters):
    """What a checkpoint of guided-diffusion does not say."""

    head: Annotated[int | None, Ge(1), Doc("channels of an attention head (num_head_channels)")] = None
    heads: Annotated[int | None, Ge(1), Doc("attention heads (num_heads), where their size is not fixed")] = (
        None
    )
    new_order: Annotated[bool, Doc("queries, keys, values outside the heads (use_new_attention_order)")] = (
        False
    )
    size: Annotated[int | None, Ge(1), Doc("height and width of the training images, for the record")] = None
    steps: Annotated[int, Ge(2), Doc("steps of the noise law (diffusion_steps)")] = 1000
    law: Annotated[Literal["linear", "cosine"], Doc("noise law (noise_schedule)")] = "linear"
    low: Annotated[float, Doc("value of an image that is -1 in the network")] = -1.0
    high: Annotated[float, Doc("value of an image that is 1 in the network")] = 1.0
    complex_images: Annotated[bool, Doc("whether two channels are real and imaginary part")] = False


@dataclass(frozen=True)
class _Shape:
    """What the shapes of the weights say of the network."""

    channels: int
    widths: tuple[int, ...]
    layers: int
    attention: tuple[bool, ...]
    residual_updown: bool
    scale_shift: bool

    def blocks(self) -> Iterator[tuple[str, str]]:
        """Names of the modules, there and in diffusers."""
        count, per = len(self.widths), self.layers
        yield "input_blocks.0.0", "conv_in"
        for level in range(count):
            for layer in range(per):
                k = 1 + level * (per + 1) + layer
                yield f"input_blocks.{k}.0", f"down_blocks.{level}.resnets.{layer}"
                if self.attention[level]:
                    yield f"input_blocks.{k}.1", f"down_blocks.{level}.attentions.{layer}"
            if level + 1 < count:
                yield f"input_blocks.{(level + 1) * (per + 1)}.0", f"down_blocks.{level}.downsamplers.0"
        yield "middle_block.0", "mid_block.resnets.0"
        yield "middle_block.1", "mid_block.attentions.0"
        yield "middle_block.2", "mid_block.resnets.1"
        for place in range(count):
            attends = self.attention[count - 1 - place]
            for layer in range(per + 1):
                k = place * (per + 1) + layer
                yield f"output_blocks.{k}.0", f"up_blocks.{place}.resnets.{layer}"
                if attends:
                    yield f"output_blocks.{k}.1", f"up_blocks.{place}.attentions.{layer}"
            if place + 1 < count:
                yield f"output_blocks.{k}.{1 + attends}", f"up_blocks.{place}.upsamplers.0"
        yield from (("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"))
        yield from (("out.0", "conv_norm_out"), ("out.2", "conv_out"))


def convert_adm(path: str | Path, folder: str | Path, options: AdmOptions | None = None) -> Path:
    """Write a checkpoint of guided-diffusion as a prior, once.

    Parameters
    ----------
    path
        The ``.pt`` file. It is read with ``weights_only=True``: a file that needs classes is refused.
    folder
        Of the prior, as :func:`recon_diffusion.files.save_prior` writes it; weights are stored in float16.
    options
        What the file does not say.

    Raises
    ------
    DataError
        When the file cannot be read without running code, or is of another network.
    """
    need_extra()
    from diffusers.schedulers import DDIMScheduler

    options = options or AdmOptions()
    path = Path(path)
    module = read_adm(_read_table(path), options, str(path))
    scheduler = DDIMScheduler(
        num_train_timesteps=options.steps,
        beta_start=0.1 / options.steps,
        beta_end=min(20.0 / options.steps, 0.999),
        beta_schedule="linear" if options.law == "linear" else "squaredcos_cap_v2",
        prediction_type="epsilon",
        clip_sample=False,
        timestep_spacing="trailing",
        set_alpha_to_one=False,
    )
    notes = Notes(
        low=options.low,
        high=options.high,
        channels=module.config["in_channels"],
        complex_images=options.complex_images,
        images=f"those of {path.name}, a checkpoint of guided-diffusion",
    )
    return save_prior(folder, module, scheduler, notes)


def read_adm(weights: Weights, options: AdmOptions | None = None, where: str = "The checkpoint") -> Any:
    """The diffusers ``UNet2DModel`` of the weights of guided-diffusion, in float32.

    Raises
    ------
    DataError
        When they are of another network, or an option is needed that is not given.
    """
    import torch
    from diffusers.models import UNet2DModel

    options = options or AdmOptions()
    shape = _shape(weights, where)
    plain, attends = ("Resnet{}sampleBlock2D" if shape.residual_updown else "{}Block2D"), "Attn{}Block2D"
    down = [(attends if a else plain).format("Down") for a in shape.attention]
    up = [(attends if a else plain).format("Up") for a in reversed(shape.attention)]
    way = "resnet" if shape.residual_updown else "conv"
    with torch.device("meta"):  # no memory for what is refused below
        module = UNet2DModel(
            sample_size=options.size,
            in_channels=shape.channels,
            out_channels=shape.channels,
            block_out_channels=shape.widths,
            layers_per_block=shape.layers,
            down_block_types=tuple(down),
            up_block_types=tuple(up),
            downsample_type=way,
            upsample_type=way,
            attention_head_dim=_head(weights, shape, options, where),
            resnet_time_scale_shift="scale_shift" if shape.scale_shift else "default",
            norm_num_groups=32,
            attn_norm_num_groups=32,
            norm_eps=1e-5,
            downsample_padding=1,
        )
    table = _translated(weights, shape, module.config["attention_head_dim"], options.new_order)
    expected = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    if {name: tuple(value.shape) for name, value in table.items()} != expected:
        raise _foreign(where)
    module.load_state_dict(
        {name: value.to(torch.float32, copy=True) for name, value in table.items()}, assign=True
    )
    if not all(bool(value.isfinite().all()) for value in module.parameters()):
        raise DataError(f"{where} must hold finite weights, got NaN or infinity. Take an earlier checkpoint.")
    return module.float().eval().requires_grad_(False)


# -- what the shapes say -----------------------------------------------------------------------------------


def _read_table(path: Path) -> Weights:
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path} must be a checkpoint, got nothing there. Check the path.") from None
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} must hold weights alone, got objects that need code to be run. "
            "Save its state_dict() with torch.save where you trust it."
        ) from None
    except Exception as error:  # a damaged archive can make torch raise anything
        raise DataError(
            f"{path} must be a checkpoint of torch, got something unreadable ({type(error).__name__})."
        ) from error
    for name in ("ema", "state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(name), dict):
            found = found[name]
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) and _whole(value)
        for name, value in found.items()
    ):
        raise _foreign(str(path))
    return found


def _whole(value: Any) -> bool:
    """Whether there is memory behind each of its numbers: a file may claim any shape for one number."""
    import torch

    if value.layout != torch.strided or not value.is_floating_point():
        return False
    return bool(value.numel() * value.element_size() <= value.untyped_storage().nbytes())


def _shape(weights: Weights, where: str) -> _Shape:
    """Levels, blocks and widths; from where the image is doubled, since that block stands apart by its place."""
    if "label_emb.weight" in weights:
        raise DataError(
            f"{where} must be of an unconditional network, got one with class labels. It has no reader."
        )
    try:
        total = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("input_blocks."))
        channels = int(weights["input_blocks.0.0.weight"].shape[1])
        first = int(weights["input_blocks.0.0.weight"].shape[0])
        doubled = r"output_blocks\.(\d+)\.[12]\.(in_layers|conv)\."
        doubling = sorted({int(m[1]) for name in weights if (m := re.match(doubled, name))})
        per = doubling[0] + 1 if doubling else total
        widths, attention = [], []
        for level in range(total // per):
            k = 1 + level * per
            widths.append(int(weights[f"input_blocks.{k}.0.out_layers.3.weight"].shape[0]))
            attention.append(f"input_blocks.{k}.1.qkv.weight" in weights)
        updown = f"input_blocks.{per}.0.in_layers.0.weight" in weights
        embedded = int(weights["input_blocks.1.0.emb_layers.1.weight"].shape[0])
        fits = total % per == 0 and weights["time_embed.0.weight"].shape[1] == first == widths[0]
        fits = fits and weights["out.2.weight"].shape[0] in (channels, 2 * channels)
    except (KeyError, IndexError, ValueError) as error:
        raise _foreign(where) from error
    if not fits:
        raise _foreign(where)
    return _Shape(channels, tuple(widths), per - 1, tuple(attention), updown, embedded == 2 * widths[0])


def _head(weights: Weights, shape: _Shape, options: AdmOptions, where: str) -> int:
    """Channels of an attention head."""
    if options.head is not None:
        head = options.head
    elif options.heads is not None:
        wide = {width for width, attends in zip(shape.widths, shape.attention, strict=True) if attends}
        wide.add(shape.widths[-1])
        if len(wide) > 1:
            raise DataError(
                f"{where} must have attention of one width for a fixed number of heads, got widths "
                f"{', '.join(map(str, sorted(wide)))}. Heads of different size do not fit diffusers' UNet2DModel."
            )
        head = wide.pop() // options.heads
    else:
        raise DataError(
            f"{where} does not say the size of its attention heads. Give it: --head 64 is usual, or --heads 4."
        )
    if head < 1 or any(
        width % head
        for width, attends in zip(shape.widths, (*shape.attention[:-1], True), strict=True)
        if attends
    ):
        raise DataError(
            f"{where} must have widths that heads of {head} channels divide, got others. Check --head."
        )
    return head


def _foreign(where: str) -> DataError:
    return DataError(
        f"{where} must hold the weights of a guided-diffusion UNet, got others. No other checkpoint has a reader."
    )


# -- names and orders --------------------------------------------------------------------------------------


def _translated(weights: Weights, shape: _Shape, head: int, new_order: bool) -> dict[str, Any]:
    table: dict[str, Any] = {}
    taken = set()
    for theirs, ours in shape.blocks():
        prefix = f"{theirs}."
        for name, value in weights.items():
            if not name.startswith(prefix):
                continue
            taken.add(name)
            layer, _, kind = name[len(prefix) :].rpartition(".")
            if layer == "qkv":
                table |= _qkv(value, ours, kind, head, new_order)
            elif layer == "proj_out":
                table[f"{ours}.to_out.0.{kind}"] = value.squeeze(-1) if kind == "weight" else value
            elif theirs == "out.2":
                table[f"{ours}.{kind}"] = value[: shape.channels]
            else:
                known = {**RESIDUAL, "norm": "group_norm", "op": "conv", "conv": "conv", "": ""}
                table[".".join(part for part in (ours, known.get(layer, layer), kind) if part)] = value
    table |= {name: value for name, value in weights.items() if name not in taken}  # refused by their names
    return table


def _qkv(value: Any, ours: str, kind: str, head: int, new_order: bool) -> dict[str, Any]:
    """Queries, keys and values: [3, heads, head] in the new order, [heads, 3, head] in the old."""
    value = value.squeeze(-1) if kind == "weight" else value
    rest = value.shape[1:]
    heads = value.shape[0] // (3 * head)
    parts = (
        value.reshape(3, heads, head, *rest)
        if new_order
        else value.reshape(heads, 3, head, *rest).movedim(1, 0)
    )
    return {
        f"{ours}.to_{name}.{kind}": part.reshape(heads * head, *rest)
        for name, part in zip("qkv", parts, strict=True)
    }
