"""Units and numbers as a reader sees them."""

import math

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_SIGNS = {"1": "", "sigma": "σ", "us": "μs", "deg": "°", "ohm": "Ω"}


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


def with_error(value: float, error: float | None, unit: str = "") -> str:
    """Return a value rounded to two digits of its standard error.

    >>> with_error(0.00437212, 0.0123, "m"), with_error(1234.5, 30.0), with_error(0.25, None)
    ('0.004 +- 0.012 m', '1234 +- 30', '0.25')
    """
    if not error or not math.isfinite(error):
        return f"{value:.4g} {unit}".rstrip()
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} +- {error:.{digits}f} {unit}".rstrip()


def round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten: where an axis ends that shall seldom change.

    >>> round_up(0.068), round_up(0.1), round_up(1300.0)
    (0.1, 0.1, 2000.0)
    """
    decade = 10.0 ** math.floor(math.log10(value))
    step = next(n for n in (1, 2, 5, 10) if value <= n * decade * (1 + 1e-9))
    return float(f"{step * decade:.0e}")
