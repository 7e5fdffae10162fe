"""What the folders of sweeps and studies share: a name, one driver at a time, progress, a report."""

import errno
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from physics_twins.data import read_json, write_json
from physics_twins.runs import PLAN, PROVENANCE, default_root, json_sha256
from physics_twins.sweeps import farm

REPORT = "report"
LOCK = "driver.lock"
_LOOK_S = 1.0  # longer than anybody who only looks holds the lock


class FolderError(ValueError):
    """A folder that cannot be found, read or driven; the message is one sentence."""


def default(kind: str, task: str, what: Mapping[str, Any]) -> Path:
    """Return the folder of a task and of all that is asked of it: the same call finds it again.

    Args:
        kind: `sweeps` or `studies`.
        task: The task's name; the folder's name begins with it.
        what: Everything that makes a folder another one.
    """
    name = task.rpartition(":")[2].removesuffix(".ipynb")
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", name)[-40:].strip("-")
    return default_root() / kind / f"{slug}-{json_sha256(what)[:10]}"


def find(root: Path | None, holding: str) -> list[Path]:
    """Return the folders below `root` whose plan has the entry `holding`, oldest first."""
    found: list[tuple[str, Path]] = []
    for folder, subfolders, files in os.walk(root or default_root()):
        if PLAN in files or PROVENANCE in files:  # a sweep, study or run has none inside
            subfolders.clear()
        with suppress(ValueError):  # a damaged plan must not hide the others
            plan = read_json(Path(folder) / PLAN) if PLAN in files else {}
            if holding in plan:
                found.append((plan["started"], Path(folder).resolve()))
    return [folder for _, folder in sorted(found)]


def named(address: str, root: Path | None, holding: str) -> list[Path]:
    """Return the folders that `address` may name: a folder, or how the names of some begin."""
    if (Path(address).expanduser() / PLAN).is_file():
        return [Path(address)]
    return [folder for folder in find(root, holding) if folder.name.startswith(address)]


def shown(folder: Path) -> str:
    """Return a folder's path, from the current one where it lies below."""
    here = Path.cwd()
    return str(folder.relative_to(here) if here in folder.parents else folder)


def write_plan(folder: Path, plan: Mapping[str, Any]) -> None:
    """Write the plan, unless the same one is there, whenever that was begun."""
    old = read_json(folder / PLAN) if (folder / PLAN).is_file() else {}
    if {**old, "started": ""} != {**plan, "started": ""}:
        write_json(folder / PLAN, plan)


@contextmanager
def driving(folder: Path, error: type[FolderError]) -> Iterator[None]:
    """Hold the folder's lock, which the system releases when this process ends, however it does.

    Raises:
        FolderError: Another process holds it; of the type `error`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(folder / LOCK, timeout=_LOOK_S)
        lock.acquire()
    except Timeout:
        raise error(f"{folder} is being computed by another process") from None
    except (NotImplementedError, OSError) as reason:
        if getattr(reason, "errno", errno.ENOLCK) not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
            raise
        raise error(f"{folder} is on a file system without locks: give a folder elsewhere") from None
    try:
        yield
    finally:
        lock.release()


def is_driven(folder: Path) -> bool:
    """Return whether a process holds the folder's lock."""
    if not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:  # somebody else's folder, which cannot be written
        return False


class Progress:
    """A progress bar on the terminal or in the notebook; use it in a `with` block.

    Args:
        name: What goes on.
        unit: What is counted.
        n_all: How many there are.
        n_done: How many were done before.
        shown: Whether to show it.
    """

    def __init__(self, name: str, unit: str, n_all: int, n_done: int, *, shown: bool) -> None:
        from tqdm import tqdm

        self._seen = "ipykernel" in sys.modules or sys.stderr.isatty()
        options: dict[str, Any] = {"desc": name, "unit": unit, "disable": not shown}
        options |= {"mininterval": 0.2 if self._seen else 10.0, "total": n_all, "initial": n_done}
        self._bar = tqdm(**options)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def step(self, n_new: int, client: Any, facts: Mapping[str, Any]) -> None:
        """Count `n_new` more; show how many workers there are, and those facts that say something."""
        if self._bar.disable:
            return
        workers = {"workers": len(farm.workers(client))}
        told = {name: value for name, value in facts.items() if value}
        self._bar.set_postfix(workers | told, refresh=False)
        self._bar.update(n_new)
        if self._seen and not n_new:
            self._bar.refresh()


def report_of(folder: Path) -> Path | None:
    """Return the report's page, None where there is none."""
    page = folder / REPORT / "report.html"
    return page if page.is_file() else None
