"""The U-Net of GlitchFlow, from spectrograms of witnesses to that of the strain, beside filters.

A residual U-Net with attention gates, Softplus at its end and the loss 0.8 L1 + 0.2 (1 - SSIM), as in
GlitchFlow's plugin (CHEP 2024), with 8 in place of 64 channels at its first level, since a CPU trains
it. It has energies of tiles without phases, so that it cleans no strain; what can be compared is the
picture of what the witnesses brought into the strain.
"""

import time
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import _virgo_cleaning
from _table import Figure, this_machine
from physics_twins import virgo
from physics_twins.data import mean
from physics_twins.virgo import witnesses
from physics_twins.virgo.sensitivity import noise_asd

SEEDS = (301, 302, 303)  # of the hard set with faults at set times
TRAINED_S = 100.0  # of one core, for each stretch
RATE_HZ, PART_S, HOP_S, EDGE_S = 1024, 4, 1, 2
TILING = virgo.Tiling(PART_S, RATE_HZ, quality=12.0, low_hz=8.0, high_hz=400.0)
PIXELS = 64


class Residual(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1),
            nn.BatchNorm2d(after),
            nn.ReLU(),
            nn.Conv2d(after, after, 3, padding=1),
            nn.BatchNorm2d(after),
        )
        self.short = nn.Conv2d(before, after, 1)

    def forward(self, values: Tensor) -> Tensor:
        return functional.relu(self.layers(values) + self.short(values))


class Gate(nn.Module):
    """Attention: what comes from below tells what passes (Oktay et al. 2018, arXiv:1804.03999)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.here, self.below = nn.Conv2d(width, width // 2, 1), nn.Conv2d(width, width // 2, 1)
        self.weight = nn.Conv2d(width // 2, 1, 1)

    def forward(self, here: Tensor, below: Tensor) -> Tensor:
        both = functional.relu(self.here(here) + self.below(below))
        return here * torch.sigmoid(self.weight(both))


class UNet(nn.Module):
    """Three levels: (picture, channel, frequency, time) to (picture, 1, frequency, time)."""

    def __init__(self, n_channels: int, base: int = 8) -> None:
        super().__init__()
        widths = [base, 2 * base, 4 * base, 8 * base]
        self.down = nn.ModuleList(
            Residual(a, b) for a, b in zip([n_channels, *widths[:-1]], widths, strict=True)
        )
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(2 * w, w, 2, stride=2) for w in reversed(widths[:-1])
        )
        self.gates = nn.ModuleList(Gate(w) for w in reversed(widths[:-1]))
        self.joined = nn.ModuleList(Residual(2 * w, w) for w in reversed(widths[:-1]))
        self.last = nn.Conv2d(base, 1, 1)

    def forward(self, values: Tensor) -> Tensor:
        kept = []
        for block in self.down:
            values = block(functional.max_pool2d(values, 2) if kept else values)
            kept.append(values)
        for up, gate, joined, here in zip(self.up, self.gates, self.joined, kept[-2::-1], strict=True):
            below = up(values)
            values = joined(torch.cat([gate(here, below), below], dim=1))
        return functional.softplus(self.last(values))


def loss(found: Tensor, wanted: Tensor) -> Tensor:
    """0.8 L1 + 0.2 (1 - SSIM), with windows of 7 x 7 pixels."""

    def blurred(values: Tensor) -> Tensor:
        return functional.avg_pool2d(values, 7, 1)

    top = wanted.amax().clamp_min(1e-6)
    a, b = blurred(found), blurred(wanted)
    aa, bb, ab = blurred(found**2) - a**2, blurred(wanted**2) - b**2, blurred(found * wanted) - a * b
    c1, c2 = (0.01 * top) ** 2, (0.03 * top) ** 2
    ssim = ((2 * a * b + c1) * (2 * ab + c2) / ((a**2 + b**2 + c1) * (aa + bb + c2))).mean()
    return 0.8 * (found - wanted).abs().mean() + 0.2 * (1 - ssim)


def pictures(series: Tensor) -> Tensor:
    """Energies of the tiles of whitened series, (..., time): (part, ..., frequency, time)."""
    parts = series.unfold(-1, PART_S * RATE_HZ, HOP_S * RATE_HZ).movedim(-2, 0)
    found = []
    for each in parts.split(32):
        energies = virgo.tile_energies(each, TILING, normalised=False)
        found.append(virgo.image(energies, TILING, n_times=PIXELS, n_frequencies=PIXELS))
    return torch.cat(found)


def over_noise(series: np.ndarray) -> Tensor:
    """A strain over the detector's noise."""
    frequency_hz = np.fft.rfftfreq(len(series), 1 / RATE_HZ)
    white = np.fft.rfft(series) / noise_asd(np.maximum(frequency_hz, 10.0), "virgo_o4")
    return torch.from_numpy(np.fft.irfft(white, len(series)) / np.sqrt(RATE_HZ / 2)).float()


