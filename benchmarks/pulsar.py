"""Figures of the pulsar twin, each beside the peer's or the limit."""

import importlib
import sys

from _table import run_benchmarks

PARTS = (
    "simulation",
    "classifier",
    "labelling",
    "twin",
    "realism",
    "files",
    "bright",
    "gaps",
    "search",
)

if __name__ == "__main__":
    benchmarks = {}
    for part in PARTS:
        benchmarks |= importlib.import_module(f"_pulsar_{part}").BENCHMARKS
    sys.exit(bool(run_benchmarks(benchmarks)))
