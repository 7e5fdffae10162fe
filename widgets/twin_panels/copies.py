"""A user's own copies of the notebooks, which the lab works on: the project's stay as they are."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as ipw
from IPython.display import display

from physics_twins import data
from twin_panels.handover import button

FOLDER = "my"
_MARK = "copied_sha256"  # in a copy's metadata: what of the original it is a copy of


def lay_out(project: Path, place: Path | None = None) -> None:
    """Copy a project's notebooks to `my/notebooks/`; bring those that nobody has changed up to date.

    Cells that somebody has changed are never touched; outputs are no change.

    Args:
        project: The folder that holds `notebooks/`.
        place: Where `my/` is; the project's folder by default.
    """
    source, target = project / "notebooks", (place or project) / FOLDER / "notebooks"
    for original, copy in _pairs(source, target):
        if original.suffix != ".ipynb":
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(original, copy)
        elif not copy.exists() or _compared(original, copy) == (False, True):
            _write(original, copy)


def changed(project: Path, mine: Path) -> dict[str, bool]:
    """Return the notebooks that were changed, by name: whether the original has changed since, too."""
    found = {}
    for original, copy in _pairs(project / "notebooks", mine):
        if original.suffix == ".ipynb" and copy.exists():
            is_changed, is_outdated = _compared(original, copy)
            if is_changed:
                found[copy.relative_to(mine).with_suffix("").as_posix()] = is_outdated
    return found


def reset(project: Path, mine: Path, name: str) -> Path:
    """Put the original in the place of a copy; return where what was changed is kept, beside it."""
    copy = mine / f"{name}.ipynb"
    names = (copy.with_stem(f"{copy.stem}_mine_{number}") for number in range(1, 1000))
    kept = next(path for path in names if not path.exists())
    copy.rename(kept)
    _write(project / "notebooks" / f"{name}.ipynb", copy)
    return kept


class Copies:
    """On the start page: which notebooks were changed, and a button that brings the original back.

    Attributes:
        choice: The notebook's name.
        message: What was done last, in a sentence.
        widget: All of it; what stands at the end of a cell is shown.
    """

    def __init__(self) -> None:
        """Look among the copies around the current folder."""
        homes = data.homes()
        self._project, self._mine = homes[-1], homes[0] / "notebooks"
        self.message = ""
        self.choice = ipw.Dropdown(description="Changed", layout={"width": "auto", "max_width": "40em"})
        self._reset = button("Reset this notebook", "Bring the original back; yours is kept", "undo")
        self._reset.on_click(lambda _: self.reset())
        self._said = ipw.HTML()
        self.widget = ipw.VBox([ipw.HBox([self.choice, self._reset]), self._said])
        self._show()

    def reset(self) -> None:
        """Bring the original of the notebook that is chosen back, and say where the other is kept."""
        name = str(self.choice.value)
        try:
            kept = reset(self._project, self._mine, name)
            self.message = f"{name} is the original again: open it anew. Yours is kept as {kept.name}."
        except OSError as error:
            self.message = f"{name} could not be reset: {error}"
        self._show()

    def _show(self) -> None:
        found = changed(self._project, self._mine) if self._mine.parent.name == FOLDER else {}
        told = {True: " (the original has changed, too)", False: ""}
        self.choice.options = [(name + told[newer], name) for name, newer in found.items()]
        self.choice.value = next(iter(found), None)
        self._reset.disabled = not found
        self.widget.children[0].layout.display = "" if found else "none"
        nothing = "None of your notebooks differs from the project's, but for outputs."
        said = self.message or ("" if found else nothing)
        self._said.value = f'<div role="status">{escape(said)}</div>'

    def _ipython_display_(self) -> None:
        display(self.widget)


def _pairs(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """Yield each file of a folder and where its copy is; hidden ones are the lab's own."""
    for original in sorted(path for path in source.rglob("*") if path.is_file()):
        inner = original.relative_to(source)
        if not any(part.startswith(".") for part in inner.parts):
            yield original, target / inner


def _compared(original: Path, copy: Path) -> tuple[bool, bool]:
    """Return whether somebody has changed a copy, and whether the original has changed since then.

    A copy that cannot be read is somebody's.
    """
    try:
        content = json.loads(copy.read_text(encoding="utf-8"))
        mark, now = content["metadata"].get(_MARK), _cells_sha256(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return True, False
    return mark != now, mark != _cells_sha256(json.loads(original.read_text(encoding="utf-8")))


def _write(original: Path, copy: Path) -> None:
    content = json.loads(original.read_text(encoding="utf-8"))
    content["metadata"][_MARK] = _cells_sha256(content)
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _cells_sha256(content: dict[str, Any]) -> str:
    """Return a hash of what a user writes: kinds, sources and declared parameters."""
    cells = [[cell["cell_type"], "".join(cell["source"])] for cell in content["cells"]]
    declared = content["metadata"].get("physics_twins")
    text = json.dumps([cells, declared], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


if __name__ == "__main__":
    lay_out(*map(Path, sys.argv[1:]))
