"""The points of a sweep: grids and Sobol sequences."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Point = dict[str, Any]


def grid(axes: Mapping[str, Sequence[Any]]) -> list[Point]:
    """Return every combination of the values on some axes; the last axis changes fastest.

    >>> grid({"dm_pc_cm3": [10.0, 20.0], "seed": [1, 2]})[:2]
    [{'dm_pc_cm3': 10.0, 'seed': 1}, {'dm_pc_cm3': 10.0, 'seed': 2}]
    """
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def sobol(
    ranges: Mapping[str, tuple[float, float]],
    n: int,
    *,
    seed: int,
    logarithmic: Iterable[str] = (),
    whole: Iterable[str] = (),
) -> list[Point]:
    """Return the first `n` points of a scrambled Sobol sequence, which fill a box evenly.

    Args:
        ranges: Lowest and highest value by name.
        n: Number of points; a power of two fills best.
        seed: Seed of the scrambling (Owen 1998; Joe & Kuo 2008 as in scipy).
        logarithmic: Names that are spread evenly in their logarithm.
        whole: Names that take whole numbers only, each of its range equally often.

    Raises:
        ValueError: There are no ranges, or no points, or a range is empty.
    """
    if n < 1 or not ranges:
        raise ValueError(f"Sobol points need a range and a number of 1 or more, found {n}")
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(ranges), rng=seed).random_base2(max(0, math.ceil(math.log2(n))))
    factors, counts = set(logarithmic), set(whole)
    points = []
    for row in sequence[:n]:
        point: Point = {}
        for step, (name, (low, high)) in zip(row, ranges.items(), strict=True):
            take = _whole if name in counts else scaled
            point[name] = take(float(step), low, high, logarithmic=name in factors)
        points.append(point)
    return points


def scaled(step: float, low: float, high: float, *, logarithmic: bool = False) -> float:
    """Return the value at `step`, between 0 and 1, of the way from `low` to `high`.

    Raises:
        ValueError: `low` is not below `high`, or not positive where the way is in factors.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"a range must go upwards, found {low:g} to {high:g}")
    if logarithmic and low <= 0:
        raise ValueError(f"a range in factors must begin above 0, found {low:g}")
    if step in (0.0, 1.0):
        return high if step else low
    value = low ** (1 - step) * high**step if logarithmic else low * (1 - step) + high * step
    return min(max(value, low), high)  # rounding must not lead out of the range


def _whole(step: float, low: float, high: float, *, logarithmic: bool) -> int:
    """Return the whole number at `step`, so that each between `low` and `high` has its share."""
    first, last = math.ceil(low), math.floor(high)
    if first >= last:
        raise ValueError(f"there are no two whole numbers between {low:g} and {high:g}")
    return min(math.floor(scaled(step, first, last + 1, logarithmic=logarithmic)), last)
