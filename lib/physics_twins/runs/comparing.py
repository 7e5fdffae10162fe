"""Two runs side by side: what was asked, what came out, and which code did it."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from physics_twins.data import aligned, in_words, parts

if TYPE_CHECKING:
    from physics_twins.runs.folder import Run

Pairs = dict[str, tuple[Any, Any]]


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs; each value is the pair (first, second).

    Attributes:
        names: Addresses of the two.
        parameters: Parameters that differ.
        metrics: All metrics of both, None where one lacks it.
        code: Facts on code, environment and what was read that differ.
    """

    names: tuple[str, str]
    parameters: Pairs
    metrics: Pairs
    code: Pairs

    @property
    def differing(self) -> Pairs:
        """Metrics that are not the same to the last digit."""
        return _differing(self.metrics)

    def __str__(self) -> str:
        """Return the comparison as a table of text."""
        rows = [("", *self.names, "")]
        rows += _section("parameters that differ", self.parameters, repr)
        rows += _section("metrics", self.metrics, in_words)
        rows += _section("code that differs", self.code, lambda value: str(value)[:12])
        return aligned(rows)


def compare(first: "Run", second: "Run") -> Comparison:
    """Return the differences between two runs."""
    return Comparison(
        names=(str(first), str(second)),
        parameters=_differing(_pairs(first.parameters, second.parameters)),
        metrics=_pairs(first.metrics, second.metrics),
        code=_differing(_pairs(_code(first), _code(second))),
    )


def _section(title: str, pairs: Pairs, show: Callable[[Any], str]) -> list[tuple[str, ...]]:
    is_numbers = show is in_words
    rows: list[tuple[str, ...]] = [(title, "", "", "difference" if is_numbers else "")]
    for name, pair in pairs.items():
        shown = ("-" if value is None else show(value) for value in pair)
        rows.append((f"  {name}", *shown, difference(*pair) if is_numbers else ""))
    return rows if pairs else []


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Pairs:
    return {name: (first.get(name), second.get(name)) for name in {**first, **second}}


def _differing(pairs: Pairs) -> Pairs:
    return {name: (a, b) for name, (a, b) in pairs.items() if a != b}


def _code(run: "Run") -> dict[str, Any]:
    """Return what a run depends on besides its parameters."""
    record = run.provenance
    facts = record.get("code", {}) | record.get("interpreter", {})
    packages = facts.pop("packages", {})
    read = {source["name"]: source["sha256"] for source in record.get("sources", [])}
    return facts | packages | read


def difference(first: Any, second: Any) -> str:
    """Return the second metric minus the first, in standard errors too where both have one.

    >>> difference({"value": 10.0, "error": 3.0}, {"value": 20.0, "error": 4.0})
    '+10 (+2.0 sigma)'
    """
    (a, error_a, _), (b, error_b, _) = parts(first), parts(second)
    if a is None or b is None:
        return ""
    change = f"{b - a:+.4g}"
    spread = math.hypot(error_a, error_b) if error_a is not None and error_b is not None else 0.0
    return f"{change} ({(b - a) / spread:+.1f} sigma)" if spread else change
