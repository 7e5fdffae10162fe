"""The figures of the pulsar's simulator: its speed and its memory; part of `pulsar.py`."""

import tempfile
import time
from pathlib import Path

from _table import Figure, median_and_spread, peak_memory_mb, this_machine
from physics_twins.pulsar.parameters import ALL_PHYSICS, ObservationParameters
from physics_twins.pulsar.stream import stream

HELD_OUT_SEEDS = tuple(range(9101, 9108))
# The Crab at Effelsberg: 131 072 spectra of 256 channels.
DURATION_S = 131072 * 102.4e-6
EVERYTHING = ObservationParameters(**ALL_PHYSICS).replace(period_s=0.0334)
# PsrSigSim 1.0.1, pulses, dispersion and noise only, measured on such a machine.
PEER_MSAMPLES_PER_CPU_S = 3.4


def sim_speed() -> Figure:
    """Samples simulated with all physics on, 8 bits, in a second of one core; median and spread."""
    _stream(EVERYTHING, HELD_OUT_SEEDS[0])  # what is compiled is compiled once
    rates = [_stream(EVERYTHING, seed) for seed in HELD_OUT_SEEDS]
    value, spread = median_and_spread(rates)
    unit, device = "Msamples/CPU-s", this_machine()
    return Figure(value, spread, unit, PEER_MSAMPLES_PER_CPU_S, device, HELD_OUT_SEEDS)


def stream_memory() -> Figure:
    """Peak memory of a process that streams 1 GB with all physics on to a file, Python included."""
    code = (
        "import sys; from physics_twins.pulsar.stream import write_stream;"
        "from physics_twins.pulsar.parameters import ObservationParameters as P;"
        "write_stream(P.from_json(sys.argv[1]), sys.argv[2], seed=int(sys.argv[3]), duration_s=400.0)"
    )
    with tempfile.TemporaryDirectory() as folder:
        arguments = [EVERYTHING.to_json(), str(Path(folder, "long.fil")), str(HELD_OUT_SEEDS[0])]
        value = peak_memory_mb(code, *arguments)
    return Figure(value, None, "MB", 300.0, this_machine(), HELD_OUT_SEEDS[:1])


def _stream(parameters: ObservationParameters, seed: int) -> float:
    begun, n_samples = time.process_time(), 0
    for block in stream(parameters, seed=seed, duration_s=DURATION_S):
        n_samples += block.counts.size
    return n_samples / (time.process_time() - begun) / 1e6


BENCHMARKS = {"sim_msamples_per_cpu_s": sim_speed, "stream_memory_mb": stream_memory}
