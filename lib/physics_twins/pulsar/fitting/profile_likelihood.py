"""Intervals from the profile likelihood, which hold near a bound and where errors are large.

A width or a scattering time cannot be negative, and chi-squared is no parabola near zero. An end of the
interval is therefore where chi-squared, lowest over all other numbers, has risen by one (Wilks 1938).
"""

from dataclasses import replace

import numpy as np

from physics_twins.pulsar.fitting.least_squares import BOUNDED, Solution, solve
from physics_twins.pulsar.fitting.pulse_model import DM, TIME, ChannelLaws
from physics_twins.pulsar.fitting.pulse_windows import PulseWindows

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
