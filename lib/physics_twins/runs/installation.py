"""What this installation can do: versions, machine, real data files, batch systems."""

import html
import platform
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec

from physics_twins.data import find_data_file

SHOWN_PACKAGES = (
    "numpy",
    "xarray",
    "numba",
    "dask",
    "torch",
    "holoviews",
    "bokeh",
    "papermill",
    "jupyterlab",
    "uproot",
)
SUBMIT_COMMANDS = {
    "SLURM": "sbatch",
    "PBS or SGE": "qsub",
    "LSF": "bsub",
    "OAR": "oarsub",
    "HTCondor": "condor_submit",
}
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
    """All findings; prints as a table, in a notebook too."""

    findings: Sequence[Finding]

    @property
    def works(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.state != "wrong" for finding in self.findings)

    def __str__(self) -> str:
        """One line per finding."""
        return "\n".join(f"{_MARKS[f.state]} {f.name:<14} {f.found}" for f in self.findings)

    def _repr_html_(self) -> str:
        style = "text-align:left; white-space:nowrap"
        rows = [
            f"<tr><td>{_MARKS[f.state]}</td><td style='{style}'>{html.escape(f.name)}</td>"
            f"<td style='text-align:left'>{html.escape(f.found)}</td></tr>"
            for f in self.findings
        ]
        return f"<table>{''.join(rows)}</table>"


def check(real_files: Iterable[str] = ()) -> Installation:
    """Look at everything that the notebooks need; takes a few seconds, changes nothing.

    Args:
        real_files: Names of files that need not be there, as `pulsar.PUBLIC_FILES` has them.
    """
    files = [_data_file(name) for name in real_files]
    return Installation(
        [_python(), _packages(), _machine(), _compiler(), *files, _geant4(), _batch_systems()]
    )


def _python() -> Finding:
    from physics_twins import __version__

    return Finding("physics-twins", "ok", f"{__version__} on Python {platform.python_version()}")


def _packages() -> Finding:
    return Finding("packages", "ok", ", ".join(f"{name} {version(name)}" for name in SHOWN_PACKAGES))


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
    right = "compiles" if total == 6.0 else f"computes 0+1+2+3 as {total}"
    return Finding("numba", "ok" if total == 6.0 else "wrong", right)


def _data_file(name: str) -> Finding:
    path = find_data_file(name)
    state = "ok" if path else "optional"
    return Finding("real file", state, str(path or f"not here: twins data fetch {name}"))


def _geant4() -> Finding:
    missing = [name for name in ("calzone", "xraylib") if find_spec(name) is None]
    if missing:
        return Finding(
            "Geant4", "optional", f"no {' and no '.join(missing)}: pip install calzone xraylib"
        )
    return Finding("Geant4", "ok", f"in calzone {version('calzone')}")


def _batch_systems() -> Finding:
    found = [name for name, command in SUBMIT_COMMANDS.items() if shutil.which(command)]
    if not found:
        return Finding("batch system", "optional", "none here; work runs on this machine")
    return Finding("batch system", "ok", ", ".join(found))
