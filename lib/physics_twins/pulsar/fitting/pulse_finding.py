"""The pulses of a known source in an observation, cut out as windows."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from physics_twins.data import Estimate
from physics_twins.pulsar.fitting.backgrounds import Background
from physics_twins.pulsar.fitting.pulse_fit import BOXCAR_PER_FWHM
from physics_twins.pulsar.fitting.pulse_model import (
    ChannelLaws,
    PulseWindows,
    cut,
    off_pulse_noise,
    samples,
    squared_sigma,
)
from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.infer import split_blocks
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, Band
from physics_twins.pulsar.searching.cleaning import Cleaned, clean
from physics_twins.pulsar.searching.search import Candidate, detect

DM_REACH_PC_CM3 = 1.5  # pulses are looked for so far around the start's DM
PULSE_SNR_MIN = 8.0  # of a pulse that is fitted
DM_LOSS = 0.05  # the fit finds the DM: trials only have to find the pulse
# Boxcars are tried up to so many times the length that is expected.
LONGEST_BOXCAR = 4.0
FRAME_SPECTRA = 256  # in a frame whose interference is counted
# Two pulses are so many boxcars of the stronger one apart.
LENGTHS_APART = 3.0
# Pieces on which the noise beside pulses is measured.
MAX_NOISE_PIECES = 8


@dataclass
class FoundPulses:
    """Windows around the pulses of a source, and what else its observation holds.

    Attributes:
        windows: All cut with the start's DM.
        time_s: Arrival of each by the search, at the start's DM, shape (pulse,).
        found: The search's rows of (DM, arrival in s, boxcar in s, S/N), shape (pulse, 4).
        boxcar_s: Length of boxcar that the windows are cut for.
        noise_factor: From `off_pulse_noise`, mean over pieces.
        background: Bandpass, noise and interference.
    """

    windows: PulseWindows
    time_s: NDArray[np.float64]
    found: NDArray[np.float64]
    boxcar_s: float
    noise_factor: float
    background: Background

    @property
    def snr(self) -> NDArray[np.float64]:
        """S/N of the best boxcar, shape (pulse,)."""
        return self.found[:, 3]

    def alone(self) -> dict[str, Estimate]:
        """Return what the search alone says: mean DM, and width as if boxcars told it.

        The errors are those of the means. A boxcar's length counts smearing and scattering in.
        """
        n = len(self.found)
        columns = {
            "dm_pc_cm3": (self.found[:, 0], "pc cm-3"),
            "width_ms": (1e3 * self.found[:, 2] / BOXCAR_PER_FWHM, "ms"),
        }
        return {
            name: Estimate.of(float(v.mean()), float(v.std(ddof=min(1, n - 1)) / np.sqrt(n)), unit)
            for name, (v, unit) in columns.items()
        }

    def strongest(self, n: int) -> "FoundPulses":
        """Return the strongest pulses in order of time."""
        return self.chosen(np.sort(np.argsort(-self.snr)[:n]))

    def chosen(self, which: NDArray[np.int64]) -> "FoundPulses":
        """Return some of the pulses."""
        return replace(
            self,
            windows=self.windows.chosen(which),
            time_s=self.time_s[which],
            found=self.found[which],
        )


def find_pulses(data: Observation, start: ObservationParameters) -> FoundPulses:
    """Return the pulses of an observation near a DM.

    Args:
        data: With `data` (time, frequency), or the path of a file, which is streamed.
        start: About the source's DM, width and scattering.

    Raises:
        ValueError: There is no such pulse.
    """
    parts, noise_factor = [], []
    with open_spectra(data) as spectra:
        band = spectra.band
        background, laws = Background(band, FRAME_SPECTRA), ChannelLaws.of(band, start)
        boxcar_s = expected_s = expected_boxcar_s(start, laws)
        search = _search(start, LONGEST_BOXCAR * expected_s)
        delays = band.delays(search.dm_max_pc_cm3)
        for block in split_blocks(spectra.n_spectra, band, search):
            counts = spectra.read(block.start, block.n_read)
            start_s = spectra.first_s + block.start * band.sampling_s
            cleaned = clean(counts, delays=delays)
            background.add(counts[: block.n_core], cleaned)
            place = {"n_core": block.n_core, "start_s": start_s}
            found = _apart(detect(cleaned.prepared, band, search, **place), band)
            if len(found) and not parts:
                boxcar_s = max(float(np.median(found[:, 2])), expected_s)
            if len(found):
                # A search at a wrong DM gets the arrival right in the middle of the band, not at its
                # top. All are cut with the start's DM, so that windows are alike.
                time_s = found[:, 1] + (found[:, 0] - start.dm_pc_cm3) * band.delay_s_per_dm / 2
                where = band, start.dm_pc_cm3, time_s, boxcar_s
                windows = cut(cleaned.data, *where, start_s=start_s, laws=laws)
                parts.append((windows, time_s, found))
            if len(noise_factor) < MAX_NOISE_PIECES:
                noise_factor.append(_noise(cleaned, laws, start, boxcar_s))
    if not parts:
        raise ValueError(
            f"no pulse of S/N {PULSE_SNR_MIN:g} or more within"
            f" {DM_REACH_PC_CM3:g} of dm_pc_cm3 = {start.dm_pc_cm3:g} pc cm-3"
        )
    windows, times_s, rows = (list(each) for each in zip(*parts, strict=True))
    joined = PulseWindows.joined(windows), np.concatenate(times_s), np.concatenate(rows)
    return FoundPulses(*joined, boxcar_s, float(np.mean(noise_factor)), background)


def expected_boxcar_s(start: ObservationParameters, laws: ChannelLaws) -> float:
    """Return about how long the boxcar is that finds a pulse best."""
    smearing_ms = laws.smearing_ms.mean() * start.dm_pc_cm3 / np.sqrt(12) / SIGMA_PER_FWHM
    width_ms = BOXCAR_PER_FWHM * np.hypot(start.width_ms, smearing_ms)
    tail_ms = 1.5 * start.scattering_ms * float(laws.scattering.mean())
    return 1e-3 * float(max(width_ms + tail_ms, 2 * laws.sampling_ms))


def _search(start: ObservationParameters, boxcar_s: float) -> SearchParameters:
    return SearchParameters(
        dm_min_pc_cm3=max(start.dm_pc_cm3 - DM_REACH_PC_CM3, 0.0),
        dm_max_pc_cm3=start.dm_pc_cm3 + DM_REACH_PC_CM3,
        snr_min=PULSE_SNR_MIN,
        width_max_ms=min(max(1e3 * boxcar_s / BOXCAR_PER_FWHM, 0.1), 1000.0),
        dm_loss=DM_LOSS,
    )


def _apart(candidates: list[Candidate], band: Band) -> NDArray[np.float64]:
    """Return rows of (DM, arrival in s, boxcar in s, S/N) of pulses, each of them once."""
    pulses = [c for c in candidates if c.label == "pulse"]
    rows = [(c.dm_pc_cm3, c.time_s, BOXCAR_PER_FWHM * c.width_s, c.snr) for c in pulses]
    found = np.array(rows).reshape(-1, 4)
    middle_s = found[:, 1] + found[:, 0] * band.delay_s_per_dm / 2
    kept: list[int] = []
    for n in range(len(found)):  # the strongest first
        if np.all(abs(middle_s[n] - middle_s[kept]) > LENGTHS_APART * found[kept, 2]):
            kept.append(n)
    return found[kept]


def _noise(cleaned: Cleaned, laws: ChannelLaws, start: ObservationParameters, boxcar_s: float) -> float:
    """Return the noise beside pulses of a filter that is about as long as they are."""
    delays = np.rint(laws.delay_ms * start.dm_pc_cm3 / laws.sampling_ms).astype(np.int32)
    boxcar_ms = 1e3 * boxcar_s
    n_samples = int(np.ceil(3 * boxcar_ms / laws.sampling_ms)) + 1
    variance = squared_sigma(boxcar_ms / BOXCAR_PER_FWHM)
    shape = np.array([1.5 * boxcar_ms, start.dm_pc_cm3, variance, 0.0])
    return off_pulse_noise(cleaned.data, samples(laws, shape, delays, n_samples), delays)
