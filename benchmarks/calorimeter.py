"""Figures of the calorimeter twin, each beside the peer's or the limit."""

import importlib
import sys

from _table import run_benchmarks

PARTS = ("simulation", "baseline", "audit", "flow", "judge", "twin", "sampling")

if __name__ == "__main__":
    benchmarks = {}
    for part in PARTS:
        benchmarks |= importlib.import_module(f"_calorimeter_{part}").BENCHMARKS
    sys.exit(bool(run_benchmarks(benchmarks)))
