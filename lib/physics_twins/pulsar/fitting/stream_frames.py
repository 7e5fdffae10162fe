"""A stream as frames: one turn of a known pulsar each, with the whole track of one pulse."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from scipy.ndimage import uniform_filter1d

from physics_twins.pulsar.fitting.pulse_finding import expected_boxcar_s
from physics_twins.pulsar.fitting.pulse_model import ChannelLaws
from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import scattering_time
from physics_twins.pulsar.searching.dedispersion import dedispersed

FOLDED_S = 4.0  # of the beginning, where it has to tell when pulses arrive


def frames(
    data: Observation, expected: ObservationParameters, *, arrival_s: float | None = None
) -> Iterator[xr.Dataset]:
    """Yield an observation as frames of one turn of the pulsar each, and the sweep behind it.

    So each frame holds the whole track of one pulse. A file is streamed.

    Args:
        data: With `data` (time, frequency), or the path of a file.
        expected: The calibrated observation: its period and DM say how long a frame is.
        arrival_s: When some pulse arrives at the highest channel; frames begin half a turn before, so
            that no pulse lies on an edge. By default the beginning of the data tells.
    """
    with open_spectra(data) as spectra:
        band = spectra.band
        turn = max(1, round(expected.period_s / band.sampling_s))
        lowest_mhz = band.frequency_mhz[-1]
        tail_ms = scattering_time(lowest_mhz, expected.scattering_ms, expected.scattering_index)
        behind_s = 4e-3 * (expected.width_ms + float(tail_ms))
        behind_s += expected.dm_pc_cm3 * band.delay_s_per_dm
        n_behind = int(np.ceil(behind_s / band.sampling_s))
        if arrival_s is None:
            n_folded = int((FOLDED_S + behind_s) / band.sampling_s)
            beginning = spectra.part(0, min(n_folded, spectra.n_spectra))
            boxcar_s = expected_boxcar_s(expected, ChannelLaws.of(band, expected))
            arrival_s = _an_arrival_s(beginning, expected, behind_s, boxcar_s)
        late_s = (arrival_s - spectra.first_s - expected.period_s / 2) % expected.period_s
        n = round(late_s / band.sampling_s)
        while n + turn + n_behind <= spectra.n_spectra:
            yield spectra.part(n, turn + n_behind)
            n += turn


def _an_arrival_s(
    beginning: xr.Dataset, expected: ObservationParameters, behind_s: float, boxcar_s: float
) -> float:
    """Return when a pulse arrives: where data folded with the period are highest."""
    sampling_s = beginning.attrs["sampling_time_s"]
    series = dedispersed(beginning, expected.dm_pc_cm3, cleaned=True)
    whole = series[: max(1, series.sizes["time"] - int(behind_s / sampling_s))]
    smooth = uniform_filter1d(whole.values, max(1, round(boxcar_s / sampling_s)))
    n_bins = max(1, round(expected.period_s / sampling_s))
    phase = (whole["time"].values / expected.period_s) % 1.0
    place = np.minimum((phase * n_bins).astype(int), n_bins - 1)
    folded = np.bincount(place, smooth, minlength=n_bins)
    return float(folded.argmax()) / n_bins * expected.period_s
