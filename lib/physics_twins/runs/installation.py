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


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: What it is.
        state: `ok`; `optional` when it is not there and need not be; `wrong` when something will fail.
        found: What was found, and what to do when that is not obvious.
    """

    name: str
    state: str
    found: str


@dataclass(frozen=True)
class Installation:
    """All findings; a table in a notebook."""

    findings: Sequence[Finding]

    @property
    def works(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.state != "wrong" for finding in self.findings)

    def _repr_html_(self) -> str:
        cell = "<td style='text-align:left'>{}</td>".format
        texts = [(_MARKS[f.state], f.name, html.escape(f.found)) for f in self.findings]
        rows = "".join(f"<tr>{''.join(map(cell, row))}</tr>" for row in texts)
        return f"<table>{rows}</table>"


def check_installation(real_files: Iterable[str] = ()) -> Installation:
    """Look at everything that the notebooks need; takes a few seconds, changes nothing.

    Args:
        real_files: Names of files that need not be there, as `pulsar.PUBLIC_FILES` has them.
    """
    python = f"{__version__} on Python {platform.python_version()}"
    versions = ", ".join(f"{name} {found}" for name, found in describe_interpreter()["packages"].items())
    found = [Finding("physics-twins", "ok", python), Finding("packages", "ok", versions)]
    return Installation([*found, _machine(), _compiler(), *map(_data_file, real_files), _geant4()])


def _machine() -> Finding:
    # Dask's own figures: they know the limits of a container or batch job.
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    memory_gb = MEMORY_LIMIT / 1e9
    found = f"{CPU_COUNT} cores, {memory_gb:.1f} GB of memory, {platform.system()} {platform.machine()}"
    if memory_gb < _LEAST_MEMORY_GB:
        return Finding("machine", "wrong", f"{found}; at least {_LEAST_MEMORY_GB:g} GB are needed")
    return Finding("machine", "ok", found)


def _compiler() -> Finding:
    import numba
    import numpy as np

    try:
        total = numba.njit(lambda values: values.sum())(np.arange(4.0))
    except Exception as error:  # whatever goes wrong in a compiler is the finding
        return Finding("numba", "wrong", f"cannot compile: {error}".splitlines()[0])
    if total != 6.0:
        return Finding("numba", "wrong", f"computes 0+1+2+3 as {total}")
    return Finding("numba", "ok", "compiles")


def _data_file(name: str) -> Finding:
    path = find_data_file(name)
    state = "ok" if path else "optional"
    return Finding("real file", state, str(path or f"not here: twins data fetch {name}"))


def _geant4() -> Finding:
    missing = [name for name in ("calzone", "xraylib") if find_spec(name) is None]
    if missing:
        told = f"no {' and no '.join(missing)}: pip install calzone xraylib"
        return Finding("Geant4", "optional", told)
    return Finding("Geant4", "ok", f"in calzone {version('calzone')}")
