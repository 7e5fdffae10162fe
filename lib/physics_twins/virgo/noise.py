"""Gaussian noise of a given spectrum, lines that wander, and the random numbers of each part."""

import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.interpolate import CubicSpline

Spectrum = Callable[[NDArray[np.floating]], NDArray[np.floating]]


def generator(seed: int, part: str) -> np.random.Generator:
    """Return the random numbers of a named part: no other part changes them."""
    return np.random.default_rng([seed, zlib.crc32(part.encode())])


def coloured(
    asd: Spectrum, n_samples: int, sample_rate_hz: float, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Return stationary Gaussian noise, shape (time,).

    It is cut from a longer circle, so that its ends know nothing of each other.

    Args:
        asd: One-sided amplitude spectral density, a function of frequencies in Hz from 0 on.
        n_samples: How many samples.
        sample_rate_hz: Of the noise.
        rng: Random numbers.
    """
    wanted = n_samples + min(n_samples, int(8 * sample_rate_hz))
    n_circle = fft.next_fast_len(wanted, real=True) or wanted
    frequency_hz = np.fft.rfftfreq(n_circle, 1 / sample_rate_hz)
    scale = asd(frequency_hz) * np.sqrt(n_circle * sample_rate_hz / 4)
    parts = rng.standard_normal((2, len(frequency_hz)))
    return np.fft.irfft(scale * (parts[0] + 1j * parts[1]), n_circle)[:n_samples]


def slow(n_samples: int, correlation: float, rng: np.random.Generator) -> NDArray[np.floating]:
    """Return a smooth random course of mean 0 and root mean square 1.

    Args:
        n_samples: How many samples.
        correlation: Over how many samples it changes.
        rng: Random numbers.
    """
    n_knots = max(4, round(n_samples / correlation) + 3)
    knots = np.cumsum(rng.standard_normal(n_knots))
    course = CubicSpline(np.arange(n_knots), knots)(np.linspace(0.5, n_knots - 1.5, n_samples))
    course = course - course.mean()
    return course / course.std()


def line(
    frequency_hz: float,
    harmonics: dict[int, float],
    n_samples: int,
    sample_rate_hz: float,
    rng: np.random.Generator,
    *,
    wander_hz: float = 0.0,
) -> NDArray[np.floating]:
    """Return a line whose fundamental has root mean square 1.

    Args:
        frequency_hz: Of the fundamental.
        harmonics: Amplitudes by number, relative to the fundamental's.
        n_samples: How many samples.
        sample_rate_hz: Of the series.
        rng: Random numbers.
        wander_hz: Root mean square of the frequency, which changes within ten seconds.
    """
    offset_hz = wander_hz * slow(n_samples, 10 * sample_rate_hz, rng)
    phase = 2 * np.pi * np.cumsum(frequency_hz + offset_hz) / sample_rate_hz
    starts = rng.uniform(0, 2 * np.pi, max(harmonics) + 1)
    parts = [a * np.cos(n * phase + starts[n]) for n, a in harmonics.items()]
    return np.sqrt(2) * np.sum(parts, axis=0)
