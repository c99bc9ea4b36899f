"""Checkpoints of guided-diffusion: equality with a small network of that architecture, written here from its papers.

Dhariwal and Nichol (2021): residual blocks with group norm, scale and shift by the step's embedding, attention at some
resolutions, halving and doubling by residual blocks or by convolutions, skips between the halves.
"""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
from recon_diffusion.adm import AdmOptions, convert_adm, read_adm
from recon_diffusion.files import load_network
from recon_diffusion.prior import DiffusionPrior

from recon.errors import DataError

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
functional = torch.nn.functional


class Residual(torch.nn.Module):
    def __init__(self, inner, outer, emb, scale_shift=True, way=""):
        super().__init__()
        self.scale_shift, self.way = scale_shift, way
        norm, conv = torch.nn.GroupNorm, torch.nn.Conv2d
        self.in_layers = torch.nn.Sequential(
            norm(32, inner), torch.nn.SiLU(), conv(inner, outer, 3, padding=1)
        )
        self.emb_layers = torch.nn.Sequential(
            torch.nn.SiLU(), torch.nn.Linear(emb, outer * (2 if scale_shift else 1))
        )
        self.out_layers = torch.nn.Sequential(
            norm(32, outer), torch.nn.SiLU(), torch.nn.Dropout(0.0), conv(outer, outer, 3, padding=1)
        )
        self.skip_connection = torch.nn.Identity() if inner == outer else conv(inner, outer, 1)

    def resized(self, x):
        if self.way == "down":
            return functional.avg_pool2d(x, 2)
        return functional.interpolate(x, scale_factor=2, mode="nearest") if self.way == "up" else x

    def forward(self, x, emb):
        h = self.in_layers[2](self.resized(self.in_layers[1](self.in_layers[0](x))))
        own = self.emb_layers(emb)[:, :, None, None]
        if self.scale_shift:
            scale, shift = own.chunk(2, dim=1)
            h = self.out_layers[0](h) * (1 + scale) + shift
            h = self.out_layers[3](self.out_layers[1](h))
        else:
            h = self.out_layers(h + own)
        return self.skip_connection(self.resized(x)) + h


class Attention(torch.nn.Module):
    def __init__(self, width, head, new_order):
        super().__init__()
        self.head, self.new_order = head, new_order
        self.norm = torch.nn.GroupNorm(32, width)
        self.qkv = torch.nn.Conv1d(width, 3 * width, 1)
        self.proj_out = torch.nn.Conv1d(width, width, 1)

    def forward(self, x, emb):
        flat = x.flatten(2)
        packed = self.qkv(self.norm(flat))
        heads = x.shape[1] // self.head
        if self.new_order:
            q, k, v = (part.unflatten(1, (heads, self.head)) for part in packed.chunk(3, dim=1))
        else:
            q, k, v = packed.unflatten(1, (heads, 3 * self.head)).split(self.head, dim=2)
        weights = torch.softmax(torch.einsum("bhct,bhcs->bhts", q, k) / math.sqrt(self.head), dim=-1)
        mixed = torch.einsum("bhts,bhcs->bhct", weights, v).flatten(1, 2)
        return x + self.proj_out(mixed).reshape(x.shape)


class Resample(torch.nn.Module):
    """Halving (``op``) or doubling (``conv``) by a convolution."""

    def __init__(self, width, way):
        super().__init__()
        name, stride = ("op", 2) if way == "down" else ("conv", 1)
        self.name = name
        setattr(self, name, torch.nn.Conv2d(width, width, 3, stride=stride, padding=1))

    def forward(self, x, emb):
        if self.name == "conv":
            x = functional.interpolate(x, scale_factor=2, mode="nearest")
        return getattr(self, self.name)(x)


class First(torch.nn.Conv2d):
    def forward(self, x, emb):
        return super().forward(x)


