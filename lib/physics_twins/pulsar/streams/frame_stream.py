"""A stream cut into blocks of frames, and what the front end and a classifier say of one block."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.classifying.classifiers import Classifier
from physics_twins.pulsar.classifying.labels import HAS_PULSE
from physics_twins.pulsar.formats.spectra import Spectra, open_spectra
from physics_twins.pulsar.searching.cells import BASELINE_WIDTHS
from physics_twins.pulsar.searching.frontend import Frames, FrontEnd
from physics_twins.pulsar.verb_parameters import LabelParameters

# What a block holds at most, so that memory does not grow with the number of channels.
MAX_BLOCK_SAMPLES = 16_000_000
# Frames beside a block that are looked at with it, so that a strong pulse in them is known as such.
BESIDE_FRAMES = 2


@dataclass(frozen=True)
class StreamBlock:
    """Consecutive frames that are labelled at once.

    Attributes:
        first_frame: Their first.
        n_frames: How many.
        start: First spectrum that is read.
        n_read: Spectra read.
        n_before: Spectra read before those frames that are looked at.
        n_looked: Frames that are looked at: the block's and those beside it.
        skipped: How many of them come before the block's first.
    """

    first_frame: int
    n_frames: int
    start: int
    n_read: int
    n_before: int
    n_looked: int
    skipped: int


@dataclass(frozen=True)
class LabelledBlock:
    """What is known of the frames of one block.

    Attributes:
        first_frame: Their first.
        probability: Of each of `labels.LABELS`, shape (frame, label); a row adds up to 1.
        snr: S/N of the best candidate, shape (frame,).
        dm_pc_cm3: Its DM.
        sample: Its arrival at the highest channel in samples from the start of the observation.
        width: Full width of its filter in samples.
        missing_fraction: Share of samples that carry no data, shape (frame,).
        impulse_width: Length in samples of the longest impulse of the whole band, shape (frame,).
    """

    first_frame: int
    probability: NDArray[np.float32]
    snr: NDArray[np.float32]
    dm_pc_cm3: NDArray[np.float64]
    sample: NDArray[np.int64]
    width: NDArray[np.float32]
    missing_fraction: NDArray[np.float64]
    impulse_width: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.snr)

    @property
    def label(self) -> NDArray[np.int64]:
        """Numbers of `labels.LABELS`, the most probable ones, shape (frame,)."""
        return self.probability.argmax(axis=1)

    @property
    def p_pulse(self) -> NDArray[np.float32]:
        """Probability that a pulse arrives in the frame, whatever else is in it, shape (frame,)."""
        return self.probability[:, HAS_PULSE].sum(axis=1)


def split_stream(
    n_spectra: int,
    front_end: FrontEnd,
    *,
    first_frame: int = 0,
    more_to_come: bool = False,
) -> Iterator[StreamBlock]:
    """Yield blocks from a frame on; what does not fill a frame at the end is one, too.

    The last block reaches back, so that level and noise are always those of as many frames.

    Args:
        n_spectra: Spectra in the observation so far.
        front_end: It says how long frames and blocks are, and what it needs beside them.
        first_frame: First frame without a label.
        more_to_come: Leave out what would need spectra that are not there yet.
    """
    frame = front_end.parameters.frame_spectra
    length = block_frames(front_end)
    n_frames = n_spectra // frame if more_to_come else -(-n_spectra // frame)
    while first_frame < n_frames:
        n = min(length, n_frames - first_frame)
        stop = (first_frame + n + BESIDE_FRAMES) * frame + front_end.n_after
        if more_to_come and (n < length or stop > n_spectra):
            return
        beside = min(BESIDE_FRAMES, n_frames - first_frame - n)
        skipped = min(first_frame, BESIDE_FRAMES)
        before = min(first_frame - skipped, front_end.n_before // frame + length - n)
        start = (first_frame - skipped - before) * frame
        read = min(stop, n_spectra) - start
        yield StreamBlock(first_frame, n, start, read, before * frame, skipped + n + beside, skipped)
        first_frame += n


def block_frames(front_end: FrontEnd) -> int:
    """Return the number of frames in a block."""
    frame, n_channels = front_end.parameters.frame_spectra, len(front_end.band.frequency_mhz)
    wanted = min(front_end.parameters.block_frames, MAX_BLOCK_SAMPLES // (frame * n_channels))
    # Level and noise are told beside the widest pulse.
    widest = 1e-3 * front_end.parameters.width_max_ms / front_end.band.sampling_s
    return max(8, wanted, int(np.ceil(BASELINE_WIDTHS * widest / frame)))


def looked_at(source: Spectra, block: StreamBlock, front_end: FrontEnd) -> Frames:
    """Read one block and return what the front end says of its frames and of those beside it."""
    spectra = source.read(block.start, block.n_read)
    needed = block.n_before + block.n_looked * front_end.parameters.frame_spectra
    n_absent = max(0, needed - len(spectra))
    if n_absent:
        spectra = np.pad(spectra, ((0, n_absent), (0, 0)))
    place = {"n_before": block.n_before, "n_frames": block.n_looked, "n_absent": n_absent}
    return front_end(spectra, **place)


def label_block(
    source: Spectra, block: StreamBlock, front_end: FrontEnd, classifier: Classifier
) -> LabelledBlock:
    """Read one block and label its frames."""
    frames = looked_at(source, block, front_end)
    found = classifier.classify(frames)
    own = slice(block.skipped, block.skipped + block.n_frames)
    looked_from = block.start + block.n_before
    return LabelledBlock(
        block.first_frame,
        found[own],
        frames.snr[own],
        frames.dm_pc_cm3[own],
        frames.sample[own] + looked_from,
        frames.width[own],
        frames.missing_fraction[own],
        frames.impulse_width[own],
    )


def label_file_block(
    path: str, block: StreamBlock, parameters: LabelParameters, classifier: Classifier
) -> LabelledBlock:
    """Label one block of a file; a Dask worker calls this."""
    with open_spectra(path, drop_partial=True) as source:
        return label_block(source, block, FrontEnd(source.band, parameters), classifier)
