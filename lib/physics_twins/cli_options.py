"""What the options of several commands have in common: `NAME=VALUE`, `NAME=LOW:HIGH`."""

from collections.abc import Iterable


def pair(text: str) -> tuple[str, str]:
    """Return name and value of `NAME=VALUE`.

    >>> pair("dm_pc_cm3=56.8")
    ('dm_pc_cm3', '56.8')
    """
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise ValueError(f"{text!r}: write it as NAME=...")
    return name, value


def box(text: str) -> tuple[float, float]:
    """Return both ends of `LOW:HIGH`."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"--range {text!r}: write it as NAME=LOW:HIGH") from None


def known(name: str, fields: Iterable[str]) -> None:
    """Check that a parameter is one of `fields`; the nearest is suggested."""
    from physics_twins.parameters import ParameterError, unknown

    if name not in fields:
        raise ParameterError(unknown(name, fields))


def once(options: Iterable[str]) -> dict[str, str]:
    """Return the values of `NAME=VALUE` options by name, each given once."""
    found: dict[str, str] = {}
    for name, value in map(pair, options):
        if name in found:
            raise ValueError(f"{name} is given twice: {found[name]} and {value}")
        found[name] = value
    return found
