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


def round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten: where an axis ends that shall seldom change.

    >>> round_up(0.068), round_up(0.1), round_up(1300.0)
    (0.1, 0.1, 2000.0)
    """
    decade = 10.0 ** math.floor(math.log10(value))
    step = next(n for n in (1, 2, 5, 10) if value <= n * decade * (1 + 1e-9))
    return float(f"{step * decade:.0e}")
