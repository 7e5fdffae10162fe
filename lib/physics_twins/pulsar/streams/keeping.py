"""Which frames of a stream are kept and why, and the pieces that they make together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.labels import HAS_IMPULSE, HAS_INTERFERENCE, IS_OTHER, LABELS
from physics_twins.pulsar.searching.frontend import FrontEnd
from physics_twins.pulsar.streams.frame_stream import LabelledBlock
from physics_twins.pulsar.verb_parameters import LEAST_SWEEP_WIDTHS, KeepParameters

PULSE, OTHER, UNCLEAR = "pulse", "other", "unclear"
# A filter of this many of its full widths on each side holds a pulse.
PULSE_WIDTHS = 2.0


@dataclass(frozen=True)
class Decision:
    """One frame that is kept.

    Attributes:
        frame: Its number.
        start: First spectrum to keep.
        stop: The one after the last.
        why: `pulse`, `other`, or `unclear`: an impulse so long that a pulse of the lowest DM sought
            would look the same.
        label: Its label.
        p_pulse: Probability of a pulse.
        snr: S/N of its best candidate, whose DM in pc cm-3, arrival at the highest channel in s from
            the start of the observation and full width in ms follow.
    """

    frame: int
    start: int
    stop: int
    why: str
    label: str
    p_pulse: float
    snr: float
    dm_pc_cm3: float
    time_s: float
    width_ms: float


@dataclass(frozen=True)
class Piece:
    """Kept frames that overlap or touch each other, and the strongest of them."""

    start: int
    stop: int
    first_frame: int
    last_frame: int
    strongest: Decision

    def joined(self, other: Decision) -> "Piece":
        """Return the piece that holds another frame, too."""
        best = max(self.strongest, other, key=lambda d: (d.why == PULSE, d.snr))
        return Piece(
            min(self.start, other.start),
            max(self.stop, other.stop),
            min(self.first_frame, other.frame),
            max(self.last_frame, other.frame),
            best,
        )


@dataclass(frozen=True)
class KeepRule:
    """What is kept of a stream of one receiver.

    Attributes:
        keep: Margin, and whether "other" is kept.
        threshold: P(pulse) from which a frame is kept.
        front_end: What looked at the frames.
    """

    keep: KeepParameters
    threshold: float
    front_end: FrontEnd

    @property
    def margin(self) -> int:
        """The margin in samples."""
        return round(1e-3 * self.keep.margin_ms / self.front_end.band.sampling_s)

    @property
    def frame_spectra(self) -> int:
        """Spectra in a frame."""
        return self.front_end.parameters.frame_spectra

    def reasons(self, block: LabelledBlock) -> NDArray[np.str_]:
        """Return why each frame is kept, empty where it is not, shape (frame,)."""
        other = IS_OTHER[block.label] & self.keep.keep_other
        pulse = (block.p_pulse >= self.threshold) & ~IS_OTHER[block.label]
        shortest_sweep = self.front_end.parameters.dm_min_pc_cm3 * self.front_end.delay_per_dm
        long = LEAST_SWEEP_WIDTHS * block.impulse_width > shortest_sweep
        unclear = np.where(HAS_IMPULSE[block.label] & long, UNCLEAR, "")
        return np.where(pulse, PULSE, np.where(other, OTHER, unclear))

    def decisions(self, block: LabelledBlock, reasons: NDArray[np.str_]) -> list[Decision]:
        """Return what is kept of a block, in order."""
        return [self._decision(block, int(n), str(reasons[n])) for n in np.flatnonzero(reasons != "")]

    def _decision(self, block: LabelledBlock, n: int, why: str) -> Decision:
        frame, label = block.first_frame + n, int(block.label[n])
        arrival, around = int(block.sample[n]), int(np.ceil(PULSE_WIDTHS * block.width[n]))
        sweep = int(np.ceil(float(block.dm_pc_cm3[n]) * self.front_end.delay_per_dm))
        begin, end = frame * self.frame_spectra, (frame + 1) * self.frame_spectra
        first, last = (arrival - around, arrival + around) if why == PULSE else (begin, end)
        if why == PULSE and HAS_INTERFERENCE[label]:
            # The best candidate may be interference, and the pulse anywhere in the frame.
            first, last = min(first, begin), max(last, end)
        last += sweep if why == PULSE else 0
        return Decision(
            frame=frame,
            start=max(0, first - self.margin),
            stop=last + self.margin,
            why=why,
            label=LABELS[label],
            p_pulse=float(block.p_pulse[n]),
            snr=float(block.snr[n]),
            dm_pc_cm3=float(block.dm_pc_cm3[n]),
            time_s=arrival * self.front_end.band.sampling_s,
            width_ms=float(block.width[n]) * self.front_end.band.sampling_s * 1e3,
        )

    def settled(self, next_frame: int) -> int:
        """Return the spectrum before which no frame from this one on will keep anything."""
        reach = self.margin + int(np.ceil(PULSE_WIDTHS * self.front_end.plan.widths[-1]))
        return next_frame * self.frame_spectra - reach
