"""A stream as frames: one turn of a known pulsar each, with the whole track of one pulse."""

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d

from physics_twins.pulsar.fitting.pieces import Piece, pieces, receiver
from physics_twins.pulsar.fitting.pulse_finding import expected_boxcar_s
from physics_twins.pulsar.fitting.pulse_model import ChannelLaws
from physics_twins.pulsar.formats.spectra import Observation
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.physics.ism import Band, scattering_time
from physics_twins.pulsar.searching.cleaning import clean
from physics_twins.pulsar.searching.dedispersion import dedisperse, delay_samples, longest_delays


def frames(
    data: Observation, expected: ObservationParameters, *, arrival_s: float | None = None
) -> Iterator[xr.Dataset]:
    """Yield an observation as frames of one turn of the pulsar each, and the sweep behind it.

    So each frame holds the whole track of one pulse. A file is streamed.

    Args:
        data: As in `pieces.pieces`.
        expected: The calibrated observation: its period and DM say how long a frame is.
        arrival_s: When some pulse arrives at the highest channel; frames begin half a turn before, so
            that no pulse lies on an edge. By default the beginning of the data tells.
    """
    band = receiver(data)
    turn = max(1, round(expected.period_s / band.sampling_s))
    tail_ms = (
        4
        * scattering_time(band.frequency_mhz[-1:], expected.scattering_ms, expected.scattering_index)[0]
    )
    behind_ms = 4 * expected.width_ms + float(tail_ms)
    sweep_s = expected.dm_pc_cm3 * band.delay_s_per_dm + 1e-3 * behind_ms
    n_behind = int(np.ceil(sweep_s / band.sampling_s))
    search = SearchParameters(dm_min_pc_cm3=0.0, dm_max_pc_cm3=max(expected.dm_pc_cm3, 1.0))
    rest = np.empty((0, len(band.frequency_mhz)))
    rest_s: float | None = None
    for piece in pieces(data, band, search):
        core = piece.spectra[: piece.n_core]
        if isinstance(data, xr.Dataset) and "frame" in data["data"].dims:
            yield _frame(piece.spectra, band, piece.start_s)
            continue
        n = 0
        if rest_s is None:
            rest_s = piece.start_s
            if arrival_s is None:
                arrival_s = _an_arrival_s(piece, expected, band)
            late_s = (arrival_s - rest_s - expected.period_s / 2) % expected.period_s
            n = round(late_s / band.sampling_s)
        rest = np.concatenate([rest, core]) if len(rest) else core
        while n + turn + n_behind <= len(rest):
            yield _frame(rest[n : n + turn + n_behind], band, rest_s + n * band.sampling_s)
            n += turn
        rest, rest_s = rest[n:], rest_s + n * band.sampling_s


def _an_arrival_s(piece: Piece, expected: ObservationParameters, band: Band) -> float:
    """Return when a pulse arrives: where a piece folded with the period is highest."""
    delays = longest_delays(band.frequency_mhz, expected.dm_pc_cm3, band.sampling_s)
    cleaned = clean(piece.spectra, delays=delays)
    dm = np.array([expected.dm_pc_cm3])
    delays = delay_samples(band.frequency_mhz, dm, band.sampling_s)[0]
    series, present = dedisperse(cleaned.data, delays, ~cleaned.bad_channel)
    n_box = max(
        1,
        round(
            expected_boxcar_s(expected, ChannelLaws.of(band, expected.scattering_index))
            / band.sampling_s
        ),
    )
    smooth = uniform_filter1d(np.where(present == present.max(), series, 0.0), n_box)
    n_bins = max(1, round(expected.period_s / band.sampling_s))
    phase = (np.arange(len(smooth)) * band.sampling_s / expected.period_s) % 1.0
    place = np.minimum((phase * n_bins).astype(int), n_bins - 1)
    folded = np.bincount(place, smooth, minlength=n_bins)
    return piece.start_s + float(folded.argmax()) / n_bins * expected.period_s


def _frame(spectra: NDArray[np.generic], band: Band, start_s: float) -> xr.Dataset:
    time_s = start_s + np.arange(len(spectra)) * band.sampling_s
    return xr.Dataset(
        {"data": (("time", "frequency"), spectra, {"units": "counts"})},
        coords={
            "time": ("time", time_s, {"units": "s"}),
            "frequency": ("frequency", band.frequency_mhz, {"units": "MHz"}),
        },
        attrs={"sampling_time_s": band.sampling_s},
    )
