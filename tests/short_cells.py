"""Cells that take no time to speak of, for sweeps of many."""

import time


def millisecond(x: float) -> dict[str, float]:
    """Return the square after one millisecond of work."""
    end = time.perf_counter() + 1e-3
    while time.perf_counter() < end:
        pass
    return {"square": x * x}


def square_slowly(number: int) -> int:
    """Return the square after a quarter of a second of waiting."""
    time.sleep(0.25)
    return number**2
