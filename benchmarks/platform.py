"""Figures of what carries all twins: what survives which fault, and how fast it is."""

import sys
from pathlib import Path

# This file has the name of a standard module, which libraries must find first: its folder steps back.
_HERE = Path(__file__).resolve().parent
sys.path.sort(key=lambda folder: Path(folder).resolve() == _HERE)

if __name__ == "platform":
    del sys.modules[__name__]
    import platform as platform
elif __name__ == "__main__":
    import _trainings
    from _table import run_benchmarks

    sys.exit(bool(run_benchmarks({**_trainings.BENCHMARKS})))
