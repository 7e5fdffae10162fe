"""Glitches reconstructed from what their witness recorded: each family's own shape, fitted.

A family is a wave with few parameters: where a whistle's oscillators cross and how fast, how far and
how slowly a scatterer swings. Both spectra of noise are known, and so is what a shape in the witness is
in the strain. Parameters are searched for from coarse to fine: first power that keeps in phase for a
sixty-fourth of a second counts, at last that of the whole wave. Least squares go on from there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from physics_twins.virgo import glitches
from physics_twins.virgo.parameters import GLITCH_FAMILIES
from physics_twins.virgo.sensitivity import LOWEST_HZ, noise_asd

Series = NDArray[np.floating]
Density = Callable[[Series], Series]

WINDOW_S = 4.0
# Rounds of the search: parts of the window that are each in phase, 0 for a known phase; and how far
# numbers are moved, of their range.
_ROUNDS = ((256, 0.1), (128, 0.06), (64, 0.05), (32, 0.04), (8, 0.02), (1, 0.02), (0, 0.01))
_N_FIRST, _N_KEPT, _N_MOVED = 1000, 40, 5
_N_FITTED, _N_STARTS, _APART = 2, 3, 6  # families, starts of least squares in each, and their ranks


def whitened(shape: Series, density: Density, detector: str, sample_rate_hz: float) -> Series:
    """Return a glitch over the noise of strain or of a channel, `WINDOW_S` long, of norm 1.

    Args:
        shape: In the middle of a window, shape (time,).
        density: Of the noise, of frequencies in Hz.
        detector: Below whose lowest frequency nothing is left.
        sample_rate_hz: Of the shape.
    """
    n_samples, n_kept = len(shape), round(WINDOW_S * sample_rate_hz)
    over = _over(density, detector, sample_rate_hz, n_samples)
    white = np.fft.irfft(np.fft.rfft(shape) * over, n_samples)[(n_samples - n_kept) // 2 :][:n_kept]
    return white / np.linalg.norm(white)


def _over(density: Density, detector: str, sample_rate_hz: float, n_samples: int) -> Series:
    """Return what whitens a spectrum, up to a factor: one over the noise, and nothing below."""
    frequency_hz = np.maximum(np.fft.rfftfreq(n_samples, 1 / sample_rate_hz), 0.1)
    asd = density(frequency_hz)
    return (frequency_hz >= LOWEST_HZ[detector]) * asd.min() / asd


@dataclass(frozen=True)
class Reconstruction:
    """A glitch as its witness tells it.

    Attributes:
        family: The one that explains most, less what its number of parameters explains by chance.
        shift_s: How much later than the middle of the window it happened.
        snr: Its S/N in the witness.
        strain: Whitened strain, up to a factor that only the strain itself can tell, shape (time,).
        witness: The whitened witness without its noise, shape (time,).
    """

    family: str
    shift_s: float
    snr: float
    strain: Series
    witness: Series


def reconstruct(
    white: Series,
    channel: Density,
    detector: str,
    sample_rate_hz: float,
    *,
    families: Sequence[str] = GLITCH_FAMILIES,
    longest_shift_s: float = 0.1,
    seed: int = 0,
) -> Reconstruction:
    """Return what a whitened witness tells of a glitch near the middle of a window.

    Args:
        white: Of variance 1 without a glitch, shape (time,), `WINDOW_S` long.
        channel: Amplitude spectral density that whitened it, of frequencies in Hz: `Channel.asd`.
        detector: Whose noise the strain has.
        sample_rate_hz: Of the witness.
        families: That are tried.
        longest_shift_s: How far from the middle the glitch may be.
        seed: Of the search.
    """
    if not families:
        raise ValueError("families is empty")
    rng, found = np.random.default_rng(seed), []
    densities = {"witness": channel, "strain": partial(noise_asd, detector=detector)}
    over = {of: _over(each, detector, sample_rate_hz, len(white)) for of, each in densities.items()}
    passes = glitches.passes(np.fft.rfftfreq(len(white), 1 / sample_rate_hz), detector)
    over = {of: passes * each for of, each in over.items()}
    for family in families:
        shapes = _Shapes(family, over, sample_rate_hz, longest_shift_s)
        places, power = _searched(shapes, white, rng)
        found.append((power - len(places[0]) * np.log(power), shapes, places))
    fits = []
    for _, shapes, places in sorted(found, key=lambda each: -each[0])[:_N_FITTED]:
        for place in places:
            left, slope = (partial(each, white) for each in (shapes.left, shapes.slope))
            fit = optimize.least_squares(left, place, cast(Any, slope), bounds=(0, 1), max_nfev=60)
            power = float(white @ white) - 2 * fit.cost
            fits.append((power - len(place) * np.log(power), shapes, fit.x))
    _, shapes, place = max(fits, key=lambda each: each[0])
    strain, witness = (shapes.waves(place[None], of)[0] for of in ("strain", "witness"))
    loudness = float(witness @ white)  # negative for a glitch of the other sign
    shift_s = longest_shift_s * (2 * float(place[-1]) - 1)
    return Reconstruction(shapes.family, shift_s, abs(loudness), loudness * strain, loudness * witness)


class _Shapes:
    """Whitened waves of a family at places: numbers from 0 to 1, the last one tells when."""

    def __init__(
        self, family: str, over: Mapping[str, Series], sample_rate_hz: float, longest_shift_s: float
    ) -> None:
        self.family, self._over, self._reach_s = family, over, longest_shift_s
        n_samples = 2 * len(over["strain"]) - 2
        self._time_s = (np.arange(n_samples) - n_samples // 2) / sample_rate_hz
        self._frequency_hz = np.fft.rfftfreq(n_samples, 1 / sample_rate_hz)
        given = glitches.Given(np.full((1, 32), 0.5))
        glitches.FAMILIES[family](self._time_s, cast(Any, given))
        self.n_places = given.n_used + 1

    def waves(self, places: Series, of: str = "witness", *, turned: bool = False) -> NDArray[Any]:
        """Return waves of norm 1, (place, time); with their quarter turn as imaginary part if asked."""
        shape = glitches.FAMILIES[self.family](self._time_s, cast(Any, glitches.Given(places)))
        late_s, n = self._reach_s * (2 * places[:, -1:] - 1), len(self._time_s)
        spectrum = np.fft.rfft(shape) * self._over[of]
        spectrum *= np.exp(-2j * np.pi * self._frequency_hz * late_s)
        if turned:
            spectrum[:, 1:] *= 2
            waves = np.fft.ifft(spectrum[:, : n // 2], n)
        else:
            waves = np.fft.irfft(spectrum, n)
        return waves / np.linalg.norm(waves.real, axis=1, keepdims=True)

    def left(self, white: Series, places: Series) -> Series:
        """Return what waves of the best loudness leave of a series: (place, time), of one (time,)."""
        waves = self.waves(np.atleast_2d(places))
        return np.squeeze(white - (waves @ white)[:, None] * waves)

    def slope(self, white: Series, place: Series) -> Series:
        """Return how what is left changes with each number, (time, number)."""
        step = np.where(place < 0.5, 1e-5, -1e-5)
        left = self.left(white, np.vstack([place, place + np.diag(step)]))
        return ((left[1:] - left[0]) / step[:, None]).T


def _searched(shapes: _Shapes, white: Series, rng: np.random.Generator) -> tuple[Series, float]:
    """Return the best few places, (start, number), and the power that the best one explains."""
    places = rng.uniform(size=(_N_FIRST, shapes.n_places))
    power = _power(shapes, white, places, _ROUNDS[0][0])
    for n_parts, moved in _ROUNDS:
        best = places[power.argsort()[-_N_KEPT:]]
        beside = np.repeat(best, _N_MOVED, axis=0)
        beside = np.abs(beside + moved * rng.standard_normal(beside.shape))
        places = np.concatenate([best, np.where(beside > 1, 2 - beside, beside)])
        power = _power(shapes, white, places, n_parts)
    starts = power.argsort()[::-1][: _N_STARTS * _APART : _APART]
    return places[starts], float(power.max())


def _power(shapes: _Shapes, white: Series, places: Series, n_parts: int) -> Series:
    """Return the power of a series that is in phase with waves in each part of the window, (place,)."""
    if n_parts == 0:
        return (shapes.waves(places) @ white) ** 2
    found = []
    for chunk in np.array_split(places, 1 + len(places) // 200):
        parts = (white * shapes.waves(chunk, turned=True).conj()).reshape(len(chunk), n_parts, -1)
        found.append((np.abs(parts.sum(axis=-1)) ** 2).sum(axis=-1))
    return np.concatenate(found)


def mismatch(first: Series, second: Series) -> float:
    """Return 1 less the cosine of the angle between two whitened series.

    >>> round(mismatch(np.array([1.0, 0.0]), np.array([1.0, 1.0])), 4)
    0.2929
    """
    return float(1 - first @ second / np.linalg.norm(first) / np.linalg.norm(second))
