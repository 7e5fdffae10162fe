"""Long glitches told by a phase and amplitudes, all smooth: few numbers where waves need hundreds.

A whistle or an arch of scattered light is a wave whose phase bends, and its harmonic. Time is counted
in the glitch's own duration; phase and amplitudes are cubic splines of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.interpolate import BSpline

Series = NDArray[np.floating]

_N, _REACH = 18, 3.0  # splines of each, over so many durations on both sides
_HIGHEST = 0.45  # cycles in a sample, above which nothing is left of a whistle
_SMOOTH, _SMALL = 1e-5, 1e-7  # penalties: on third differences, and on all
_LOWEST = 24  # waves in the window, below which nothing is heard


@dataclass(frozen=True)
class Kind:
    """How a family is told.

    Attributes:
        harmonics: 2 where the wave has a harmonic, with a phase of its own.
        lifted: Waves in the window below which whitening turns it down, as the fourth power of the
            frequency; then a harmonic would seem louder than what it belongs to.
    """

    harmonics: int
    lifted: float


KINDS = {"whistle": Kind(1, 0.0), "scattered_light": Kind(2, 100.0)}


def described(white: Series, kind: Kind) -> Series:
    """Return the numbers that tell a whitened glitch.

    They are the logarithm of its duration, its middle over that, cosine and sine of the phase there,
    the rest of the phase, and the amplitudes, those of a harmonic on both axes.

    Args:
        white: In the middle of a window, shape (time,).
        kind: Of its family.
    """
    wave = _tilted(white, kind, 1)
    analytic: NDArray[np.complexfloating] = np.asarray(signal.hilbert(wave))
    power = np.abs(analytic) ** 2 / np.sum(np.abs(analytic) ** 2)
    at = np.arange(len(wave)) - len(wave) // 2
    middle = float(power @ at)
    width = float(np.sqrt(power @ (at - middle) ** 2))
    splines, near = _splines((at - middle) / width)
    phase = _fitted(splines, np.unwrap(np.angle(analytic[near])), power[near])
    for _ in range(3):
        waves = _waves(splines, phase, kind.harmonics)
        amplitudes = _fitted(waves, wave[near], np.ones(int(near.sum())))
        first = splines @ (amplitudes[:_N] + 1j * amplitudes[_N : 2 * _N])
        # What the first amplitude turns by is the phase's.
        turns = np.unwrap(np.angle(first))
        phase = phase + _fitted(splines, turns, np.abs(first) ** 2 * waves.any(axis=1))
    waves = _waves(splines, phase, kind.harmonics)
    waves = np.delete(waves, np.s_[_N : 2 * _N], axis=1)
    amplitudes = _fitted(waves, wave[near], np.ones(len(waves)))
    start = float(_splines(np.zeros(1))[0][0] @ phase)
    place = [np.log(width), middle / width, np.cos(start), np.sin(start)]
    return np.concatenate([place, phase - start, amplitudes / np.linalg.norm(amplitudes)])


def series_of(numbers: Series, kind: Kind, n_samples: int) -> Series:
    """Return the whitened glitch that numbers of `described` tell, of norm 1, shape (time,)."""
    width = float(np.clip(np.exp(numbers[0]), 2, n_samples))
    middle = numbers[1] * width
    phase = numbers[4 : 4 + _N] + np.arctan2(numbers[3], numbers[2])
    splines, near = _splines((np.arange(n_samples) - n_samples // 2 - middle) / width)
    waves = np.delete(_waves(splines, phase, kind.harmonics), np.s_[_N : 2 * _N], axis=1)
    wave = np.zeros(n_samples)
    wave[near] = waves @ numbers[4 + _N :][: waves.shape[1]]
    white = _tilted(wave, kind, -1)
    return white / max(float(np.linalg.norm(white)), 1e-300)


def _splines(time: Series) -> tuple[Series, NDArray[np.bool_]]:
    """Return cubic splines, (near time, spline), of times in durations, and which times are near."""
    near = np.abs(time) < _REACH
    ends = np.full(3, _REACH)
    knots = np.concatenate([-ends, np.linspace(-_REACH, _REACH, _N - 2), ends])
    return BSpline.design_matrix(time[near], knots, 3).toarray(), near


def _waves(splines: Series, phase: Series, harmonics: int) -> Series:
    """Return waves with each spline as amplitude, (time, 2 harmonics splines), where they are heard."""
    turns = splines @ phase
    heard = np.gradient(turns) < 2 * np.pi * _HIGHEST if len(turns) > 1 else np.ones(len(turns), bool)
    parts = [
        axis * splines
        for number in range(1, harmonics + 1)
        for axis in (np.cos(number * turns)[:, None], -np.sin(number * turns)[:, None])
    ]
    return np.concatenate(parts, axis=1) * heard[:, None]


def _fitted(basis: Series, values: Series, weight: Series) -> Series:
    """Return coefficients of smooth courses that fit values best, each course of `_N` splines."""
    rough = np.diff(np.eye(_N), 3, axis=0)
    n_courses = basis.shape[1] // _N
    matrix = (basis.T * weight) @ basis
    size = np.trace(matrix) / len(matrix)
    penalty = _SMOOTH * np.kron(np.eye(n_courses), rough.T @ rough) + _SMALL * np.eye(len(matrix))
    return np.linalg.solve(matrix + size * penalty, (basis.T * weight) @ values)


def _tilted(values: Series, kind: Kind, power: int) -> Series:
    """Return a series with what whitening turned down as before it, or again turned down."""
    if not kind.lifted:
        return values
    waves = np.arange(len(values) // 2 + 1)
    tilt = 1 + (kind.lifted / np.maximum(waves, 1)) ** 4
    return np.fft.irfft(np.fft.rfft(values) * tilt**power * (waves >= _LOWEST), len(values))
