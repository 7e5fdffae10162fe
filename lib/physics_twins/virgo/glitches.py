"""Glitches: five families as time series, each with its S/N in the detector's noise."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo.sensitivity import LOWEST_HZ, noise_asd

Series = NDArray[np.floating]

WINDOW_S = 8.0  # a glitch lies in the middle of a window of this length


def blip(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a blip: a few milliseconds, a single cycle wide, from 30 to 500 Hz."""
    return _burst(time_s, rng.uniform(90, 250), rng.uniform(1.0, 2.5), rng.uniform(0, 2 * np.pi))


def tomte(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a tomte: a triangle in the spectrogram, low and short, from 20 to 60 Hz."""
    return _burst(time_s, rng.uniform(28, 55), rng.uniform(2.0, 4.0), rng.uniform(0, 2 * np.pi))


def koi_fish(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a koi fish: a broad head like a blip's, and fins that sound on at low frequencies."""
    head = _burst(time_s, rng.uniform(90, 250), rng.uniform(1.0, 2.0), rng.uniform(0, 2 * np.pi))
    body = _burst(time_s, rng.uniform(25, 40), rng.uniform(4, 7), rng.uniform(0, 2 * np.pi))
    fins = _burst(time_s - rng.uniform(0.02, 0.06), rng.uniform(45, 70), rng.uniform(4, 8), 0.0)
    return head + rng.uniform(2, 5) * body + rng.uniform(0.5, 1.5) * fins


def whistle(time_s: Series, rng: np.random.Generator) -> Series:
    """Return a whistle: the beat of two oscillators whose frequencies cross, from above and back."""
    lowest_hz, width_s = rng.uniform(90, 200), rng.uniform(0.15, 0.5)
    bend = rng.uniform(100, 250) / width_s**2
    phase = 2 * np.pi * (lowest_hz * time_s + bend * time_s**3 / 3)
    return np.exp(-0.5 * (time_s / width_s) ** 2) * np.sin(phase + rng.uniform(0, 2 * np.pi))


def scattered_light(time_s: Series, rng: np.random.Generator) -> Series:
    """Return scattered light: arches, the fringes of a surface that swings, and their harmonic."""
    highest_hz, period_s = rng.uniform(25, 60), rng.uniform(2, 5)
    phase = highest_hz * period_s * np.sin(2 * np.pi * time_s / period_s)  # f = highest cos
    inside = np.cos(np.pi * np.clip(time_s / period_s, -0.5, 0.5)) ** 2
    start = rng.uniform(0, 2 * np.pi)
    return inside * (np.sin(phase + start) + rng.uniform(0, 0.5) * np.sin(2 * phase + start))


FAMILIES: dict[str, Callable[[Series, np.random.Generator], Series]] = {
    "blip": blip,
    "tomte": tomte,
    "koi_fish": koi_fish,
    "whistle": whistle,
    "scattered_light": scattered_light,
}


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
    passes = 1 / (1 + (LOWEST_HZ[detector] / np.maximum(frequency_hz, 1e-3)) ** 8)
    shape = np.fft.irfft(np.fft.rfft(shape) * passes, n_samples)
    return shape * snr / optimal_snr(shape, detector, sample_rate_hz)


def optimal_snr(strain: Series, detector: str, sample_rate_hz: float) -> float:
    """Return the S/N of a filter matched to a strain in a detector's noise, from its `LOWEST_HZ` on."""
    frequency_hz = np.fft.rfftfreq(len(strain), 1 / sample_rate_hz)
    used = frequency_hz >= LOWEST_HZ[detector]
    spectrum = np.abs(np.fft.rfft(strain)[used]) / sample_rate_hz  # strain/Hz
    density = (spectrum / noise_asd(frequency_hz[used], detector)) ** 2
    return float(np.sqrt(4 * density.sum() * frequency_hz[1]))


def _burst(time_s: Series, frequency_hz: float, quality: float, phase: float) -> Series:
    width_s = quality / (2 * np.pi * frequency_hz)
    return np.exp(-0.5 * (time_s / width_s) ** 2) * np.cos(2 * np.pi * frequency_hz * time_s + phase)