class Adm(torch.nn.Module):
    """A UNet of guided-diffusion; the names of its modules are those of its checkpoints."""

    def __init__(
        self, channels=1, width=32, mult=(1, 2), blocks=1, attention=(False, True), head=16, **options
    ):
        super().__init__()
        learned, updown = options.get("learned", True), options.get("updown", True)
        scale_shift, new_order = options.get("scale_shift", True), options.get("new_order", False)
        emb = 4 * width
        self.width = width
        self.time_embed = torch.nn.Sequential(
            torch.nn.Linear(width, emb), torch.nn.SiLU(), torch.nn.Linear(emb, emb)
        )

        def stage(*modules):
            return torch.nn.ModuleList(modules)

        def resize(now, way):
            return Residual(now, now, emb, scale_shift, way) if updown else Resample(now, way)

        def attends(level, now):
            return [Attention(now, head, new_order)] if attention[level] else []

        now, widths = width, [width]
        stages = [stage(First(channels, width, 3, padding=1))]
        for level, factor in enumerate(mult):
            for _ in range(blocks):
                before, now = now, factor * width
                stages.append(stage(Residual(before, now, emb, scale_shift), *attends(level, now)))
                widths.append(now)
            if level + 1 < len(mult):
                stages.append(stage(resize(now, "down")))
                widths.append(now)
        self.input_blocks = torch.nn.ModuleList(stages)
        self.middle_block = stage(
            Residual(now, now, emb, scale_shift),
            Attention(now, head, new_order),
            Residual(now, now, emb, scale_shift),
        )
        stages = []
        for level in reversed(range(len(mult))):
            for place in range(blocks + 1):
                before, now = now + widths.pop(), mult[level] * width
                made = [Residual(before, now, emb, scale_shift), *attends(level, now)]
                if level and place == blocks:
                    made.append(resize(now, "up"))
                stages.append(stage(*made))
        self.output_blocks = torch.nn.ModuleList(stages)
        self.out = torch.nn.Sequential(
            torch.nn.GroupNorm(32, now),
            torch.nn.SiLU(),
            torch.nn.Conv2d(now, channels * (1 + learned), 3, padding=1),
        )

    def forward(self, x, t):
        half = self.width // 2
        rates = torch.exp(-math.log(10000) * torch.arange(half) / half)
        angles = t[:, None].float() * rates
        emb = self.time_embed(torch.cat([torch.cos(angles), torch.sin(angles)], dim=1))
        kept = []
        for stage in self.input_blocks:
            for module in stage:
                x = module(x, emb)
            kept.append(x)
        for module in self.middle_block:
            x = module(x, emb)
        for stage in self.output_blocks:
            x = torch.cat([x, kept.pop()], dim=1)
            for module in stage:
                x = module(x, emb)
        return self.out(x)


def adm(**options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        made = Adm(**options)
        for name, value in made.named_parameters():  # norms too, so that a swap of two shows
            if value.ndim == 1:
                value.data += 0.1 * torch.randn(value.shape)
            assert value.abs().max() > 0, name
    return made.eval().requires_grad_(False)


KINDS = {
    "residual": {},
    "new order": {"new_order": True},
    "convolutions": {"updown": False},
    "no scale and shift": {"scale_shift": False, "updown": False},
    "two blocks, three levels": {
        "blocks": 2,
        "mult": (1, 2, 2),
        "attention": (False, True, True),
        "channels": 3,
    },
    "attention below only": {"attention": (False, False)},
    "attention everywhere": {"attention": (True, True)},
    "one level": {"mult": (1,), "attention": (True,)},
    "no learned variance": {"learned": False},
}


@pytest.mark.parametrize("kind", KINDS)
def test_equal_to_the_network_it_was(kind):
    made, channels = adm(**KINDS[kind]), KINDS[kind].get("channels", 1)
    ours = read_adm(made.state_dict(), AdmOptions(head=16, new_order=kind == "new order"))
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, channels, 16, 16))).float()
    t = torch.tensor([7.0, 812.0])
    with torch.no_grad():
        expected, got = made(x, t)[:, :channels], ours(x, t).sample
    assert got.shape == expected.shape
    assert float((got - expected).abs().max()) <= 1e-5 * float(expected.abs().max())


def test_the_order_matters():
    made = adm()
    x, t = torch.ones(1, 1, 16, 16), torch.tensor([100.0])
    x[..., 3:, :5] = -1
    wrong = read_adm(made.state_dict(), AdmOptions(head=16, new_order=True))
    with torch.no_grad():
        assert float((wrong(x, t).sample - made(x, t)[:, :1]).abs().max()) > 1e-4


def test_heads_by_their_number():
    made = adm()
    first = read_adm(made.state_dict(), AdmOptions(heads=4))
    assert first.config["attention_head_dim"] == 16


