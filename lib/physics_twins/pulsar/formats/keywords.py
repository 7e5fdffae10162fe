"""What a file's header says, keyword by keyword, each value checked before it is believed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Keywords:
    """The keywords of one header.

    Attributes:
        where: File or header that they stand in, for messages.
        values: What stands there, by keyword.
        error: What is raised where a value cannot be.
    """

    where: object
    values: Mapping[str, Any]
    error: type[ValueError]

    def value(self, keyword: str, default: Any = None) -> Any:
        """Return a value, the default where there is none; without a default it must be there."""
        value = self.values.get(keyword, default)
        if value is None:
            raise self.error(f"{self.where}: {keyword}: missing from the header")
        return value

    def text(self, keyword: str, default: str | None = None) -> str:
        """Return text without the blanks around it."""
        return str(self.value(keyword, default)).strip()

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return a finite number; text that is one counts."""
        value = self.value(keyword, default)
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(f"{self.where}: {keyword} = {value!r}: expected a number")
        return number

    def integer(self, keyword: str, default: int | None = None, *, low: int = 0, high: int) -> int:
        """Return a whole number from `low` to `high`."""
        value = self.number(keyword, default)
        if not (low <= value <= high and value == int(value)):
            expected = f"expected a whole number from {low} to {high}"
            raise self.error(f"{self.where}: {keyword} = {value:g}: {expected}")
        return int(value)
