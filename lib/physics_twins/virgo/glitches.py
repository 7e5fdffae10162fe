"""Glitches: families as time series, each with its S/N in the detector's noise.

Their parameters are drawn as wide as those of fifteen real glitches of LIGO Hanford's third run (blip,
tomte, light modulation, scattered light and whistle; Dooney et al. 2025, arXiv:2501.18423) and their
descriptions in Gravity Spy (Zevin et al. 2017, Class. Quantum Grav. 34, 064003) ask for.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from physics_twins.virgo.sensitivity import LOWEST_HZ, noise_asd

Series = NDArray[np.floating]

WINDOW_S = 8.0  # a glitch lies in the middle of a window of this length


def blip(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a blip: a few milliseconds, a peak with a dip on both sides, from 30 to 500 Hz."""
    sign, phase = rng.choice([-1, 1]), 0.5 * rng.standard_normal()
    return sign * burst(time_s, rng.uniform(100, 250), rng.uniform(0.9, 1.8), phase)


def tomte(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a tomte: a triangle in the spectrogram, low and short, from 20 to 60 Hz."""
    frequency_hz, phase = rng.uniform(28, 50), rng.uniform(0, 2 * np.pi)
    base = burst(time_s, frequency_hz, rng.uniform(2.5, 5.0), phase)
    tip = burst(time_s, rng.uniform(1.6, 2.2) * frequency_hz, rng.uniform(1.5, 3.0), phase)
    return base + rng.uniform(0.05, 0.3) * tip


def koi_fish(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a koi fish: a broad head like a blip's, and fins that sound on at low frequencies."""
    head = burst(time_s, rng.uniform(90, 250), rng.uniform(1.0, 2.0), rng.uniform(0, 2 * np.pi))
    body = burst(time_s, rng.uniform(25, 40), rng.uniform(4, 7), rng.uniform(0, 2 * np.pi))
    fins = burst(time_s - rng.uniform(0.02, 0.06), rng.uniform(45, 70), rng.uniform(4, 8), 0.0)
    return head + rng.uniform(2, 5) * body + rng.uniform(0.5, 1.5) * fins


def whistle(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a whistle: the beat of two oscillators whose frequencies cross, from above and back.

    What lies above nine tenths of half the sample rate is left out.
    """
    lowest_hz, width_s = rng.uniform(90, 300), np.exp(rng.uniform(np.log(0.03), np.log(0.4)))
    bend = rng.uniform(100, 400) / width_s**2
    phase = 2 * np.pi * (lowest_hz * time_s + bend * time_s**3 / 3)
    heard = lowest_hz + bend * time_s**2 < 0.45 / (time_s[1] - time_s[0])
    return heard * np.exp(-0.5 * (time_s / width_s) ** 2) * np.sin(phase + rng.uniform(0, 2 * np.pi))


def scattered_light(time_s: Series, rng: np.random.Generator) -> Series:
    """Return scattered light: an arch, the fringes of a surface that swings, and its harmonic."""
    highest_hz, period_s = rng.uniform(18, 45), rng.uniform(3, 7)
    phase = highest_hz * period_s * np.sin(2 * np.pi * time_s / period_s)  # f = highest cos
    inside = np.cos(2 * np.pi * np.clip(time_s / period_s, -0.25, 0.25)) ** rng.uniform(1, 4)
    start = rng.uniform(0, 2 * np.pi)
    return inside * (np.sin(phase + start) + rng.uniform(0, 0.3) * np.sin(2 * phase + start))


FAMILIES: dict[str, Callable[[Series, np.random.Generator], Series]] = {
    "blip": blip,
    "tomte": tomte,
    "koi_fish": koi_fish,
    "whistle": whistle,
    "scattered_light": scattered_light,
}


class Given:
    """Stands for random numbers where a shape's parameters are known.

    Args:
        uniform: Numbers from 0 to 1, shape (shape, number): the first is what a shape asks for first.
    """

    def __init__(self, uniform: Series) -> None:
        self._numbers, self.n_used = uniform, 0

    def _next(self) -> Series:
        self.n_used += 1
        return self._numbers[:, self.n_used - 1, None]

    def uniform(self, low: float, high: float) -> Series:
        """Return a number between two, (shape, 1)."""
        return low + (high - low) * self._next()

    def standard_normal(self) -> Series:
        """Return a number with a Gaussian's quantiles, (shape, 1)."""
        return special.ndtri(self._next().clip(1e-6, 1 - 1e-6))

    def choice(self, what: list[int]) -> Series:
        """Return one of several, (shape, 1)."""
        return np.take(what, (self._next() * len(what)).astype(int), mode="clip")


def draw(
    family: str, snr: float, detector: str, sample_rate_hz: float, rng: np.random.Generator
) -> Series:
    """Return one glitch in the middle of a window of `WINDOW_S`, as strain, shape (time,).

    Args:
        family: A key of `FAMILIES`.
        snr: That of a filter matched to it in the detector's noise.
        detector: Whose noise.
        sample_rate_hz: Of the series.
        rng: Random numbers.
    """
    n_samples = int(WINDOW_S * sample_rate_hz)
    shape = FAMILIES[family]((np.arange(n_samples) - n_samples // 2) / sample_rate_hz, rng)
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / sample_rate_hz)
    shape = np.fft.irfft(np.fft.rfft(shape) * passes(frequency_hz, detector), n_samples)
    return shape * snr / optimal_snr(shape, detector, sample_rate_hz)


def passes(frequency_hz: Series, detector: str) -> Series:
    """Return what is left of a shape's spectrum: little where the strain is filtered away."""
    return 1 / (1 + (LOWEST_HZ[detector] / np.maximum(frequency_hz, 1e-3)) ** 8)


def optimal_snr(strain: Series, detector: str, sample_rate_hz: float) -> float:
    """Return the S/N of a filter matched to a strain in a detector's noise, from its `LOWEST_HZ` on."""
    frequency_hz = np.fft.rfftfreq(len(strain), 1 / sample_rate_hz)
    used = frequency_hz >= LOWEST_HZ[detector]
    spectrum = np.abs(np.fft.rfft(strain)[used]) / sample_rate_hz  # strain/Hz
    density = (spectrum / noise_asd(frequency_hz[used], detector)) ** 2
    return float(np.sqrt(4 * density.sum() * frequency_hz[1]))


def burst(time_s: Series, frequency_hz: float, quality: float, phase: float) -> Series:
    """Return a wave under a Gaussian, `quality` radians of it in a standard deviation."""
    width_s = quality / (2 * np.pi * frequency_hz)
    return np.exp(-0.5 * (time_s / width_s) ** 2) * np.cos(2 * np.pi * frequency_hz * time_s + phase)