def trained(seen: Tensor, wanted: Tensor, *, seed: int) -> UNet:
    """A U-Net on logarithms of energies, trained for `TRAINED_S` of one core."""
    torch.manual_seed(seed)
    model, begun, n = UNet(seen.shape[1]).train(), time.process_time(), 0
    optimizer = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=1e-4)
    while (used := time.process_time() - begun) < TRAINED_S:
        chosen = torch.randperm(len(seen))[:10]
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - used / TRAINED_S)
        optimizer.zero_grad()
        loss(model(seen[chosen]), wanted[chosen]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        n += 1
    print(f"  U-Net, seed {seed}: {n} steps, {sum(p.numel() for p in model.parameters())} weights")
    return model.eval()


@cache
def explained(seed: int) -> dict[str, float]:
    """Part of the excess of energy over that of the noise alone that each way explains, |.| summed."""
    torch.set_num_threads(1)
    made, _, filters = _virgo_cleaning.fitted("timed", seed)
    coupled = np.sum([made[str(name)].values for name in made["coupling"].values], axis=0)
    quiet = made["noise"].values
    strain = pictures(over_noise(quiet + coupled))
    noise = pictures(over_noise(quiet))
    names = [channel.name for channel in witnesses.COUPLED]
    records = torch.from_numpy(np.nan_to_num(made["witness"].sel(channel=names).values)).float()
    scale = records.std(dim=-1, keepdim=True)
    seen = torch.log1p(pictures(virgo.whitened(records / scale, RATE_HZ)))
    half = len(strain) // 2
    edge = EDGE_S + PART_S
    learn, test = slice(edge, half - edge), slice(half + edge, len(strain) - edge)
    model = trained(seen[learn], torch.log1p(strain[learn])[:, None], seed=seed)
    with torch.no_grad():
        found = torch.cat([model(part)[:, 0] for part in seen[test].split(32)])
    found = found.clamp(max=float(torch.log1p(strain[learn]).max()))  # beyond, nothing was learnt
    level = noise[learn].mean(dim=(0, 2))[:, None]
    guesses = {"unet": torch.expm1(found) - level}
    ways = {
        "wiener": virgo.subtract(filters, made),
        "followed": virgo.follow(filters, made),
        "oracle": virgo.oracle(made),
    }
    guesses |= {name: pictures(over_noise(each))[test] for name, each in ways.items()}
    guesses["stationary"] = (strain[learn].mean(dim=(0, 2))[:, None] - level).expand_as(strain[test])
    excess = (strain - noise)[test]
    return {
        name: 1 - float((excess - guess).abs().sum() / excess.abs().sum())
        for name, guess in guesses.items()
    }


def unet_explained() -> Figure:
    """Excess explained: the U-Net, a mean picture, filters, filters that follow, and the oracle."""
    names = "unet", "stationary", "wiener", "followed", "oracle"
    pairs = [mean([explained(seed)[name] for seed in SEEDS]) for name in names]
    return Figure([p[0] for p in pairs], [p[1] for p in pairs], "", "1", this_machine(), SEEDS)


BENCHMARKS = {"unet_explained": unet_explained}
