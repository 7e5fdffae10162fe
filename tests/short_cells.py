"""Cells that take no time to speak of, for sweeps of many."""

import time


def millisecond(x: float) -> dict[str, float]:
    """Return the square after one millisecond of work."""
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass
    return {"square": x * x}
