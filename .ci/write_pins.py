"""Write constraints.txt: the exact version of every package that the project and its extras pull in."""

from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# Exact versions that every set-up uses. Written by `python3 bootstrap.py pins`, which takes the newest
# versions that pyproject.toml allows; run `make test` before committing the result.
"""


def main() -> None:
    """Walk from the project through everything installed for it, and write what was found."""
    found: dict[str, str] = {}
    todo = [("physics-twins", frozenset({"lab", "book", "dev"}))]
    seen = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found[name] = distribution(name).version.partition("+")[0]
        todo += [
            needed for line in distribution(name).requires or () if (needed := _needed(line, extras))
        ]
    del found["physics-twins"]
    lines = [f"{name}=={version}\n" for name, version in sorted(found.items())]
    (ROOT / "constraints.txt").write_text(HEADER + "".join(lines))


def _needed(line: str, extras: frozenset[str]) -> tuple[str, frozenset[str]] | None:
    """The requirement of one metadata line, None where its marker does not hold here."""
    requirement = Requirement(line)
    marker = requirement.marker
    if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
        return None
    return canonicalize_name(requirement.name), frozenset(requirement.extras)


if __name__ == "__main__":
    main()
