"""Intervals from the profile likelihood, which hold near a bound and where errors are large.

A width or a scattering time cannot be negative, and chi-squared is no parabola near zero. An end of the
interval is therefore where chi-squared, lowest over all other numbers, has risen by one (Wilks 1938).
"""

import numpy as np

from physics_twins.pulsar.least_squares import BOUNDED, Solution, solve
from physics_twins.pulsar.pulse_model import DM, TIME, ChannelLaws
from physics_twins.pulsar.pulse_windows import PulseWindows

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
    bounded = column in BOUNDED
    if not bounded or column == DM or sigma < PARABOLA_BELOW * value:
        low = max(value - sigma, 0.0) if bounded else value - sigma
        return low, value + sigma
    ends = [_end(windows, laws, best, place, side * sigma, noise_factor) for side in (-1, 1)]
    return ends[0], ends[1]


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
