"""Filters of couplings, told by what a stretch says of each bin and by what couplings are like.

Bin by bin, a filter is known no better than its noise, and not at all where its witness was quiet. But
couplings are smooth: a delay, a band, a few broad resonances. What drawn couplings have in common is a
Gaussian prior, and with it a stretch's bins tell each other what they know (Rasmussen & Williams 2006,
chapter 2); beyond what was heard, it goes on as far as couplings are smooth.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physics_twins.virgo import couplings, noise
from physics_twins.virgo.cleaning import Wiener

Series = NDArray[np.floating]
Complex = NDArray[Any]

STEP_HZ, LOW_HZ, HIGH_HZ = 0.5, 8.0, 480.0  # bins of filters of 2 s
BINS = slice(round(LOW_HZ / STEP_HZ), round(HIGH_HZ / STEP_HZ))
GRID_HZ = np.arange(BINS.start, BINS.stop) * STEP_HZ
_RATE_HZ = 1024.0
_LOWEST_HZ, _WIDEST = (8.0, 110.0), (1.4, 10.0)  # lower ends of drawn bands, upper over lower ends
_SMALL = 1e-7  # a component of less than this part of the largest one's power is left out
_LATE_S, _FINE = 0.03, 8  # delays that are sought, and in how many parts of a sample's inverse
_SCALES = np.exp(np.arange(-4, 3.1, 0.5))  # of the prior's power, about what is seen
_LINE_BINS = 12
EVIDENCE = 20.0  # twice the logarithm of the odds below which an input has no coupling


@dataclass(frozen=True)
class Posterior:
    """A filter as the prior and a stretch tell it; `late_s` was taken out of it.

    Attributes:
        mean: Transfer function, shape (bin,).
        error: Its standard deviation, shape (bin,).
        modes: Shape (bin, mode): the filter is the mean plus these times numbers of variance 1.
        scale: Root mean square of a coupling that the stretch makes likely; 0 for no coupling.
        late_s: Delay.
    """

    mean: Complex
    error: Series
    modes: Complex
    scale: float
    late_s: float


def told(wiener: Wiener) -> tuple[list[str], Complex, Series]:
    """Return what a stretch tells of the inputs of filters, in all bins in which they are heard.

    Args:
        wiener: From `cleaning.fit`.

    Returns:
        Names of the inputs that are used; their transfer functions by least squares, and the standard
        deviation of each, 0 where nothing was heard, both of shape (input, bin of `GRID_HZ`).

    Raises:
        ValueError: Filters are not of 2 s, or the rate is too low.
    """
    if wiener.frequency_hz[1] != STEP_HZ or wiener.frequency_hz[-1] < HIGH_HZ:
        raise ValueError(
            f"filters must have filter_s = 2 s and reach {HIGH_HZ:g} Hz, these have bins of"
            f" {wiener.frequency_hz[1]:g} Hz up to {wiener.frequency_hz[-1]:g} Hz; fitted filters do"
            ' without a network (model = "")'
        )
    used = wiener.used
    names = [wiener.inputs[n] for n in used]
    return names, wiener.heard[used, BINS], wiener.heard_error[used, BINS]


def is_line(wiener: Wiener, number: int) -> bool:
    """Return whether an input is heard in so few bins that neighbours have nothing to tell of it.

    Windows leak beside lines, and two lines at one frequency are told apart by the gate alone.
    """
    heard = certainty(wiener.solved_error[number]) * np.abs(wiener.solved[number]) ** 2
    return bool(heard.sum() ** 2 < _LINE_BINS * np.sum(heard**2))


def drawn(n: int, *, seed: int) -> Complex:
    """Return transfer functions of drawn couplings of any band, with mean square 1, shape (n, bin)."""
    rng, n_part = noise.generator(seed, "drawn couplings"), round(_RATE_HZ / STEP_HZ)
    found = np.empty((n, len(GRID_HZ)), complex)
    for row in found:
        low_hz = np.exp(rng.uniform(*np.log(_LOWEST_HZ)))
        high_hz = min(low_hz * np.exp(rng.uniform(*np.log(_WIDEST))), 0.41 * _RATE_HZ)
        row[:] = on_grid(couplings.drawn_taps((low_hz, high_hz), _RATE_HZ, rng), n_part)
    return found / np.sqrt(np.mean(np.abs(found) ** 2, axis=1, keepdims=True))


def on_grid(taps: Series, n_part: int) -> Complex:
    """Return the transfer function of a centred filter in the bins of filters of `n_part` samples."""
    more = n_part - len(taps)
    padded = np.pad(taps, (more - more // 2, more // 2))
    return np.fft.rfft(np.roll(padded, -(n_part // 2)))[BINS]


@dataclass(frozen=True)
class Prior:
    """What couplings have in common, less their delays.

    Attributes:
        components: Principal components times their standard deviations, shape (bin, component), for
            couplings of mean square 1.
    """

    components: Complex

    @staticmethod
    def of(couplings_drawn: Complex) -> "Prior":
        """Return the prior of couplings, (coupling, bin), of mean square 1."""
        weight = np.ones(len(GRID_HZ))
        rows = np.array([undelayed(row, _delay(row, weight)) for row in couplings_drawn])
        values, vectors = np.linalg.eigh(rows.T @ rows.conj() / len(rows))
        kept = values > _SMALL * values[-1]
        return Prior(vectors[:, kept] * np.sqrt(values[kept]))

    @cached_property
    def _power(self) -> Series:
        return np.sum(np.abs(self.components) ** 2, axis=1)

    def posterior(self, solved: Complex, error: Series) -> Posterior:
        """Return what the prior makes of what was solved, with its error, both of shape (bin,).

        Power and delay of the prior are those of the highest evidence, the delay roughly.
        """
        weight = certainty(error)
        late_s = _delay(solved, weight)
        seen = undelayed(solved, late_s)
        u = self.components
        values, vectors = np.linalg.eigh(u.conj().T @ (u * weight[:, None]))
        values = np.maximum(values, 0)
        told_by = vectors.conj().T @ (u.conj().T @ (weight * seen))
        level = np.sum(weight * np.abs(seen) ** 2) / weight.sum() if weight.any() else 0.0
        powers = level * _SCALES[:, None]
        part = powers / (1 + powers * values)
        evidence = np.sum(np.abs(told_by) ** 2 * part - np.log1p(powers * values), axis=1)
        best = int(evidence.argmax())
        if evidence[best] < EVIDENCE:
            none = np.zeros(len(solved))
            return Posterior(none.astype(complex), none, none[:, None] + 0j, 0.0, 0.0)
        turned = u @ vectors
        modes = turned * np.sqrt(part[best])
        variance = np.sum(np.abs(modes) ** 2, axis=1)
        return Posterior(
            turned @ (part[best] * told_by),
            np.sqrt(np.maximum(variance, 1e-12 * powers[best, 0] * self._power)),
            modes,
            float(np.sqrt(powers[best, 0])),
            late_s,
        )


def certainty(error: Series) -> Series:
    """Return inverse variances of bins, 0 of those in which nothing was heard."""
    return np.divide(1, error**2, out=np.zeros(error.shape), where=error > 0)


def undelayed(transfer: Complex, late_s: float) -> Complex:
    """Return a transfer function, (..., bin), less a delay."""
    return transfer * np.exp(2j * np.pi * GRID_HZ * late_s)


def _delay(transfer: Complex, weight: Series) -> float:
    """Return the delay without which a transfer function keeps its phase longest, in s."""
    n = _FINE * len(GRID_HZ)
    course = np.abs(np.fft.ifft(transfer * weight, n))  # lag k / n / STEP_HZ
    near = round(_LATE_S * n * STEP_HZ)
    lags = np.r_[0 : near + 1, -near:0]
    return float(lags[course[lags].argmax()] / n / STEP_HZ) if weight.any() else 0.0
