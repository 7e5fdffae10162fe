"""Figures of sweeps, trainings, models and clusters: what survives which fault, and how fast it is.

This file has the name of a standard module, and scripts beside it find it first: imported as a module,
it is that standard module.
"""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec
from pathlib import Path

if __name__ == "platform":
    elsewhere = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent]
    spec = PathFinder.find_spec("platform", elsewhere)
    if spec is None or spec.loader is None:
        raise ImportError("the standard module platform is not to be found")
    sys.modules["platform"] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules["platform"])

if __name__ == "__main__":
    from _platform import FIGURES
    from _table import run_benchmarks

    raise SystemExit(run_benchmarks(FIGURES))
