"""Two runs side by side: what was asked, what came out, and which code did it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from physics_twins.data import aligned, difference, in_words

_CODE = ("version", "git_commit", "git_dirty", "source_sha256", "notebook_sha256")


class Record(Protocol):
    """What a run is compared by; `runs.Run` is one."""

    @property
    def parameters(self) -> dict[str, Any]: ...
    @property
    def metrics(self) -> dict[str, Any]: ...
    @property
    def provenance(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Comparison:
    """What differs between two runs; each value is the pair (first, second).

    Attributes:
        names: Addresses of the two.
        parameters: Parameters that differ.
        metrics: All metrics of both, None where one lacks it.
        code: Facts on code and environment that differ.
    """

    names: tuple[str, str]
    parameters: dict[str, tuple[Any, Any]]
    metrics: dict[str, tuple[Any, Any]]
    code: dict[str, tuple[Any, Any]]

    def __str__(self) -> str:
        """Return the comparison as a table of text."""
        rows = [("", *self.names, "")]
        rows += _section("parameters that differ", self.parameters, repr)
        rows += _section("metrics", self.metrics, in_words, difference)
        rows += _section("code that differs", self.code, lambda value: str(value)[:12])
        return aligned(rows)


def compare(first: Record, second: Record) -> Comparison:
    """Return the differences between two runs."""
    metrics = _pairs(first.metrics, second.metrics)
    return Comparison(
        names=(str(first), str(second)),
        parameters=_differing(first.parameters, second.parameters),
        metrics=metrics,
        code=_differing(_code(first), _code(second)),
    )


def _section(title: str, pairs: dict[str, tuple[Any, Any]], show: Any, last: Any = None) -> list:
    if not pairs:
        return []
    rows: list[tuple[str, ...]] = [(title, "", "", "difference" if last else "")]
    for name, values in pairs.items():
        shown = ("-" if value is None else show(value) for value in values)
        rows.append((f"  {name}", *shown, last(*values) if last else ""))
    return rows


def _pairs(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (first.get(name), second.get(name)) for name in {**first, **second}}


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {name: (a, b) for name, (a, b) in _pairs(first, second).items() if a != b}


def _code(run: Record) -> dict[str, Any]:
    record = run.provenance
    code, machine = record.get("code", {}), record.get("machine", {})
    facts = {name: code.get(name) for name in _CODE}
    facts |= {name: machine.get(name) for name in ("environment_sha256", "python", "platform")}
    return facts | {source["name"]: source["sha256"] for source in record.get("sources", [])}

