"""Many cells of one function or notebook, resumed where they stopped, on any Dask client."""

from physics_twins.sweeps.points import evenly, grid, read_points, sobol, with_seeds
from physics_twins.sweeps.sweep import Sweep, SweepChoice, SweepError, find, load, resolve, resume, run

__all__ = [
    "Sweep",
    "SweepChoice",
    "SweepError",
    "evenly",
    "find",
    "grid",
    "load",
    "read_points",
    "resolve",
    "resume",
    "run",
    "sobol",
    "with_seeds",
]
