"""What the command reads and prints: pairs of names and values, tables of text."""

from collections.abc import Iterable


def pairs(option: str, texts: Iterable[str], *, may_be_empty: bool = False) -> dict[str, str]:
    """Return values by name from the texts `NAME=VALUE` of one option of a command.

    Raises:
        ValueError: A text has another form, or a name is given twice.

    >>> pairs("--range", ["dm_pc_cm3=10:60"])
    {'dm_pc_cm3': '10:60'}
    """
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name or not (value or may_be_empty):
            raise ValueError(f"{option} {text}: write it as NAME=...")
        if name in values:
            raise ValueError(f"{name} is given twice")
        values[name] = value
    return values


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Return rows of text with their columns under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
