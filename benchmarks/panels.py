"""Figures of the panels, beside what a hand feels and a reader waits for."""

import importlib
import sys

from _table import run_benchmarks

PARTS = ("latency", "run", "minutes", "book")

if __name__ == "__main__":
    benchmarks = {}
    for part in PARTS:
        benchmarks |= importlib.import_module(f"_panels_{part}").BENCHMARKS
    sys.exit(bool(run_benchmarks(benchmarks)))
