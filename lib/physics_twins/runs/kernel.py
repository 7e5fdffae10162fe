"""What a run's kernel tells of itself: the code that it runs, its interpreter, and what it reads."""

import threading
from pathlib import Path
from typing import Any

from physics_twins import __version__
from physics_twins.data import listen, read_json, write_json
from physics_twins.runs import provenance

TOLD = ".kernel.json"  # of a run that another process drives, until that one takes it over


def tell(folder: Path, into: str = TOLD) -> None:
    """Write into a file of the run what this process is, and from now on whatever it reads.

    Args:
        folder: The run's folder; what is read inside it is the run's own, and not told.
        into: The file, JSON; what else it holds is kept.
    """
    path, inside = folder / into, f"{folder.resolve()}/"
    facts = {
        "version": __version__,
        "parts": provenance.part_sha256s(),
        "interpreter": provenance.describe_interpreter(),
    }

    one_at_a_time = threading.Lock()  # threads of one process read, too
    heard: list[dict[str, str]] = []

    def hear(source: dict[str, str]) -> None:
        with one_at_a_time:
            if source in heard or source["name"].startswith(inside) or not folder.is_dir():
                return
            heard.append(source)
            known = read_json(path) if path.is_file() else {}
            read = known.get("sources", [])
            if source not in read:
                write_json(path, known | {"sources": [*read, source]})

    known = read_json(path) if path.is_file() else {}
    write_json(path, {"sources": []} | known | facts)
    listen(hear)


def take(folder: Path) -> dict[str, Any]:
    """Return what the kernel has told, and remove its file; empty where it has told nothing."""
    path = folder / TOLD
    if not path.is_file():
        return {}
    told = read_json(path)
    path.unlink()
    return told
