"""Least squares of many pulses at once: each has its own time and fluence, all share the rest.

The fluence is linear and solved for in every step (variable projection); the times are eliminated from
the normal equations pulse by pulse (Schur complement), so that a thousand pulses cost no more than
their samples. Steps are those of Levenberg and Marquardt.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.fitting.pulse_model import (
    DM,
    FLUENCE,
    SCATTERING,
    SQUARED_WIDTH,
    TIME,
    ChannelLaws,
    normal_equations,
)
from physics_twins.pulsar.fitting.pulse_windows import PulseWindows

MAX_STEPS = 40
# A step that promises to gain less chi-squared than this is the last.
GAIN_TOLERANCE = 1e-3
# These cannot be negative.
BOUNDED = (DM, SQUARED_WIDTH, SCATTERING)


@dataclass(frozen=True)
class Solution:
    """Where chi-squared is lowest, and how it rises around there.

    Attributes:
        shapes: As in `pulse_model.samples`, one row per pulse, shape (pulse, 5).
        fluence: Amplitude of each pulse, in standard deviations of the noise in one sample of one
            channel times samples, shape (pulse,).
        gain: By how much the pulses lower chi-squared, summed.
        products: From `normal_equations`, shape (pulse, 6, 6).
        projections: From `normal_equations`, shape (pulse, 6).
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
        matrix = self.matrices()
        cross = matrix[:, 0, 1:][:, [c - DM for c in self.free]] / matrix[:, 0, :1]
        return 1 / matrix[:, 0, 0] + np.einsum("pi,ij,pj->p", cross, self.covariance, cross)

    @property
    def fluence_variance(self) -> NDArray[np.float64]:
        """Variance of each pulse's fluence, that of its shape included, (pulse,)."""
        columns = [c - DM for c in self.free]
        matrix = self.matrices()
        cross = matrix[:, 0, 1:][:, columns] / matrix[:, 0, :1]
        square = np.maximum(self.products[:, FLUENCE, FLUENCE], 1e-300)
        slope = self.fluence[:, None] * self.products[:, FLUENCE, TIME:] / square[:, None]
        of_time, of_shared = slope[:, 0], slope[:, 1:][:, columns]
        # A change of what is shared moves the time along with it.
        along = of_shared - of_time[:, None] * cross
        shared = np.einsum("pi,ij,pj->p", along, self.covariance, along)
        return 1 / square + of_time**2 / matrix[:, 0, 0] + shared

    def matrices(self) -> NDArray[np.float64]:
        """Normal matrices of (time, DM, ...) with the fluence eliminated, shape (pulse, 5, 5)."""
        return _projected(self.fluence, self.products)


def solve(
    windows: PulseWindows,
    laws: ChannelLaws,
    shapes: NDArray[np.float64],
    free: tuple[int, ...],
    *,
    max_steps: int = MAX_STEPS,
) -> Solution:
    """Return the least-squares solution.

    Args:
        windows: The data.
        laws: The channels.
        shapes: Where to start, shape (pulse, 5); all but the times are equal in all rows.
        free: Columns to fit besides the times and fluences, of `DM` to `INDEX`.
        max_steps: Steps at most.
    """
    now = _evaluated(windows, laws, shapes)
    damping = 1e-3
    for _ in range(max_steps):
        step, promised = _step(now, _movable(now, free), damping)
        if promised < GAIN_TOLERANCE:
            break
        trial = _evaluated(windows, laws, _moved(now.shapes, step, windows, laws))
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


def _evaluated(windows: PulseWindows, laws: ChannelLaws, shapes: NDArray[np.float64]) -> Solution:
    products, projections = normal_equations(laws, shapes, windows.delays, windows.values)
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
    """Return half the slopes of minus chi-squared with (time, DM, ...), shape (pulse, 5)."""
    fluence = solution.fluence[:, None]
    linear = solution.products[:, FLUENCE, TIME:]
    return fluence * (solution.projections[:, TIME:] - fluence * linear)


def _movable(now: Solution, free: tuple[int, ...]) -> tuple[int, ...]:
    """Return the free columns that are not held at a bound by their slope."""
    slope = gradients(now).sum(axis=0)
    at_zero = [c for c in BOUNDED if now.shapes[0, c - TIME] <= 0 and slope[c - TIME] <= 0]
    return tuple(c for c in free if c not in at_zero)


def _step(now: Solution, free: tuple[int, ...], damping: float) -> tuple[NDArray[np.float64], float]:
    """Return the step of each pulse's shape, (pulse, 5), and the chi-squared that it should gain."""
    matrix, slope = now.matrices(), gradients(now)
    reduced, target = _reduced(matrix, slope, free, damping)
    common = _solved(reduced, target)
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
    return _solved(reduced, target), _solved(reduced, np.eye(len(reduced)))


def _moved(
    shapes: NDArray[np.float64], step: NDArray[np.float64], windows: PulseWindows, laws: ChannelLaws
) -> NDArray[np.float64]:
    """Return shapes after a step, inside what is possible."""
    moved = shapes + step
    bounded = [c - TIME for c in BOUNDED]
    moved[:, bounded] = np.maximum(moved[:, bounded], 0.0)
    last_ms = (windows.values.shape[2] - 1) * laws.sampling_ms
    moved[:, 0] = moved[:, 0].clip(0, last_ms)
    # A pulse broader than its window looks like a level: it must not run away.
    column = SQUARED_WIDTH - TIME
    moved[:, column] = moved[:, column].clip(None, np.square(last_ms / 3))
    column = SCATTERING - TIME
    moved[:, column] = moved[:, column].clip(None, last_ms / laws.scattering.min())
    return moved


