"""Numbers as physicists write them: a value with error and unit, kept and printed in one way."""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SIGNS = {"1": "", "sigma": "σ", "us": "μs", "deg": "°", "ohm": "Ω"}
_PARTS = {"value", "error", "unit"}

# Without control characters: it is shown in terminals.
_Text = Annotated[str, Field(max_length=400, pattern=r"^\P{C}*$")]


class Estimate(BaseModel):
    """A value with the ends of its 68 % interval, all in one unit.

    An interval of no length is that of a value whose error is zero or not known.

    >>> Estimate.of(56.8, 0.1, "pc cm-3").text
    '56.80 +- 0.10 pc cm-3'
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    value: float
    low: float
    high: float
    unit: _Text = "1"

    @model_validator(mode="after")
    def _is_ordered(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(f"{self.value:g} {self.unit} must lie in {self.low:g} to {self.high:g}")
        return self

    @classmethod
    def of(cls, value: float, error: float | None = None, unit: str = "1") -> Self:
        """Return an estimate whose interval is `value` plus and minus `error`."""
        value, error = float(value), float(error or 0.0)
        return cls(value=value, low=value - error, high=value + error, unit=unit)

    @property
    def error(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2

    @property
    def text(self) -> str:
        """The estimate in words, to two digits of its error."""
        up, down = self.high - self.value, self.value - self.low
        if abs(up - down) <= 0.1 * self.error:
            return in_words(self)
        digits, unit = _digits(self.error), parts(self)[2]
        return f"{self.value:.{digits}f} +{up:.{digits}f} -{down:.{digits}f} {unit}".rstrip()

    def covers(self, truth: float) -> bool:
        """Return whether a value lies in the interval."""
        return self.low <= truth <= self.high


def in_words(metric: Any) -> str:
    """Return a number, a metric of a run's record or an `Estimate` as text, to two digits of its error.

    >>> in_words({"value": 475.52, "error": 0.3, "unit": "pc cm-3"}), in_words(3), in_words(None)
    ('475.52 +- 0.30 pc cm-3', '3', 'undefined')
    >>> in_words({"value": 0.00437212, "error": 0.0123, "unit": "m"}), in_words({"value": 0.25})
    ('0.004 +- 0.012 m', '0.25')
    """
    value, error, unit = parts(metric)
    if value is None:
        return "undefined"
    if not error or not math.isfinite(error):
        return f"{value:.6g} {unit}".rstrip()
    digits = _digits(error)
    return f"{value:.{digits}f} +- {error:.{digits}f} {unit}".rstrip()


def _digits(error: float) -> int:
    return max(0, 1 - math.floor(math.log10(error)))


def parts(metric: Any) -> tuple[float | None, float | None, str]:
    """Return a metric's value, error and unit: of a number, a mapping or an `Estimate`."""
    if isinstance(metric, Estimate):
        return metric.value, metric.error or None, "" if metric.unit == "1" else metric.unit
    if isinstance(metric, Mapping):
        return metric["value"], metric.get("error"), metric.get("unit", "")
    return metric, None, ""


def plain_metrics(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return metrics as JSON has them; a number that is not finite becomes None, and None remains.

    Raises:
        ValueError: A metric is no number, no `Estimate` and no mapping with `value`, `error`, `unit`.
    """
    return {str(name): _plain_metric(name, metric) for name, metric in metrics.items()}


def _plain_metric(name: str, metric: Any) -> Any:
    if isinstance(metric, Mapping) and ("value" not in metric or set(metric) - _PARTS):
        raise ValueError(f"metric {name} must have value, error, unit; it has {', '.join(metric)}")
    if not isinstance(metric, Mapping | Estimate):
        return _plain_number(name, metric)
    value, error, unit = parts(metric)
    plain: dict[str, Any] = {"value": _plain_number(name, value)}
    if error is not None:
        plain["error"] = _plain_number(name, error)
    return plain | {"unit": str(unit)}


def _plain_number(name: str, number: Any) -> float | int | None:
    if number is None or isinstance(number, int):
        return None if number is None else int(number)
    try:
        plain = float(number)
    except (TypeError, ValueError):
        raise ValueError(f"metric {name} must be a number, found {number!r}") from None
    is_count = plain.is_integer() and getattr(getattr(number, "dtype", None), "kind", "f") in "iu"
    return int(plain) if is_count else plain if math.isfinite(plain) else None


def in_print(units: str) -> str:
    """Return units as they are set in a figure or beside a control; "" for a pure number.

    Args:
        units: As a dataset's attribute has them: symbols with exponents, separated by spaces.

    >>> in_print("pc cm-3"), in_print("K Jy-1"), in_print("us"), in_print("1")
    ('pc cm⁻³', 'K Jy⁻¹', 'μs', '')
    """
    return " ".join(filter(None, map(_symbol, units.split())))


def _symbol(text: str) -> str:
    if text in _SIGNS:
        return _SIGNS[text]
    letters = text.rstrip("-0123456789")
    return letters + text[len(letters) :].translate(_SUPERSCRIPTS)


def round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten: where an axis ends that shall seldom change.

    >>> round_up(0.068), round_up(0.1), round_up(1300.0)
    (0.1, 0.1, 2000.0)
    """
    decade = 10.0 ** math.floor(math.log10(value))
    step = next(n for n in (1, 2, 5, 10) if value <= n * decade * (1 + 1e-9))
    return float(f"{step * decade:.0e}")
