"""How a slider's position stands for a value: in equal steps, or in factors far from zero."""

from dataclasses import dataclass

import numpy as np

from physics_twins.parameters import FieldDescription

WIDE = 20.0  # a range this many times the default is not walked in equal steps
FINE = 0.01  # of the default: below this, a slider in factors goes on to zero in equal steps
SMALLEST = 1e-3  # of the range: the same where the default is zero
OPEN = 100.0  # times the default: where a slider ends when the range does not


@dataclass(frozen=True)
class Scale:
    """Positions from 0 to 1 for values from `low` to `high`.

    Attributes:
        low: Value at position 0.
        high: Value at position 1.
        knee: Value below which equal steps are equal distances, and above which they are equal factors;
            None for equal distances throughout.
    """

    low: float
    high: float
    knee: float | None = None

    def position(self, value: float) -> float:
        """Return where a value stands; at an end if it lies beyond.

        >>> Scale(0.0, 200.0).position(50.0)
        0.25
        """
        low, high, place = self._bent(self.low), self._bent(self.high), self._bent(value)
        return float(np.clip((place - low) / (high - low), 0.0, 1.0))

    def value(self, position: float) -> float:
        """Return the value at a position, to three digits.

        >>> Scale(0.0, 1000.0, knee=1.0).value(0.5)
        22.3
        """
        if position in (0.0, 1.0):
            return self.high if position else self.low
        low, high = self._bent(self.low), self._bent(self.high)
        exact = low + position * (high - low)
        if self.knee is not None:
            exact = self.knee * float(np.sinh(exact))
        return float(np.clip(float(f"{exact:.3g}"), self.low, self.high))

    def _bent(self, value: float) -> float:
        return value if self.knee is None else float(np.arcsinh(value / self.knee))


def scale_of(info: FieldDescription, ends: tuple[float, float] | None = None) -> Scale:
    """Return a scale on which a parameter's usual values are within easy reach.

    Logarithmic parameters, and those whose range is far wider than their default, move in factors. A
    range without an end is given one; a value beyond it can still be typed.

    Args:
        info: The parameter.
        ends: Values between which the slider moves, where its whole range is not of interest; in equal
            steps unless the parameter is logarithmic.
    """
    usual = abs(float(info.default)) or None
    low, high = ends or _ends(info, usual)
    if info.logarithmic:
        lowest = low if low > 0 else FINE * (usual or 0)
        return Scale(low, high, lowest or SMALLEST * (high - low))
    if ends is None and max(abs(low), abs(high)) > WIDE * (usual or 0) and high - low > WIDE:
        return Scale(low, high, usual or SMALLEST * (high - low))
    return Scale(low, high)


def _ends(info: FieldDescription, usual: float | None) -> tuple[float, float]:
    reach = OPEN * (usual or 1.0)
    low = info.minimum
    if low is None:
        low = min(-reach, float(info.maximum or 0) - reach)
    high = info.maximum if info.maximum is not None else max(reach, low + reach)
    return float(low), float(high)