def _solved(matrix: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the solution of a positive system, scaled so that its units do not matter."""
    if not len(matrix):
        return np.zeros_like(target)
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), 1e-12))
    scaled = matrix * np.outer(scale, scale)
    scaled[np.diag_indices_from(scaled)] += 1e-9
    rows = target.T * scale if target.ndim == 2 else target * scale
    solution = np.linalg.solve(scaled, rows.T if target.ndim == 2 else rows)
    return (solution.T * scale).T if target.ndim == 2 else solution * scale


# With smaller errors than this part of the value, a parabola is right to a few per cent of the error.
PARABOLA_BELOW = 0.1
MAX_TRIALS = 5
TOLERANCE = 0.04  # of the root of the rise


def interval(
    windows: PulseWindows, laws: ChannelLaws, best: Solution, column: int, *, noise_factor: float = 1.0
) -> tuple[float, float]:
    """Return the ends of the 68 % interval of one number of the shape.

    Args:
        windows: What was fitted.
        laws: The channels.
        best: The solution.
        column: One of its `free` columns.
        noise_factor: By how much the noise of a matched filter is larger than white noise's.
    """
    place = best.free.index(column)
    value = float(best.shapes[0, column - TIME])
    sigma = noise_factor * float(np.sqrt(best.covariance[place, place]))
    if column not in BOUNDED or column == DM or sigma < PARABOLA_BELOW * value:
        return parabola(best, column, noise_factor)
    ends = [_end(windows, laws, best, place, side * sigma, noise_factor) for side in (-1, 1)]
    return ends[0], ends[1]


def parabola(best: Solution, column: int, noise_factor: float) -> tuple[float, float]:
    """Return the ends of the interval where chi-squared is a parabola, inside the bounds."""
    place = best.free.index(column)
    value = float(best.shapes[0, column - TIME])
    sigma = noise_factor * float(np.sqrt(best.covariance[place, place]))
    low = max(value - sigma, 0.0) if column in BOUNDED else value - sigma
    return low, value + sigma


def within_bounds(
    best: Solution, ends: list[tuple[float, float]], *, noise_factor: float = 1.0
) -> Solution:
    """Return the solution with the covariance that is left once the bounds are known.

    A tail that may be long or negative leaves DM and arrival unknown; one that cannot be negative does
    not. Of a number whose interval ends at its bound, the variance becomes that of the interval where
    this is shorter than the parabola says, and the others' follow as in a normal distribution.

    Args:
        best: The solution.
        ends: Of the interval of each of its `free` columns.
        noise_factor: As in `interval`.
    """
    covariance = best.covariance.copy()
    for place, (low, high) in enumerate(ends):
        variance = ((high - low) / 2 / noise_factor) ** 2
        at_bound = best.free[place] in BOUNDED and low <= 0
        if at_bound and variance < covariance[place, place]:
            column = covariance[place] / covariance[place, place]
            covariance -= np.outer(column, column) * (covariance[place, place] - variance)
    return replace(best, covariance=covariance)


def _end(
    windows: PulseWindows,
    laws: ChannelLaws,
    best: Solution,
    place: int,
    step: float,
    noise_factor: float,
) -> float:
    """Return where the root of the rise of chi-squared is one, or the bound where it is not reached."""
    value = float(best.shapes[0, best.free[place] - TIME])
    if step < 0 and value <= 0:
        return 0.0
    inside, outside = 0.0, 0.0  # steps with too low and too high a rise; 0 while not known
    rise_inside, rise_outside = 0.0, 0.0
    for _ in range(MAX_TRIALS):
        step = max(step, -value)
        rise = _rise(windows, laws, best, place, step) / noise_factor
        if abs(rise - 1) < TOLERANCE or (step <= -value and rise < 1):
            break
        if rise < 1:
            inside, rise_inside = step, rise
        else:
            outside, rise_outside = step, rise
        if outside:
            part = (1 - rise_inside) / (rise_outside - rise_inside)
            step = inside + part * (outside - inside)
        else:
            step *= min(2.0, 1 / max(rise, 0.1))
    return value + step


def _rise(windows: PulseWindows, laws: ChannelLaws, best: Solution, place: int, step: float) -> float:
    """Return the root of the rise of chi-squared with one number fixed off its best value."""
    column = best.free[place]
    others = tuple(c for c in best.free if c != column)
    shapes = best.shapes.copy()
    response = best.covariance[place] / best.covariance[place, place] * step
    for change, c in zip(response, best.free, strict=True):
        shapes[:, c - TIME] += change
        if c in BOUNDED:
            shapes[:, c - TIME] = np.maximum(shapes[:, c - TIME], 0.0)
    shapes[:, column - TIME] = best.shapes[:, column - TIME] + step
    found = solve(windows, laws, shapes, others, max_steps=6)
    return float(np.sqrt(max(best.gain - found.gain, 0.0)))
