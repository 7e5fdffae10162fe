"""What this installation can do: versions, compiler, real data files, Geant4."""

from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from typing import TYPE_CHECKING

from physics_twins import __version__
from physics_twins.data import find_data_file
from physics_twins.runs.provenance import describe_interpreter

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

OK, OPTIONAL, WRONG = "✔", "-", "✘"
_Row = tuple[str, str, str]


def check_installation(real_files: Iterable[str] = ()) -> "Styler":
    """Return a table of what the notebooks need; takes a few seconds, changes nothing.

    Its columns: `state`, ✔, - for what is not there and need not be, ✘ for what will make something
    fail; `thing`; and what was `found`, with what to do about it.

    Args:
        real_files: Names of files that need not be there, as `pulsar.PUBLIC_FILES` has them.
    """
    import pandas as pd

    interpreter = describe_interpreter()
    versions = [f"{name} {version}" for name, version in interpreter["packages"].items()]
    rows = [
        (OK, "physics-twins", f"{__version__} on Python {interpreter['python']}"),
        (OK, "packages", ", ".join(versions)),
        _compiler(),
        *map(_data_file, real_files),
        _geant4(),
    ]
    table = pd.DataFrame(rows, columns=["state", "thing", "found"]).style.hide(axis="index")
    table.set_table_styles([{"selector": "th, td", "props": "text-align: left"}])
    table.format(escape="html")
    return table


def _compiler() -> _Row:
    import numba

    try:
        numba.njit(lambda number: number + 1)(1)
    except Exception as error:  # whatever goes wrong in a compiler is the finding
        return WRONG, "numba", f"cannot compile: {error}".splitlines()[0]
    return OK, "numba", "compiles"


def _data_file(name: str) -> _Row:
    path = find_data_file(name)
    found = str(path or f"not here: twins data fetch {name}")
    return OK if path else OPTIONAL, "real file", found


def _geant4() -> _Row:
    missing = [name for name in ("calzone", "xraylib") if find_spec(name) is None]
    if missing:
        return OPTIONAL, "Geant4", f"no {' and no '.join(missing)}: pip install calzone xraylib"
    return OK, "Geant4", f"in calzone {version('calzone')}"