@pytest.mark.parametrize("wrapped", [False, True])
def test_convert_writes_a_prior(tmp_path, wrapped):
    made = adm()
    weights = made.state_dict()
    torch.save({"ema": weights, "step": 5} if wrapped else weights, tmp_path / "model.pt")
    options = AdmOptions(head=16, low=0.0, high=1.0, size=16)
    folder = convert_adm(tmp_path / "model.pt", tmp_path / "prior", options)
    net = load_network(folder)
    assert (net.prediction, net.low, net.high, net.multiple, net.law.continuous) == (
        "epsilon",
        0.0,
        1.0,
        2,
        False,
    )
    assert net.law.levels[0] == pytest.approx(0.01, rel=1e-3)
    assert net.law.levels[-1] == pytest.approx(157, rel=1e-2)
    s = float(net.law.levels[500])
    z = np.random.default_rng(1).random((16, 16))
    x = torch.from_numpy(2 * z - 1)[None, None].float()
    half = adm().half().float()  # as it is stored
    with torch.no_grad():
        eps = half(x / (1 + s * s) ** 0.5, torch.tensor([500.0]))[0, 0]
    expected = 0.5 * (x[0, 0] - s * eps) + 0.5
    np.testing.assert_allclose(DiffusionPrior(str(folder)).denoise(z, s / 2), expected, atol=2e-5)
    assert "model.pt, a checkpoint of guided-diffusion" in (folder / "README.md").read_text()
    assert str(tmp_path) not in (folder / "recon.json").read_text()


def test_laws_of_checkpoints(tmp_path):
    torch.save(adm().state_dict(), tmp_path / "model.pt")
    short = convert_adm(tmp_path / "model.pt", tmp_path / "a", AdmOptions(head=16, steps=500))
    cosine = convert_adm(tmp_path / "model.pt", tmp_path / "b", AdmOptions(head=16, law="cosine"))
    levels = load_network(short).law.levels
    betas = np.linspace(2e-4, 0.04, 500)
    kept = np.cumprod(1 - betas)
    np.testing.assert_allclose(levels, np.sqrt((1 - kept) / kept), rtol=1e-3)
    share = (np.arange(1000) + 1) / 1000
    kept = (np.cos((share + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2)) ** 2
    got = load_network(cosine).law.levels
    np.testing.assert_allclose(got[:990], np.sqrt((1 - kept) / kept)[:990], rtol=2e-3)


# -- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "options", "text"),
    [
        (
            {"label_emb.weight": torch.zeros(2, 2)},
            {},
            "must be of an unconditional network, got one with class labels",
        ),
        (
            {"extra.weight": torch.zeros(2)},
            {},
            "must hold the weights of a guided-diffusion UNet, got others",
        ),
        ({"out.2.weight": torch.zeros(3, 32, 3, 3)}, {}, "must hold the weights of a guided-diffusion UNet"),
        ({"middle_block.1.qkv.bias": None}, {}, "must hold the weights of a guided-diffusion UNet"),
        ({"time_embed.0.weight": None}, {}, "must hold the weights of a guided-diffusion UNet"),
        ({}, {"head": None}, "does not say the size of its attention heads. Give it: --head 64 is usual"),
        ({}, {"head": 24}, "must have widths that heads of 24 channels divide, got others. Check --head."),
    ],
)
def test_weights_that_do_not_fit(change, options, text):
    weights = {name: value for name, value in (adm().state_dict() | change).items() if value is not None}
    with pytest.raises(DataError) as caught:
        read_adm(weights, AdmOptions(**{"head": 16, **options}))
    assert text in str(caught.value)


def test_heads_of_different_size_are_refused():
    with pytest.raises(
        DataError, match="must have attention of one width for a fixed number of heads, got widths 32"
    ):
        read_adm(adm(attention=(True, True)).state_dict(), AdmOptions(heads=4))


def test_files_that_are_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "run"),))

    def refused(name, text):
        with pytest.raises(DataError) as caught:
            convert_adm(tmp_path / name, tmp_path / "prior", AdmOptions(head=16))
        assert text in str(caught.value)
        assert not (tmp_path / "prior").exists()

    torch.save({"a": Evil()}, tmp_path / "evil.pt")
    refused("evil.pt", "must hold weights alone, got objects that need code to be run")
    assert not (tmp_path / "run").exists()
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 no archive")
    refused("broken.pt", "must be a checkpoint of torch, got something unreadable")
    refused("absent.pt", "must be a checkpoint, got nothing there")
    torch.save([1, 2], tmp_path / "list.pt")
    refused("list.pt", "must hold the weights of a guided-diffusion UNet, got others")
    for weights in (
        {1: torch.zeros(2)},
        {"a": torch.zeros(2, dtype=torch.int64)},
        {"a": torch.zeros(1).expand(10**6, 10**6)},  # 4 TB of one number
    ):
        torch.save(weights, tmp_path / "odd.pt")
        refused("odd.pt", "must hold the weights of a guided-diffusion UNet, got others")
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pt")
    refused("other.pt", "must hold the weights of a guided-diffusion UNet, got others")
