"""Figures of the Virgo twin: what the classical subtraction reaches of its oracle; speed of tiles."""

import sys
import time

import numpy as np
import torch

import _virgo_cleaning
import _virgo_glitches
import _virgo_twin
import _virgo_unet
from _table import Figure, median_and_spread, run_benchmarks, this_machine
from physics_twins import virgo


def qtransform_rate() -> Figure:
    """Channel-seconds a CPU second on one core: ten channels of 8 s into pictures of 64 x 257."""
    torch.set_num_threads(1)
    tiling = virgo.Tiling(8.0, 2048.0)
    channels = torch.from_numpy(np.random.default_rng(0).standard_normal((10, 8 * 2048))).float()
    rates = []
    for _ in range(12):
        start = time.process_time()
        virgo.image(virgo.tile_energies(channels, tiling), tiling, n_times=257, n_frequencies=64)
        rates.append(80 / (time.process_time() - start))
    value, error = median_and_spread(rates[2:])
    return Figure(value, error, "1/s", 700, this_machine())


BENCHMARKS = {
    **_virgo_cleaning.BENCHMARKS,
    **_virgo_twin.BENCHMARKS,
    "qtransform_rate": qtransform_rate,
    **_virgo_glitches.BENCHMARKS,
    **_virgo_unet.BENCHMARKS,
}

if __name__ == "__main__":
    sys.exit(bool(run_benchmarks(BENCHMARKS)))
