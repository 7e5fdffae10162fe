"""Where a result comes from: code, environment, machine and input files, by hash."""

import functools
import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any

import psutil

from physics_twins import __version__
from physics_twins.data import file_sha256

PACKAGE = Path(__file__).resolve().parents[1]

# A process on another machine gives a sign of life every `ALIVE_S`; after `SILENT_S` it counts as dead.
ALIVE_S, SILENT_S = 20.0, 300.0

# What all twins stand on. Every other package of the library is a twin, but for the command above them.
_SHARED = {"data", "clusters", "twin", "figures", "runs", "sweeps", "training", "models"}
_ABOVE = "cli"


def json_sha256(value: Any) -> str:
    """Return the SHA-256 of a value of plain types; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def source_sha256(twins: Iterable[str] | None = None) -> str:
    """Return the SHA-256 over this library's Python files, as they were when it was first asked for.

    The command `twins`, which stands above all and computes nothing, does not enter.

    Args:
        twins: Of these twins, and what all of them stand on; all by default.
    """
    return source_of_parts(part_sha256s(), twins)


def source_of_parts(parts: Mapping[str, str], twins: Iterable[str] | None) -> str:
    """Return what `source_sha256` gives where `part_sha256s` are these."""
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
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE)
        part = "" if len(place.parts) == 1 or place.parts[0] in _SHARED else place.parts[0]
        parts.setdefault(part, {})[place.as_posix()] = file_sha256(path)
    return {part: json_sha256(files) for part, files in parts.items() if part != _ABOVE}


@functools.cache
def describe_interpreter() -> dict[str, Any]:
    """Return the Python program that runs this, its version, and those of what the library asks for."""
    distribution = PACKAGE.name.replace("_", "-")
    try:
        asked = requires(distribution) or []
    except PackageNotFoundError:
        asked = []
    wanted = (text for text in asked if "extra ==" not in text or "'geant4'" in text)
    names = sorted({match[0] for text in wanted if (match := re.match(r"[A-Za-z0-9._-]+", text))})
    packages = {name: found for name in names if (found := _version(name))}
    return {
        "executable": sys.executable,
        "python": platform.python_version(),
        "packages": packages,
        "library": str(PACKAGE),
    }


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def environment_sha256() -> str:
    """Return the SHA-256 over the names and versions of all installed distributions."""
    folders = [entry for entry in sys.path if os.path.isdir(entry)]
    names = {name for folder in folders for name in os.listdir(folder) if name.endswith(".dist-info")}
    return json_sha256(sorted(names))


def describe_input(parameter: str, path: Path) -> dict[str, Any]:
    """Return name, path, size in bytes and SHA-256 of a file that a run reads."""
    size = path.stat().st_size
    return {"parameter": parameter, "path": str(path), "bytes": size, "sha256": file_sha256(path)}


def describe_code(twins: Iterable[str] | None = None) -> dict[str, Any]:
    """Return version and hash of this library, and its git commit where it runs from a clone.

    Args:
        twins: Whose code counts, see `source_sha256`.
    """
    commit, dirty = _git_state()
    return {
        "version": __version__,
        "source_sha256": source_sha256(twins),
        "git_commit": commit,
        "git_dirty": dirty,
    }


def describe_machine() -> dict[str, Any]:
    """Return Python, platform, installed packages, host and process, as found now."""
    return {
        "environment_sha256": environment_sha256(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
    }


def process_is_gone(machine: dict[str, Any], silent_s: float) -> bool:
    """Return whether the process of `describe_machine` has ended.

    A process of this host is looked up. Its start is compared too, because numbers of processes are
    used again. One of another host counts as ended when it has been silent for `SILENT_S`.

    Args:
        machine: As from `describe_machine`.
        silent_s: How long ago it last gave a sign of life.
    """
    if machine.get("host") != platform.node():
        return silent_s > SILENT_S
    try:
        started = psutil.Process(machine["pid"]).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - machine["process_started"]) > 1.0


def _git_state() -> tuple[str | None, bool | None]:
    """Return commit and whether tracked files differ from it; None where the library is not tracked."""
    if _git("ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    changes = _git("status", "--porcelain", "--untracked-files=no")
    return _git("rev-parse", "HEAD"), None if changes is None else bool(changes)


def _git(*arguments: str) -> str | None:
    command = ["git", "-C", str(PACKAGE), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
