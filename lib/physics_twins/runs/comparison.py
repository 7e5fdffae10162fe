"""Two runs side by side: what was asked, what came out, and which code did it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

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


def in_words(metric: Any) -> str:
    """Return a metric as text.

    >>> in_words({"value": 475.52, "error": 0.3, "unit": "pc cm-3"})
    '475.52 +- 0.3 pc cm-3'
    """
    if not isinstance(metric, Mapping):
        return "undefined" if metric is None else f"{metric:.6g}"
    error = metric.get("error")
    words = [in_words(metric["value"]), "" if error is None else f"+- {error:.2g}"]
    return " ".join(word for word in (*words, metric.get("unit", "")) if word)


def difference(first: Any, second: Any) -> str:
    """Return second minus first, in standard errors too where both have one.

    >>> difference({"value": 10.0, "error": 3.0}, {"value": 20.0, "error": 4.0})
    '+10 (+2.0 sigma)'
    """
    (a, error_a), (b, error_b) = _value_and_error(first), _value_and_error(second)
    if a is None or b is None:
        return ""
    change = f"{b - a:+.4g}"
    spread = math.hypot(error_a, error_b) if error_a is not None and error_b is not None else 0.0
    return f"{change} ({(b - a) / spread:+.1f} sigma)" if spread else change


def aligned(rows: list[tuple[str, ...]]) -> str:
    """Return rows of text with their columns under each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(map(str.ljust, row, widths)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


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
    return facts | {name: machine.get(name) for name in ("environment_sha256", "python", "platform")}


def _value_and_error(metric: Any) -> tuple[float | None, float | None]:
    if isinstance(metric, Mapping):
        return metric["value"], metric.get("error")
    return metric, None
