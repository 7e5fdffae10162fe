"""Where a result comes from: code, interpreter, machine, input files and all else that was read."""

import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import psutil

from physics_twins import __version__
from physics_twins.data import file_sha256, listen, read_json, write_json
from physics_twins.parameters import Execution, FieldDescription

PACKAGE = Path(__file__).resolve().parents[1]

Inputs = list[dict[str, Any]]

# What all twins stand on. Every other package of the library is a twin, but for the command above them.
_SHARED = {"data", "clusters", "twin", "figures", "runs", "sweeps", "training", "models"}
_ABOVE = "cli"


def json_sha256(value: Any) -> str:
    """Return the SHA-256 of a value of plain types; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def identity(
    sha256: str,
    fields: Mapping[str, FieldDescription],
    values: Mapping[str, Any],
    twins: Iterable[str] | None,
) -> str:
    """Return the SHA-256 that two results share when they must be the same.

    What else they have read must be the same too, see `data.note`.

    Args:
        sha256: Hash of the notebook's source, or of the function.
        fields: What is known of its parameters; an input file counts by content, wherever it lies.
        values: Every parameter; those in `Execution.HOW` are left out.
        twins: Whose code it depends on, see `source_sha256`.
    """
    return identity_of(sha256, values, describe_inputs(fields, values), twins)


def identity_of(
    sha256: str, values: Mapping[str, Any], inputs: Inputs, twins: Iterable[str] | None
) -> str:
    """Return what `identity` gives for these `describe_inputs`."""
    parameters = {name: value for name, value in values.items() if name not in Execution.HOW}
    parameters |= {item["parameter"]: item["sha256"] for item in inputs}
    interpreter = describe_interpreter()
    facts = {"what": sha256, "parameters": parameters, "source": source_sha256(twins)}
    return json_sha256(facts | {name: interpreter[name] for name in ("python", "packages")})


def describe_inputs(fields: Mapping[str, FieldDescription], values: Mapping[str, Any]) -> Inputs:
    """Return parameter, path, size in bytes and SHA-256 of each input file that `values` name."""
    return [
        {"parameter": name, **_describe_file(values[name], os.stat(values[name]).st_mtime_ns)}
        for name in _files(fields, values)
    ]


def _files(fields: Mapping[str, FieldDescription], values: Mapping[str, Any]) -> list[str]:
    return [name for name, info in fields.items() if info.input_file and values[name]]


@functools.lru_cache(maxsize=1024)
def _describe_file(path: str, mtime_ns: int) -> dict[str, Any]:
    """Return what is known of a file, read once for as long as it does not change."""
    return {"path": path, "bytes": os.stat(path).st_size, "sha256": file_sha256(Path(path))}


def source_sha256(twins: Iterable[str] | None = None) -> str:
    """Return the SHA-256 over this library's Python files, as they were when it was first asked for.

    The command `twins`, which stands above all and computes nothing, does not enter.

    Args:
        twins: Of these twins, and what all of them stand on; all by default.
    """
    parts = part_sha256s()
    wanted = set(parts) if twins is None else {"", *twins} & set(parts)
    return json_sha256({part: parts[part] for part in wanted})


def named_twins(text: str) -> tuple[str, ...] | None:
    """Return the twins that a piece of code names; None, for all of them, where it names none."""
    twins = sorted(set(part_sha256s()) - {""})
    return tuple(name for name in twins if re.search(rf"\b{name}\b", text)) or None


@functools.cache
def part_sha256s() -> dict[str, str]:
    """Return the hash of each twin's files by its name, and by "" of what all of them stand on."""
    parts: dict[str, dict[str, str]] = {}
    for path in sorted(path for kind in ("*.py", "*.txt") for path in PACKAGE.rglob(kind)):
        place = path.relative_to(PACKAGE)
        part = "" if len(place.parts) == 1 or place.parts[0] in _SHARED else place.parts[0]
        parts.setdefault(part, {})[place.as_posix()] = file_sha256(path)
    return {part: json_sha256(files) for part, files in parts.items() if part != _ABOVE}


def describe_origin(twins: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the `code` and the `interpreter` that this process runs."""
    return {"code": describe_code(twins), "interpreter": describe_interpreter()}


def describe_code(twins: Iterable[str] | None = None) -> dict[str, Any]:
    """Return version and hash of this library, and its git commit where it runs from a clone.

    Args:
        twins: Whose code counts, see `source_sha256`.
    """
    is_tracked = _git("ls-files", "--error-unmatch", "__init__.py") is not None
    return {
        "version": __version__,
        "source_sha256": source_sha256(twins),
        "git_commit": _git("rev-parse", "HEAD") if is_tracked else None,
        "git_dirty": _git("status", "--porcelain", "--untracked-files=no") != ""
        if is_tracked
        else None,
    }


@functools.cache
def _git(*arguments: str) -> str | None:
    """Return what git says of this library's folder, as it was when it was first asked."""
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@functools.cache
def describe_interpreter() -> dict[str, Any]:
    """Return the Python that runs this, and the versions of what the library asks for."""
    try:
        asked = requires("physics-twins") or []
    except PackageNotFoundError:
        asked = []
    wanted = (text for text in asked if "extra ==" not in text or "'geant4'" in text)
    packages: dict[str, str] = {}
    for name in sorted({re.split(r"[^A-Za-z0-9._-]", text)[0] for text in wanted}):
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {
        "executable": sys.executable,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "library": str(PACKAGE),
    }


def describe_process() -> dict[str, Any]:
    """Return host, number and start of this process."""
    process = psutil.Process()
    return {"host": platform.node(), "pid": process.pid, "process_started": process.create_time()}


def tell(path: Path, facts: Mapping[str, Any]) -> None:
    """Write facts on this process into a file of a run, and from now on whatever it reads.

    Args:
        path: The file, JSON; what else it holds is kept. What is read in its folder is the run's own.
        facts: What is known of this process.
    """
    inside = f"{path.parent.resolve()}/"
    one_at_a_time = threading.Lock()  # threads of one process read, too

    def hear(source: dict[str, str]) -> None:
        with one_at_a_time:
            if source["name"].startswith(inside) or not path.parent.is_dir():
                return
            known = read(path)
            heard = known.get("sources", [])
            if source not in heard:
                write_json(path, known | {"sources": [*heard, source]})

    write_json(path, {"sources": []} | read(path) | dict(facts))
    listen(hear)


def read(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, an empty one where there is no file."""
    return read_json(path) if path.is_file() else {}
