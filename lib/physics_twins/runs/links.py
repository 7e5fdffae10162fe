"""Runs as links: files, and the folder where JupyterLab is around; an address in its terminals."""

import json
import os
from html import escape
from pathlib import Path
from urllib.parse import quote

from jupyter_core.paths import jupyter_runtime_dir

from physics_twins.data import read_json

# What the lab opens in a tab of its own; other files are named only.
_OPENED = {".csv", ".html", ".ipynb", ".json", ".jsonl", ".md", ".png", ".txt", ".xml"}
# A page is opened beside the lab, where its scripts run; the lab would open it inside.
_BESIDE = ' target="_blank" onclick="event.stopImmediatePropagation()"'


def link(path: Path, text: str) -> str:
    """Return a link to a file, or to a folder in the lab's file browser.

    It is relative to the current folder, as a notebook there needs it. What the lab does not show, and
    a folder without a lab, are named only.

    Args:
        path: Absolute.
        text: What is read.
    """
    shown, reference = escape(text), escape(quote(os.path.relpath(path)))
    place, is_in_lab = _in_lab(path), bool(_lab()[1])
    if not path.is_dir():
        beside = _BESIDE if path.suffix == ".html" else ""
        is_opened = path.suffix in _OPENED and (place is not None or not is_in_lab)
        return f'<a href="{reference}"{beside}>{shown}</a>' if is_opened else shown
    if place is None:
        return f"<code>{shown}</code>"
    asked = escape(json.dumps({"path": place}))
    command = f'data-commandlinker-command="filebrowser:open-path" data-commandlinker-args="{asked}"'
    return f'<a href="#files" {command}><code>{shown}</code></a>'


def address(path: Path) -> str:
    """Return where a browser finds a file, in a terminal of the lab; else the file's own path."""
    if (place := _in_lab(path)) is None:
        return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    return f"{_lab()[0]}files/{quote(place)}"


def _in_lab(path: Path) -> str | None:
    """Return how the lab around names a path, None where it does not show it."""
    _, root = _lab()
    is_inside = bool(root) and path.is_relative_to(Path(root).resolve())
    return path.relative_to(Path(root).resolve()).as_posix() if is_inside else None


def _lab() -> tuple[str, str]:
    """Return address and folder of the lab that this kernel or terminal belongs to; "" for none."""
    told = os.environ
    try:
        known = Path(jupyter_runtime_dir()) / f"jpserver-{told.get('JPY_PARENT_PID', '')}.json"
        server = read_json(known)
        return str(server["url"]), str(server["root_dir"])
    except (OSError, ValueError, KeyError, TypeError):
        address, root = told.get("JUPYTER_SERVER_URL", ""), told.get("JUPYTER_SERVER_ROOT", "")
        return (f"{address.rstrip('/')}/", root) if address and root else ("", "")
