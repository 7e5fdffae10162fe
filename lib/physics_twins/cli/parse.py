"""What the options of several commands have in common: `NAME=VALUE`, `NAME=LOW:HIGH`."""

from collections.abc import Iterable, Sequence


def pairs(option: str, texts: Iterable[str], *, may_be_empty: bool = False) -> dict[str, str]:
    """Return values by name from the texts `NAME=VALUE` of one option, each name once.

    >>> pairs("--range", ["dm_pc_cm3=10:60"])
    {'dm_pc_cm3': '10:60'}
    """
    parts = [text.partition("=") for text in texts]
    for name, equals, value in parts:
        if not equals or not name or not (value or may_be_empty):
            raise ValueError(f"{option} {name}{equals}{value}: write it as NAME=...")
    check_once([name for name, _, _ in parts])
    return {name: value for name, _, value in parts}


def check_once(names: Sequence[str]) -> None:
    """Check that no name is given twice."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"{', '.join(twice)} is given twice")


def box(name: str, text: str) -> tuple[float, float]:
    """Return both ends of a parameter's `LOW:HIGH`."""
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise ValueError(f"--range {name}={text}: write it as {name}=LOW:HIGH") from None


def known(name: str, fields: Iterable[str]) -> None:
    """Check that a parameter is one of `fields`; the nearest is suggested."""
    from physics_twins.parameters import ParameterError, unknown

    if name not in fields:
        raise ParameterError(unknown(name, fields))
