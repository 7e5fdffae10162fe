"""From spectra to what a classifier needs of each frame: a stream is worked through block by block.

A frame holds the pulses that arrive in it at the highest channel; the channels below are looked at
where the pulse is later, beyond the frame. Numbers are made for every frame; pictures only for those
that show anything at all.
"""

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.physics.ism import Band
from physics_twins.pulsar.searching import frame_statistics
from physics_twins.pulsar.searching.cells import UNIT, Cells
from physics_twins.pulsar.searching.cleaning import prepare
from physics_twins.pulsar.searching.dedispersion import dm_trials, middle_smearing
from physics_twins.pulsar.searching.dm_plane import Peaks, Plan, frame_peaks, make_plan
from physics_twins.pulsar.searching.impulses import WIDTHS as IMPULSE_WIDTHS
from physics_twins.pulsar.searching.impulses import Impulses
from physics_twins.pulsar.verb_parameters import LabelParameters

N_SUBBANDS = 32
N_BINS = 128
BINS_PER_WIDTH = 4  # bins of a stack are so much shorter than the filter that found the pulse

NOT_ZERO = 0.95  # share of noise that does not become 0 when it is rounded to 1/8 of its sigma


def cut_stack(
    data: NDArray[np.int8],
    good: NDArray[np.bool_],
    delay: NDArray[np.int32],
    *,
    sample: int,
    width: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a candidate's dedispersed subbands and how much of each is there.

    Args:
        data: Normalised spectra, 0 where removed, shape (channel, time).
        good: Channels that are used, shape (channel,).
        delay: Samples after the highest channel at the candidate's DM, shape (channel,).
        sample: Arrival at the highest channel; it lies at bin 64.
        width: Full width of the filter that found it, in samples.

    Returns:
        Sums with unit noise, shape (subband, bin) = (32, 128); and the share of samples that are
        neither removed nor outside the data in the bins of the pulse, shape (32,).
    """
    n_bin = max(1, round(width / BINS_PER_WIDTH))
    out = np.zeros((N_SUBBANDS, N_BINS), np.float32)
    present = np.zeros(N_SUBBANDS, np.float32)
    edges = np.linspace(0, len(good), N_SUBBANDS + 1).astype(np.int64)
    first = sample - N_BINS // 2 * n_bin - n_bin // 2
    _cut(data, good, delay, edges, first, n_bin, out, present)
    return out, present


@numba.njit(cache=True, nogil=True, fastmath=True)
def _cut(data, good, delay, edges, first, n_bin, out, present):  # pragma: no cover
    n_time, n_bins = data.shape[1], out.shape[1]
    n_all = n_bins * n_bin
    low, high = (n_bins // 2 - BINS_PER_WIDTH) * n_bin, (n_bins // 2 + BINS_PER_WIDTH) * n_bin
    total = np.empty(n_all, np.int32)
    for s in range(len(edges) - 1):
        n_there, n_asked, n_good = 0, 0, 0
        total[:] = 0
        for c in range(edges[s], edges[s + 1]):
            n_asked += high - low
            if not good[c]:
                continue
            n_good += 1
            begin = first + delay[c]
            after = min(max(0, -begin), n_all)
            row = data[c, min(max(0, begin), n_time) : min(n_time, max(0, begin + n_all))]
            to = total[after : after + len(row)]
            for t in range(len(row)):
                to[t] += row[t]
            for t in range(max(0, low - after), min(len(row), high - after)):
                n_there += row[t] != 0
        scale = np.float32(1 / (UNIT * np.sqrt(max(1, n_good * n_bin))))
        for b in range(n_bins):
            value = 0
            for t in range(b * n_bin, (b + 1) * n_bin):
                value += total[t]
            out[s, b] = value * scale
        present[s] = min(1.0, n_there / max(1.0, n_asked * NOT_ZERO))


# Above any of these a frame is looked at closely; white noise is below in 19 of 20 frames.
# They are told by the first part of the numbers' names.
GATES = {"snr": 4.3, "box": 5.0, "roughest": 8.0, "impulse": 4.5, "total": 5.0, "removed": 0.0}
GATE_LOWEST_SIGMA = -6.0  # or below this
# Lowest S/N of a pulse whose wings in the frames around it are known as such.
MIN_SHADOW_SNR = 7.0

SCALARS = (
    "snr",
    "octave",
    "dm_fraction",
    "snr_lowest_dm",
    "snr_highest_dm",
    "snr_mean",
    "snr_median",
    "snr_narrower",
    "snr_wider",
    "shadow_snr",
    "sweep_frames",
    *frame_statistics.NAMES,
    *(f"impulse_{width}" for width in IMPULSE_WIDTHS),
    *(f"total_{width}" for width in IMPULSE_WIDTHS),
    "impulse_fraction",
    "bad_fraction",
)


@dataclass(frozen=True)
class Frames:
    """What the front end says about consecutive frames.

    Attributes:
        scalars: Numbers named by `SCALARS`, shape (frame, scalar).
        dm_pc_cm3: DM of the best candidate, shape (frame,).
        sample: Its arrival at the highest channel, from the start of the first frame, shape (frame,).
        width: Full width of its filter in samples, shape (frame,).
        gated: Frames that are looked at closely, ascending, shape (gated,).
        stacks: Their best candidate along its track, shape (gated, 32, 128).
        present: Share of it that is neither removed nor missing, shape (gated, 32).
        cells: Their cells, highest and mean, shape (gated, 2, 16, 64).
        impulses: Their subbands without any delay, shape (gated, 16, 64).
        missing_fraction: Share of samples that carry no data, shape (frame,).
        impulse_width: Length in samples of the longest impulse that was removed, shape (frame,).
    """

    scalars: NDArray[np.float32]
    dm_pc_cm3: NDArray[np.float64]
    sample: NDArray[np.int64]
    width: NDArray[np.float32]
    gated: NDArray[np.int64]
    stacks: NDArray[np.float32]
    present: NDArray[np.float32]
    cells: NDArray[np.float32]
    impulses: NDArray[np.float32]
    missing_fraction: NDArray[np.float64]
    impulse_width: NDArray[np.int64]

    @property
    def snr(self) -> NDArray[np.float32]:
        """S/N of the best candidate, shape (frame,)."""
        return self.scalars[:, 0]


class FrontEnd:
    """Turns spectra of one receiver into `Frames`.

    Attributes:
        band: The receiver.
        parameters: What is sought.
        n_before: Spectra that it needs before the first frame of a block.
        n_after: Spectra that it needs after the last.
    """

    def __init__(self, band: Band, parameters: LabelParameters) -> None:
        """Plan the dedispersion."""
        self.band, self.parameters = band, parameters
        narrowest_s = self._narrowest_s()
        trials = dm_trials(self.band.frequency_mhz, parameters, sampling_s=narrowest_s)
        self.plan: Plan = make_plan(
            self.band.frequency_mhz,
            trials,
            sampling_s=band.sampling_s,
            width_min_s=narrowest_s,
            width_max_s=1e-3 * parameters.width_max_ms,
        )
        self._width_max = 1e-3 * parameters.width_max_ms / band.sampling_s
        # On each side of a frame the widest filter reaches over its width; in whole frames.
        frame = parameters.frame_spectra
        self.n_before = frame * max(1, int(np.ceil(self._width_max / frame)))
        self.n_after = self.n_before + self.plan.reach

    def _narrowest_s(self) -> float:
        """Return the width of the narrowest pulse as it is received: sampled, smeared in a channel."""
        smear_s = middle_smearing(self.band.frequency_mhz) * self.parameters.dm_min_pc_cm3
        width_s = max(1e-3 * self.parameters.width_min_ms, self.band.sampling_s)
        return float(np.hypot(width_s, smear_s))

    def __call__(
        self, spectra: NDArray[Any], *, n_before: int, n_frames: int, n_absent: int = 0
    ) -> Frames:
        """Return what each frame of a block shows.

        Args:
            spectra: Counts, shape (time, channel), the highest frequency first.
            n_before: Spectra before the first frame, a multiple of 16; `self.n_before` except at the
                start of an observation, where it is 0.
            n_frames: Frames; `self.n_after` spectra should follow the last. Where they do not, as at
                the end of an observation, a pulse is sought in what there is of it.
            n_absent: So many spectra at the end only fill the last frame up, and carry no data.
        """
        frame = self.parameters.frame_spectra
        place = {"start": n_before, "n_frames": n_frames, "frame_spectra": frame}
        prepared = prepare(
            spectra,
            delays=self.band.delays(self.parameters.dm_max_pc_cm3),
            width_max=self._width_max,
            n_absent=n_absent,
            **place,
        )
        data, cells, impulses = prepared.data, prepared.cells, prepared.impulses
        n_there = prepared.n_time
        peaks = frame_peaks(data, self.plan, good=prepared.good, n_time=n_there, **place)
        scalars = self._scalars(peaks, cells, impulses, n_before, n_frames)
        gated = np.flatnonzero(_gate(scalars))
        stacks, present, pictures, subbands = self._pictures(
            gated, data, cells, impulses, peaks, n_before
        )
        return Frames(
            scalars,
            self.plan.trials[peaks.trial],
            np.ceil(peaks.sample).astype(np.int64) - n_before,
            peaks.width,
            gated,
            stacks,
            present,
            pictures,
            subbands,
            _missing_fraction(prepared.missing, n_there, n_before, n_frames, frame),
            _longest_runs(impulses.removed, n_before, n_frames, frame),
        )

    def _scalars(
        self, peaks: Peaks, cells: Cells, impulses: Impulses, start: int, n_frames: int
    ) -> NDArray[np.float32]:
        """Return all numbers, shape (frame, scalar)."""
        frame = self.parameters.frame_spectra
        snr, best = peaks.snr, np.searchsorted(self.plan.widths, peaks.width)
        row = np.arange(n_frames)
        padded = peaks.widths[:, [0, *range(peaks.widths.shape[1]), -1]]
        dm = self.plan.trials[peaks.trial]
        span = np.ptp(self.plan.trials) or 1.0
        impulse_fraction = impulses.removed[start : start + n_frames * frame]
        columns = [
            snr,
            best,
            (dm - self.plan.trials[0]) / span,
            peaks.curve[:, 0],
            peaks.curve[:, -1],
            peaks.curve.mean(axis=1),
            np.median(peaks.curve, axis=1),
            padded[row, best],
            padded[row, best + 2],
            self._shadows(peaks),
            dm * self.delay_per_dm / frame,
            *frame_statistics.cell_statistics(cells, start, n_frames, frame).T,
            *impulses.common.T,
            *impulses.total.T,
            impulse_fraction.reshape(n_frames, frame).mean(axis=1),
            np.full(n_frames, cells.bad_channel.mean()),
        ]
        return np.stack(columns, axis=1).astype(np.float32)

    @property
    def delay_per_dm(self) -> float:
        """Samples across the band for a DM of 1 pc cm-3."""
        return float(self.plan.reach / max(self.plan.trials[-1], 1e-9))

    def _shadows(self, peaks: Peaks) -> NDArray[np.float32]:
        """Return the S/N of the pulse in another frame whose wing a frame's candidate is, else 0.

        At a wrong DM a strong pulse seems to arrive at another time, in another frame. A candidate is
        such a wing where its track crosses that of the stronger one inside the band.
        """
        snr, sample, dm = peaks.snr, peaks.sample, self.plan.trials[peaks.trial]
        out = np.zeros(len(snr), np.float32)
        for strong in np.flatnonzero(snr >= MIN_SHADOW_SNR):
            later = sample - sample[strong]
            at_end = later + (dm - dm[strong]) * self.delay_per_dm
            reach = peaks.width + peaks.width[strong]
            crosses = (np.minimum(later, at_end) <= reach) & (np.maximum(later, at_end) >= -reach)
            weaker = crosses & (snr < snr[strong])
            out[weaker] = np.maximum(out[weaker], snr[strong])
        return out

    def _pictures(
        self,
        gated: NDArray[np.int64],
        data: NDArray[np.int8],
        cells: Cells,
        impulses: Impulses,
        peaks: Peaks,
        start: int,
    ) -> tuple[NDArray[np.float32], ...]:
        frame = self.parameters.frame_spectra
        stacks = np.zeros((len(gated), N_SUBBANDS, N_BINS), np.float32)
        present = np.zeros((len(gated), N_SUBBANDS), np.float32)
        pictures = np.zeros((len(gated), 2, 16, frame_statistics.PICTURE_CHANNELS), np.float32)
        subbands = np.zeros((len(gated), 16, frame_statistics.PICTURE_TIMES), np.float32)
        for n, f in enumerate(gated):
            stacks[n], present[n] = cut_stack(
                data,
                ~cells.bad_channel,
                self.band.whole_delays(self.plan.trials[peaks.trial[f]]),
                sample=int(np.ceil(peaks.sample[f])),
                width=float(peaks.width[f]),
            )
            pictures[n] = frame_statistics.cell_picture(cells, start + f * frame, frame)
            subbands[n] = frame_statistics.impulse_picture(impulses, start + f * frame, frame)
        return stacks, present, pictures, subbands


def _missing_fraction(
    missing: NDArray[np.bool_] | None, n_there: int, start: int, n_frames: int, frame: int
) -> NDArray[np.float64]:
    """Return the share of each frame's samples that were recorded without data, shape (frame,)."""
    out = np.zeros((n_frames, frame))
    if missing is not None:
        recorded = missing[start : min(n_there, start + out.size)].mean(axis=1)
        out.flat[: len(recorded)] = recorded
    return out.mean(axis=1)


def _longest_runs(
    removed: NDArray[np.bool_], start: int, n_frames: int, frame: int
) -> NDArray[np.int64]:
    """Return the length of the longest run of removed spectra that reaches into each frame."""
    out = np.zeros(n_frames, np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], removed, [False]]).astype(np.int8)))
    for begin, end in edges.reshape(-1, 2) - start:
        first, last = max(begin // frame, 0), min((end - 1) // frame, n_frames - 1)
        out[first : last + 1] = np.maximum(out[first : last + 1], end - begin)
    return out


def _gate(scalars: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which frames show anything, shape (frame,)."""
    gates = np.array([GATES.get(name.split("_")[0], np.inf) for name in SCALARS], np.float32)
    low = scalars[:, SCALARS.index("lowest")] < GATE_LOWEST_SIGMA
    return (scalars > gates).any(axis=1) | low
