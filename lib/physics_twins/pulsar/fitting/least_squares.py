"""Least squares of many pulses at once: each has its own time and fluence, all share the rest.

The fluence is linear and solved for in every step (variable projection); the times are eliminated from
the normal equations pulse by pulse (Schur complement), so that a thousand pulses cost no more than
their samples. Steps are those of Levenberg and Marquardt.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.fitting.pulse_model import FLUENCE, TIME, PulseWindows, normal_equations

MAX_STEPS = 40
# A step that promises to gain less chi-squared than this is the last.
GAIN_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Solution:
    """Where chi-squared is lowest, and how it rises around there.

    Attributes:
        shapes: As in `pulse_model.samples`, one row per pulse, shape (pulse, 4).
        fluence: Amplitude of each pulse, in standard deviations of the noise in one sample of one
            channel times samples, shape (pulse,).
        gain: By how much the pulses lower chi-squared, summed.
        products: From `normal_equations`, shape (pulse, 5, 5).
        projections: From `normal_equations`, shape (pulse, 5).
        free: Columns that were fitted and are shared, in the order of `covariance`.
        covariance: Of those columns, for noise of unit variance.
    """

    shapes: NDArray[np.float64]
    fluence: NDArray[np.float64]
    gain: float
    products: NDArray[np.float64]
    projections: NDArray[np.float64]
    free: tuple[int, ...]
    covariance: NDArray[np.float64]

    @property
    def snr(self) -> NDArray[np.float64]:
        """S/N of each pulse in the samples that were not removed, shape (pulse,)."""
        return self.fluence * np.sqrt(self.products[:, FLUENCE, FLUENCE])

    @property
    def time_variance(self) -> NDArray[np.float64]:
        """Variance of each pulse's time in ms^2, that of the shared numbers included, (pulse,)."""
        own, cross = self._times()
        return 1 / own + np.einsum("pi,ij,pj->p", cross, self.covariance, cross)

    @property
    def fluence_variance(self) -> NDArray[np.float64]:
        """Variance of each pulse's fluence, that of its shape included, (pulse,)."""
        own, cross = self._times()
        square = np.maximum(self.products[:, FLUENCE, FLUENCE], 1e-300)
        slope = self.fluence[:, None] * self.products[:, FLUENCE, TIME:] / square[:, None]
        of_time, of_shared = slope[:, 0], slope[:, [c - TIME for c in self.free]]
        # A change of what is shared moves the time along with it.
        along = of_shared - of_time[:, None] * cross
        shared = np.einsum("pi,ij,pj->p", along, self.covariance, along)
        return 1 / square + of_time**2 / own + shared

    def _times(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return how well each pulse tells its time, and by how much what is shared moves it."""
        matrix = self.matrices()
        return matrix[:, 0, 0], matrix[:, 0, [c - TIME for c in self.free]] / matrix[:, 0, :1]

    def matrices(self) -> NDArray[np.float64]:
        """Normal matrices of (time, DM, ...) with the fluence eliminated, shape (pulse, 4, 4)."""
        return _projected(self.fluence, self.products)


def solve(windows: PulseWindows, shapes: NDArray[np.float64], free: tuple[int, ...]) -> Solution:
    """Return the least-squares solution.

    Args:
        windows: The data.
        shapes: Where to start, shape (pulse, 4); all but the times are equal in all rows.
        free: Columns to fit besides the times and fluences, of `DM` to `SCATTERING`.
    """
    now = _evaluated(windows, shapes)
    damping = 1e-3
    for _ in range(MAX_STEPS):
        step, promised = _step(now, free, damping)
        if promised < GAIN_TOLERANCE:
            break
        trial = _evaluated(windows, _moved(now.shapes, step, windows))
        if trial.gain > now.gain:
            small = trial.gain - now.gain < GAIN_TOLERANCE
            now, damping = trial, max(damping / 6, 1e-7)
            if small:
                break
        else:
            damping *= 6
            if damping > 1e6:
                break
    return replace(
        now, free=free, covariance=of_some(replace(now, free=free), np.arange(len(shapes)))[1]
    )


def _evaluated(windows: PulseWindows, shapes: NDArray[np.float64]) -> Solution:
    products, projections = normal_equations(windows.laws, shapes, windows.delays, windows.values)
    square = np.maximum(products[:, FLUENCE, FLUENCE], 1e-300)
    fluence = np.maximum(projections[:, FLUENCE], 0.0) / square
    gain = float((fluence**2 * square).sum())
    return Solution(shapes, fluence, gain, products, projections, (), np.empty((0, 0)))


def _projected(fluence: NDArray[np.float64], products: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = products[:, FLUENCE, TIME:]
    square = np.maximum(products[:, FLUENCE, FLUENCE], 1e-300)[:, None, None]
    outer = linear[:, :, None] * linear[:, None, :] / square
    matrix = fluence[:, None, None] ** 2 * (products[:, TIME:, TIME:] - outer)
    matrix[:, 0, 0] += 1e-12  # a pulse that is not there leaves its time undetermined
    return matrix


def gradients(solution: Solution) -> NDArray[np.float64]:
    """Return half the slopes of minus chi-squared with (time, DM, ...), shape (pulse, 4)."""
    fluence = solution.fluence[:, None]
    linear = solution.products[:, FLUENCE, TIME:]
    return fluence * (solution.projections[:, TIME:] - fluence * linear)


def _step(now: Solution, free: tuple[int, ...], damping: float) -> tuple[NDArray[np.float64], float]:
    """Return the step of each pulse's shape, (pulse, 4), and the chi-squared that it should gain."""
    matrix, slope = now.matrices(), gradients(now)
    # No number can be negative: what is 0 and would have to become so stays.
    movable = (now.shapes[0] > 0) | (slope.sum(axis=0) > 0)
    free = tuple(c for c in free if movable[c - TIME])
    reduced, target = _reduced(matrix, slope, free, damping)
    common = _inverse(reduced) @ target
    columns = [c - TIME for c in free]
    step = np.zeros_like(now.shapes)
    step[:, columns] = common
    step[:, 0] = (slope[:, 0] - matrix[:, 0, columns] @ common) / (matrix[:, 0, 0] * (1 + damping))
    return step, float((step * slope).sum())


def _reduced(
    matrix: NDArray[np.float64], slope: NDArray[np.float64], free: tuple[int, ...], damping: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the normal equations of what pulses share, their times eliminated."""
    columns = [c - TIME for c in free]
    time, cross = matrix[:, 0, 0] * (1 + damping), matrix[:, 0, columns]
    shared = matrix[:, columns][:, :, columns].sum(axis=0)
    shared[np.diag_indices_from(shared)] *= 1 + damping
    reduced = shared - np.einsum("pi,pj,p->ij", cross, cross, 1 / time)
    return reduced, slope[:, columns].sum(axis=0) - (cross * (slope[:, :1] / time[:, None])).sum(axis=0)


def of_some(
    best: Solution, which: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return by how much the shape fitted to some of the pulses alone differs, and its covariance.

    One step of Newton from the joint solution, which is so near that no second is needed.

    Args:
        best: The joint solution.
        which: Pulses.
    """
    reduced, target = _reduced(best.matrices()[which], gradients(best)[which], best.free)
    covariance = _inverse(reduced)
    return covariance @ target, covariance


def _moved(
    shapes: NDArray[np.float64], step: NDArray[np.float64], windows: PulseWindows
) -> NDArray[np.float64]:
    """Return shapes after a step, inside what is possible."""
    last_ms = (windows.values.shape[2] - 1) * windows.laws.sampling_ms
    # A pulse broader than its window looks like a level: it must not run away.
    highest = [last_ms, np.inf, np.square(last_ms / 3), last_ms / windows.laws.scattering.min()]
    return (shapes + step).clip(0, highest)


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inverse of a positive matrix, scaled so that its units do not matter."""
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-12))
    scaled = matrix * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += 1e-9
    return np.linalg.inv(scaled) * np.outer(scale, scale)


# A number that is so many standard deviations or fewer above 0 may as well be 0.
NEAR_ZERO = 3.0


def intervals(
    windows: PulseWindows, best: Solution, *, noise_factor: float = 1.0
) -> tuple[Solution, NDArray[np.float64], NDArray[np.float64]]:
    """Return the 68 % intervals of what pulses share, and the covariance that the bounds leave.

    A tail that may be long or negative leaves DM and arrival unknown; one that cannot be negative does
    not. Of a number whose interval ends at 0, the variance becomes that of what is left of it, and the
    others' follow as in a normal distribution.

    Args:
        windows: The data.
        best: The solution.
        noise_factor: Standard deviation of what a matched filter finds beside pulses.

    Returns:
        The solution with that covariance, and the ends of the interval of each of its `free` columns.
    """
    value = best.shapes[0, [c - TIME for c in best.free]]
    covariance = best.covariance.copy()
    sigma = noise_factor * np.sqrt(np.diag(covariance))
    # Chi-squared would go on falling below 0: from there it rises by one sooner.
    beyond, _ = of_some(best, np.arange(len(best.shapes)))
    beyond = np.where(value > 0, 0.0, np.minimum(beyond, 0.0))
    low, high = np.maximum(value - sigma, 0.0), value + beyond + np.hypot(beyond, sigma)
    for place in np.flatnonzero((low > 0) & (value < NEAR_ZERO * sigma)):
        if _rise_at_zero(windows, best, int(place)) < noise_factor**2:
            low[place] = 0.0
    for place in np.flatnonzero(low == 0):
        column = covariance[place] / covariance[place, place]
        left = ((high[place] - low[place]) / 2 / noise_factor) ** 2
        covariance -= np.outer(column, column) * max(covariance[place, place] - left, 0.0)
    sigma = noise_factor * np.sqrt(np.diag(covariance))
    free = low > 0
    low, high = np.where(free, value - sigma, low), np.where(free, value + sigma, high)
    return replace(best, covariance=covariance), low, high


def _rise_at_zero(windows: PulseWindows, best: Solution, place: int) -> float:
    """Return by how much chi-squared rises, lowest over the others, where one number is 0."""
    columns = [c - TIME for c in best.free]
    shapes = best.shapes.copy()
    response = best.covariance[place] / best.covariance[place, place]
    shapes[:, columns] -= response * shapes[0, columns[place]]
    others = tuple(c for c in best.free if c != best.free[place])
    return best.gain - solve(windows, shapes.clip(0), others).gain
