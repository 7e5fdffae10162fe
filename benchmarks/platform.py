"""Figures of what carries the twins: training, models, sweeps, clusters."""

import sys
from pathlib import Path

# A script's folder comes first where Python looks, so this file would hide Python's own `platform` from
# every library that a benchmark imports: the folder steps back, and who wants that module gets it.
_HERE = Path(__file__).resolve().parent
sys.path.sort(key=lambda folder: Path(folder).resolve() == _HERE)

if __name__ == "platform":
    del sys.modules[__name__]
    import platform as platform
elif __name__ == "__main__":
    import _clusters
    import _models
    import _sweeps
    import _trainings
    from _table import run_benchmarks

    parts = (_sweeps, _trainings, _models, _clusters)
    sys.exit(bool(run_benchmarks({k: v for part in parts for k, v in part.BENCHMARKS.items()})))
