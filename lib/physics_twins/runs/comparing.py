"""Two runs side by side: what was asked, what came out, and which code did it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from physics_twins.data import aligned, difference, in_words


if TYPE_CHECKING:
    from physics_twins.runs.folder import Run

_CODE = ("version", "git_commit", "git_dirty", "source_sha256", "notebook_sha256")
_MACHINE = ("environment_sha256", "python", "platform")

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
        return {name: (a, b) for name, (a, b) in self.metrics.items() if a != b}

    def __str__(self) -> str:
        """Return the comparison as a table of text."""
        rows = [("", *self.names, "")]
        rows += _section("parameters that differ", self.parameters, repr)
        rows += _section("metrics", self.metrics, in_words, difference)
        rows += _section("code that differs", self.code, lambda value: str(value)[:12])
        return aligned(rows)


def compare(first: "Run", second: "Run") -> Comparison:
    """Return the differences between two runs."""
    parameters, code = _pairs(first.parameters, second.parameters), _pairs(_code(first), _code(second))
    return Comparison(
        names=(str(first), str(second)),
        parameters={name: (a, b) for name, (a, b) in parameters.items() if a != b},
        metrics=_pairs(first.metrics, second.metrics),
        code={name: (a, b) for name, (a, b) in code.items() if a != b},
    )


def _section(
    title: str, pairs: Pairs, show: Callable[[Any], str], last: Callable[..., str] | None = None
) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [(title, "", "", "difference" if last else "")] if pairs else []
    for name, values in pairs.items():
        shown = ("-" if value is None else show(value) for value in values)
        rows.append((f"  {name}", *shown, last(*values) if last else ""))
    return rows


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> Pairs:
    return {name: (first.get(name), second.get(name)) for name in {**first, **second}}


def _code(run: "Run") -> dict[str, Any]:
    record = run.provenance
    facts = {name: record.get("code", {}).get(name) for name in _CODE}
    facts |= {name: record.get("machine", {}).get(name) for name in _MACHINE}
    return facts | {source["name"]: source["sha256"] for source in record.get("sources", [])}
