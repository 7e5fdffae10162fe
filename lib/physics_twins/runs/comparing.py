"""Two runs side by side: what was asked, what came out, and which code did it."""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from physics_twins.data import in_words, parts

if TYPE_CHECKING:
    from physics_twins.runs.folder import Run


class Compared(NamedTuple):
    """One thing in two runs, None where a run lacks it.

    Attributes:
        kind: `parameter`, `metric`, or `code`: facts on code, environment and what was read.
        name: Its name.
        first: In the first run.
        second: In the second.
    """

    kind: str
    name: str
    first: Any
    second: Any

    @property
    def words(self) -> tuple[str, ...]:
        """Kind, name, both values and the difference of metrics: a row of a table of text."""
        show = {"parameter": repr, "metric": in_words, "code": lambda value: str(value)[:12]}[self.kind]
        pair = self.first, self.second
        shown = ("-" if value is None else show(value) for value in pair)
        return self.kind, self.name, *shown, difference(*pair) if self.kind == "metric" else ""


def compare(first: "Run", second: "Run") -> list[Compared]:
    """Return what differs between two runs to the last digit, and every metric of both."""
    facts = {
        "parameter": (first.parameters, second.parameters),
        "metric": (first.metrics, second.metrics),
        "code": (_code(first), _code(second)),
    }
    found = [
        Compared(kind, name, a.get(name), b.get(name))
        for kind, (a, b) in facts.items()
        for name in {**a, **b}
    ]
    return [each for each in found if each.kind == "metric" or each.first != each.second]


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
