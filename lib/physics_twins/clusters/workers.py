"""What workers do, kept in a file for whoever looks from another process.

`PHYSICS_TWINS_WORKERS` names the file, a run one in its own folder; without it nothing is written. It
holds `on`, where they run; `time`, when it was written, in s since 1970; `workers` by their scheduler's
address of them, and `gone`, those that were there before: of each its `name`, `n_tasks` to do,
`memory_bytes`, `limit_bytes` (0 for none) and when it was last `seen`; `jobs`, what a batch system's
jobs wait for where none has a worker, in words; and `is_closed` once the cluster is.
"""

import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from physics_twins.data import write_json

WORKERS_FILE = "PHYSICS_TWINS_WORKERS"
EVERY_S = 1.0

_log = logging.getLogger(__name__)


def keep(client: Any, on: str) -> None:
    """Keep the file, where one is named, until the client is closed."""
    if path := os.environ.get(WORKERS_FILE):
        threading.Thread(target=_keep, args=(client, on, Path(path)), daemon=True).start()


def _keep(client: Any, on: str, path: Path) -> None:
    view: dict[str, Any] = {"on": on, "workers": {}, "gone": {}, "jobs": [], "is_closed": False}
    while client.status not in ("closing", "closed"):
        try:
            view |= look(client, view)
            _write(view, path)
        except Exception:  # the cluster closes meanwhile; the next round decides
            _log.debug("could not look at the workers", exc_info=True)
        time.sleep(EVERY_S)
    _write(view | {"is_closed": True, "workers": {}}, path)


def look(client: Any, before: dict[str, Any]) -> dict[str, Any]:
    """Return what a client's workers do now, and which have gone since the view before."""
    known, tasks = client.scheduler_info(n_workers=-1)["workers"], client.processing()
    now = {address: _worker(each, tasks.get(address, ())) for address, each in known.items()}
    left = {address: each for address, each in before["workers"].items() if address not in now}
    jobs = getattr(client.cluster, "waits", [])
    return {"workers": now, "gone": before["gone"] | left, "jobs": jobs}


def _worker(known: dict[str, Any], tasks: Any) -> dict[str, Any]:
    return {
        "name": str(known["name"]),
        "n_tasks": len(tasks),
        "memory_bytes": int(known.get("metrics", {}).get("memory", 0)),
        "limit_bytes": int(known.get("memory_limit") or 0),
        "seen": float(known["last_seen"]),
    }


def _write(view: dict[str, Any], path: Path) -> None:
    if path.parent.is_dir():  # else the run has been moved away
        write_json(path, view | {"time": time.time()})
