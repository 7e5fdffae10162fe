"""What this installation can do: versions, machine, compiler, real data files, Geant4."""

import html
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from physics_twins import __version__
from physics_twins.data import find_data_file
from physics_twins.runs.provenance import describe_interpreter

_MARKS = {"ok": "✔", "optional": "-", "wrong": "✘"}
# A pulsar search of the size of the notebooks needs about this much.
_LEAST_MEMORY_GB = 2.0


Finding = tuple[str, str, str]


@dataclass(frozen=True)
class Installation:
    """All findings; a table in a notebook.

    Attributes:
        findings: Of each thing its name; `ok`, `optional` when it is not there and need not be, or
            `wrong` when something will fail; and what was found, and what to do about it.
    """

    findings: Sequence[Finding]

    @property
    def works(self) -> bool:
        """Whether nothing is wrong."""
        return all(state != "wrong" for _, state, _ in self.findings)

    def _repr_html_(self) -> str:
        cell = "<td style='text-align:left'>{}</td>".format
        texts = [(_MARKS[state], name, html.escape(found)) for name, state, found in self.findings]
        rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in texts)
        return f"<table>{rows}</table>"


def check_installation(real_files: Iterable[str] = ()) -> Installation:
    """Look at everything that the notebooks need; takes a few seconds, changes nothing.

    Args:
        real_files: Names of files that need not be there, as `pulsar.PUBLIC_FILES` has them.
    """
    interpreter = describe_interpreter()
    versions = [f"{name} {version}" for name, version in interpreter["packages"].items()]
    ours = ("physics-twins", "ok", f"{__version__} on Python {interpreter['python']}")
    packages = ("packages", "ok", ", ".join(versions))
    files = map(_data_file, real_files)
    return Installation([ours, packages, _machine(), _compiler(), *files, _geant4()])


def _machine() -> Finding:
    # Dask's own figures: they know the limits of a container or batch job.
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    memory_gb = MEMORY_LIMIT / 1e9
    found = f"{CPU_COUNT} cores, {memory_gb:.1f} GB of memory, {platform.system()} {platform.machine()}"
    if memory_gb < _LEAST_MEMORY_GB:
        return "machine", "wrong", f"{found}; at least {_LEAST_MEMORY_GB:g} GB are needed"
    return "machine", "ok", found


def _compiler() -> Finding:
    import numba

    try:
        numba.njit(lambda number: number + 1)(1)
    except Exception as error:  # whatever goes wrong in a compiler is the finding
        return "numba", "wrong", f"cannot compile: {error}".splitlines()[0]
    return "numba", "ok", "compiles"


def _data_file(name: str) -> Finding:
    path = find_data_file(name)
    found = str(path or f"not here: twins data fetch {name}")
    return "real file", "ok" if path else "optional", found


def _geant4() -> Finding:
    missing = [name for name in ("calzone", "xraylib") if find_spec(name) is None]
    if missing:
        return "Geant4", "optional", f"no {' and no '.join(missing)}: pip install calzone xraylib"
    return "Geant4", "ok", f"in calzone {version('calzone')}"
