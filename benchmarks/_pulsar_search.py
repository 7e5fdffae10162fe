"""How fast a blind search is; part of `pulsar.py`."""

import tempfile
import time
from pathlib import Path

import numpy as np

from _table import Figure, Skipped, median_and_spread, this_machine
from physics_twins.data import find_data_file
from physics_twins.pulsar.files import FilterbankHeader, FilterbankWriter, open_observation
from physics_twins.pulsar.infer import infer
from physics_twins.pulsar.parameters import SearchParameters

N_TIMINGS = 5
# The real file repeated, so that a block at its end does not rule; and 1,024 channels as the Parkes
# telescope's survey HTRU has them (Keith et al. 2010, MNRAS 409, 619), 12.6 s of noise.
N_REPEATS = 16
SURVEY, SURVEY_SPECTRA = FilterbankHeader(1024, 8, 1581.8, -0.390625, 64e-6), 3 << 16
# At a loss of 3 % there are 680 trials in the real file's band up to this DM.
REAL_DM_MAX, SURVEY_DM_MAX = 668.0, 3000.0


def search_speed() -> Figure:
    """Millions of samples that one core searches in a CPU second, in a real file and a wide range.

    336 channels at 680 DM trials; 1,024 channels at DM 0 to 3000. Reading and cleaning count.
    """
    real = find_data_file("pulsar/askap_frb_28.fil")
    if real is None:
        raise Skipped("pulsar/askap_frb_28.fil is not here: twins data fetch pulsar/askap_frb_28.fil")
    with tempfile.TemporaryDirectory() as folder:
        with open_observation(real) as file:
            header, samples = file.header, file.read(0, file.n_spectra)
        with FilterbankWriter(Path(folder, "real.fil"), header) as file:
            for _ in range(N_REPEATS):
                file.write(samples)
        rng = np.random.default_rng(0)
        with FilterbankWriter(Path(folder, "survey.fil"), SURVEY) as file:
            for _ in range(SURVEY_SPECTRA >> 14):
                noise = rng.normal(96, 16, (1 << 14, SURVEY.n_channels))
                file.write(noise.clip(0, 255).astype(np.uint8))
        found = [
            _speeds(Path(folder, "real.fil"), SearchParameters(dm_max_pc_cm3=REAL_DM_MAX)),
            _speeds(
                Path(folder, "survey.fil"),
                SearchParameters(dm_min_pc_cm3=0.0, dm_max_pc_cm3=SURVEY_DM_MAX),
            ),
        ]
    values, errors = zip(*found, strict=True)
    return Figure(list(values), list(errors), "1e6/s", "20, 10", this_machine(), (0,))


def _speeds(path: Path, search: SearchParameters) -> tuple[float, float]:
    with open_observation(path) as file:
        n_samples = file.n_spectra * len(file.header.frequency_mhz)
    spent_s = []
    for _ in range(N_TIMINGS + 1):  # the first compiles
        begun = time.process_time()
        infer(search, path)
        spent_s.append(time.process_time() - begun)
    return median_and_spread([n_samples / s / 1e6 for s in spent_s[1:]])


BENCHMARKS = {"search_msamples_per_s": search_speed}
