"""How long it takes to generate showers, in time of a processor, by the number made at once."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

BATCHES = (1, 100, 10_000)


def generation_time(
    generate: Callable[[int], Any],
    *,
    batches: Sequence[int] = BATCHES,
    n_repeats: int = 5,
    at_least_s: float = 0.05,
) -> xr.Dataset:
    """Return the time of a shower, in batches of several sizes.

    The time that all cores spent in this process, so that neither a busy neighbour nor more cores make
    it look faster; the first batch, in which things are loaded, does not count. A short batch is
    repeated until the clock can tell.

    Args:
        generate: Makes as many showers as it is told.
        batches: Sizes of batches.
        n_repeats: Times that each is measured.
        at_least_s: Length of one measurement.

    Returns:
        `cpu_ms` and `spread_ms`, median and half the width of the central 68 %, of one shower (batch).
    """
    generate(min(batches))
    rows = []
    for size in batches:
        found = [_once(generate, size, at_least_s) / size for _ in range(n_repeats)]
        low, middle, high = 1e3 * np.quantile(found, [0.16, 0.5, 0.84])
        rows.append((middle, (high - low) / 2))
    about = {"units": "ms", "long_name": "Processor time of a shower"}
    columns = dict(zip(("cpu_ms", "spread_ms"), np.array(rows).T, strict=True))
    return xr.Dataset(
        {name: ("batch", column, about) for name, column in columns.items()},
        {"batch": ("batch", list(batches), {"units": "1", "long_name": "Showers made at once"})},
    )


def _once(generate: Callable[[int], Any], size: int, at_least_s: float) -> float:
    begun, n = time.process_time(), 0
    while True:
        generate(size)
        n += 1
        spent = time.process_time() - begun
        if spent >= at_least_s or n >= 1000:
            return spent / n


def speed_up(
    fire: Callable[[float, int], Any],
    generate: Callable[[float, int], Any],
    energies_gev: Sequence[float],
    *,
    n_generated: int = 100,
    gev_fired: float = 100.0,
    n_repeats: int = 3,
) -> xr.Dataset:
    """Return how many times faster one program makes showers than another, energy by energy.

    Both are timed in turn in this process, so that a busy machine slows both.

    Args:
        fire: Makes so many showers of an energy in GeV, slowly, in a time in proportion to the energy.
        generate: Likewise, fast.
        energies_gev: Energies.
        n_generated: Showers that the fast one makes.
        gev_fired: Energy of all the showers together that the slow one makes; two at least.
        n_repeats: Times that each is measured.

    Returns:
        `ratio` of the processor times of a shower, median, and `spread`, half the width of the central
        68 %; `fired_ms` and `generated_ms` (energy_gev).
    """
    rows = []
    for energy in energies_gev:
        n_fired = max(int(gev_fired / energy), 2)
        generate(energy, 1)
        pairs = np.array(
            [
                [
                    _once(lambda n, e=energy: fire(e, n), n_fired, 0.0) / n_fired,
                    _once(lambda n, e=energy: generate(e, n), n_generated, 0.0) / n_generated,
                ]
                for _ in range(n_repeats)
            ]
        )
        low, middle, high = np.quantile(pairs[:, 0] / pairs[:, 1], [0.16, 0.5, 0.84])
        rows.append([middle, (high - low) / 2, *(1e3 * np.median(pairs, axis=0))])
    names = {"ratio": "1", "spread": "1", "fired_ms": "ms", "generated_ms": "ms"}
    columns = zip(names.items(), np.array(rows).T, strict=True)
    return xr.Dataset(
        {name: ("energy_gev", column, {"units": unit}) for (name, unit), column in columns},
        {"energy_gev": ("energy_gev", list(energies_gev), {"units": "GeV", "long_name": "Energy"})},
    )
