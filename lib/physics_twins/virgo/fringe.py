"""The fringe of light that a moving bench scatters back, with its calibration and phase fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import signal
from scipy.optimize import minimize_scalar

from physics_twins.virgo import couplings, witnesses
from physics_twins.virgo.regression import Spectra

Series = NDArray[np.floating]

CALIBRATIONS = (0.9, 1.1)  # where that of the bench is sought
CALIBRATION_STEP = 1e-3
_PHASES = 36
_NEAR = 0.2  # of a step, over which the likelihood's curvature is taken
BENCH_S = 1.0  # length of the filter below which a bench moves
_BENCH_HZ = 4.0
_FRINGE_HZ, _FRINGE_RATE_HZ = (11.0, 50.0), 128


@dataclass(frozen=True)
class Fringe:
    """What is known of a scattering bench.

    Attributes:
        calibration: True over recorded motion.
        calibration_error: Its standard deviation.
        phase: Of the fringe where the recorded motion is 0; half a turn more or less is a sign, which
            the filter behind it has.
    """

    calibration: float
    calibration_error: float
    phase: float

    @property
    def name(self) -> str:
        """Of the input that it makes."""
        return f"fringe {witnesses.BENCH.name}"

    def series(self, position_um: Series, sample_rate_hz: float) -> Series:
        """Return the fringe, shape (time,).

        Args:
            position_um: Of the bench, as recorded, about its mean, shape (time,).
            sample_rate_hz: Of the position.
        """
        return couplings.fringe(_moves(position_um, sample_rate_hz), self.calibration, self.phase)


def fitted(strain: Series, position_um: Series, sample_rate_hz: float) -> Fringe:
    """Return the fringe that explains most of a strain.

    The calibration is the most likely one, its error from how fast the likelihood falls beside it. Sine
    and cosine of one motion go through the same filter: how they share it is the phase.

    Args:
        strain: What other witnesses leave, shape (time,).
        position_um: As recorded, shape (time,).
        sample_rate_hz: Of both.
    """
    every = round(sample_rate_hz / _FRINGE_RATE_HZ)
    band = signal.butter(4, _FRINGE_HZ, "bandpass", fs=sample_rate_hz, output="sos")
    left = signal.sosfiltfilt(band, strain)[::every]
    moves = _moves(position_um, sample_rate_hz)[::every]
    inside = slice(round(2 * _FRINGE_HZ[0]), round(2 * _FRINGE_HZ[1]))

    def spectra(calibration: float) -> Spectra:
        pair = [couplings.fringe(moves, calibration, phase) for phase in (0, np.pi / 2)]
        return Spectra.of(pair, left, np.ones(len(left), bool), 2 * _FRINGE_RATE_HZ)

    def unlikely(calibration: float) -> float:
        """Return minus the logarithm of the likelihood (of a Gaussian in each bin and part)."""
        found = spectra(calibration)
        return float(found.n * np.sum(np.log1p(-found.coherence()[inside])))

    grid = np.arange(*CALIBRATIONS, CALIBRATION_STEP)
    first = grid[np.argmin([unlikely(each) for each in grid])]
    best = _lowest(unlikely, (first - CALIBRATION_STEP, first + CALIBRATION_STEP))
    step = _NEAR * CALIBRATION_STEP
    curved = (unlikely(best - step) + unlikely(best + step) - 2 * unlikely(best)) / step**2
    error = 1 / float(np.sqrt(max(curved, 1 / CALIBRATION_STEP**2)))
    return Fringe(best, error, _phase(spectra(best), inside))


def _phase(found: Spectra, inside: slice) -> float:
    """Return the most likely phase, of sine and cosine that share one filter."""
    scale = found.scale[inside]
    xx = np.real(found.xx[inside] * scale[:, :, None] * scale[:, None, :])
    xy = found.xy[inside] * scale

    def unlikely(phase: float) -> float:
        mixed = np.array([np.cos(phase), np.sin(phase)])
        coherence = np.abs(xy @ mixed) ** 2 / np.maximum(mixed @ xx @ mixed, 1e-300)
        return float(np.sum(np.log1p(-np.clip(coherence, 0, 1 - 1e-9))))

    grid = np.linspace(0, np.pi, _PHASES, endpoint=False)
    first = grid[np.argmin([unlikely(each) for each in grid])]
    return _lowest(unlikely, (first - grid[1], first + grid[1]))


def _moves(position_um: Series, sample_rate_hz: float) -> Series:
    """Return how a bench moves: it is heavy, what is recorded above some Hz is the sensor's noise."""
    half = round(0.5 * BENCH_S * sample_rate_hz)
    low = signal.firwin(2 * half + 1, _BENCH_HZ, window="blackman", fs=sample_rate_hz)
    longer = np.pad(position_um, half, mode="reflect", reflect_type="odd")
    return signal.oaconvolve(longer, low, mode="valid")


def _lowest(cost: Callable[[float], float], bounds: tuple[float, float]) -> float:
    """Return where a function of one number is lowest."""
    found: Any = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(found.x)
