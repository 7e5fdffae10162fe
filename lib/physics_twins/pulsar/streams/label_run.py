"""One observation being labelled into one folder: blocks in, table, pieces, log and alerts out."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from tqdm import tqdm

from physics_twins import __version__
from physics_twins.clusters import results
from physics_twins.pulsar.classifying.classifiers import Classifier
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.formats.spectra import Spectra
from physics_twins.pulsar.searching.frontend import FrontEnd
from physics_twins.pulsar.streams.frame_stream import (
    BESIDE_FRAMES,
    LabelledBlock,
    StreamBlock,
    label_block,
    label_file_block,
    split_stream,
)
from physics_twins.pulsar.streams.keeping import OTHER, PULSE, Decision, KeepRule, Piece, Pieces
from physics_twins.pulsar.streams.label_files import PIECES, LabelFolder, Labelling, Progress
from physics_twins.pulsar.streams.piece_files import BEFORE_S, write_piece
from physics_twins.pulsar.verb_parameters import KeepParameters
from physics_twins.runs import Interruption

# What was done is made safe so often; a killed process loses no more than that.
SAVE_EVERY_S = 2.0
BLOCKS_AHEAD = 2  # of each worker of a client

Alert = Callable[[Mapping[str, Any]], None]
Measure = Callable[[xr.Dataset, Decision], Mapping[str, Any]]

_log = logging.getLogger(__name__)


class OtherLabellingError(ValueError):
    """A folder that holds another labelling.

    Attributes:
        of_other_file: Whether it is that of another observation.
    """

    def __init__(self, message: str, *, of_other_file: bool) -> None:
        super().__init__(message)
        self.of_other_file = of_other_file


class LabelRun:
    """A labelling that is under way.

    Args:
        stream: The observation.
        folder: Where to write; what it says of an earlier call is taken up.
        front_end: What looks at the frames.
        classifier: What labels them.
        keep: What is kept.
        alert: Called with each alert.
        measure: Called with each piece that holds a pulse, and what is beside it.

    Raises:
        OtherLabellingError: The folder holds the labelling of something else.
    """

    def __init__(
        self,
        stream: Spectra,
        folder: LabelFolder,
        front_end: FrontEnd,
        classifier: Classifier,
        keep: KeepParameters,
        *,
        alert: Alert | None = None,
        measure: Measure | None = None,
    ) -> None:
        self._stream, self._folder, self._front_end = stream, folder, front_end
        self._classifier, self._alert, self._measure = classifier, alert, measure
        self._rule = KeepRule(
            keep,
            keep.keep_probability or classifier.keep_threshold,
            front_end.parameters.frame_spectra,
            front_end.sampling_s,
            front_end.delay_per_dm,
            front_end.parameters.dm_min_pc_cm3,
        )
        facts = self._facts()
        self.state = Progress.from_dict({"facts": facts} | folder.progress)
        if self.state.facts != facts:
            old = self.state.facts
            changed = ", ".join(name for name in facts if old.get(name) != facts[name])
            raise OtherLabellingError(
                f"{folder.path} holds another labelling, which differs in {changed}:"
                " give another folder",
                of_other_file=old.get("identity") != facts["identity"],
            )
        self._pieces = Pieces(self.state.open)
        self._since = self._saved = time.monotonic()

    def go(self, client: Any, more_to_come: bool, *, show: bool) -> None:
        """Label what there is; stop between two blocks when asked to."""
        if not self._folder.progress:
            self._folder.log("begun", source=self._stream.name, **self.state.facts)
        blocks = list(
            split_stream(
                self._stream.n_spectra,
                self._front_end,
                first_frame=self.state.next_frame,
                more_to_come=more_to_come,
            )
        )
        n_frames = -(-self._stream.n_spectra // self._front_end.parameters.frame_spectra)
        options: dict[str, Any] = {"desc": "label", "unit": "frame", "leave": False}
        bar = tqdm(total=n_frames, initial=self.state.next_frame, disable=not show, **options)
        with Interruption() as interruption, bar:
            for block in self._labelled(blocks, client):
                self._take(block)
                bar.update(len(block))
                if interruption.requested:
                    break
                if time.monotonic() - self._saved > SAVE_EVERY_S:
                    self._save()
            if not more_to_come and self.state.next_frame >= n_frames:
                self._finish()
            self._save()

    def result(self) -> Labelling:
        """Return what it has come to so far."""
        return Labelling(
            self._folder.path,
            self.state.finished,
            self.state.next_frame,
            dict(zip(LABELS, self.state.counts, strict=True)),
            self.state.n_pieces,
            self.state.kept_spectra,
            min(self.state.next_frame * self._rule.frame_spectra, self._stream.n_spectra),
            self.state.finished and self.state.n_spectra < self._stream.n_spectra,
            self.state.n_alerts,
            self.state.missing_frames / max(1, self.state.next_frame),
            self.state.seconds,
        )

    def _facts(self) -> dict[str, Any]:
        """Return what must be the same for a labelling to go on."""
        return {
            "identity": self._stream.identity(self._rule.frame_spectra),
            "parameters": self._front_end.parameters.to_papermill(),
            "keep": self._rule.keep.to_papermill(),
            "threshold": self._rule.threshold,
            "classifier": self._classifier.name,
            "version": __version__,
        }

    def _labelled(self, blocks: Iterable[StreamBlock], client: Any) -> Iterator[LabelledBlock]:
        """Yield the labels of each block in order; with a client, few are under way at a time."""
        if client is None or self._stream.path is None:
            for block in blocks:
                yield label_block(self._stream, block, self._front_end, self._classifier)
            return
        path, parameters = str(self._stream.path.resolve()), self._front_end.parameters
        told = parameters, self._classifier
        calls = (partial(label_file_block, path, block, *told) for block in blocks)
        yield from results(client, calls, ahead=BLOCKS_AHEAD)

    def _take(self, block: LabelledBlock) -> None:
        rule = self._rule
        reasons = rule.reasons(block)
        frame_s = rule.frame_spectra * rule.sampling_s
        self._folder.add_frames(block, reasons, frame_s=frame_s, sampling_s=rule.sampling_s)
        for decision in rule.decisions(block, reasons):
            self._raise_alert(decision)
            for piece in self._pieces.add(decision):
                self._keep(piece)
        new = np.bincount(block.labels.label, minlength=len(LABELS)).tolist()
        self.state.counts = [a + b for a, b in zip(self.state.counts, new, strict=True)]
        self.state.next_frame = block.first_frame + len(block)
        self.state.missing_frames += float(block.missing_fraction.sum())
        widest = float(self._front_end.plan.widths[-1])
        for piece in self._pieces.close(rule.settled(self.state.next_frame, widest)):
            self._keep(piece)

    def _raise_alert(self, decision: Decision) -> None:
        """Tell of a strong pulse, and of "other" once for frames that follow each other."""
        kind = "other"
        if decision.why == OTHER:
            goes_on = decision.frame == self.state.last_other + 1
            self.state.last_other = decision.frame
            if goes_on:
                return
        elif decision.snr >= self._rule.keep.alert_snr:
            kind = "strong pulse"
        else:
            return
        self.state.n_alerts += 1
        line = self._folder.log_alert(kind=kind, source=self._stream.name, **_told(decision))
        if self._alert:
            try:
                self._alert(line)
            except Exception as error:  # an alert that goes wrong must not stop the stream
                _log.warning("the alert of frame %d failed: %s", decision.frame, error)
                self._folder.log("alert failed", frame=decision.frame, error=str(error))

    def _keep(self, piece: Piece) -> None:
        """Write a piece, and say why."""
        start = max(piece.start, self.state.kept_until)
        stop = min(piece.stop, self._stream.n_spectra)
        if start >= stop:
            return
        path = write_piece(self._stream, self._folder.path / PIECES, start, stop)
        self.state.n_pieces, self.state.kept_until = self.state.n_pieces + 1, stop
        self.state.kept_spectra += stop - start
        strongest, sampling_s = piece.strongest, self._rule.sampling_s
        measured = {}
        if self._measure and strongest.why == PULSE:
            measured = {"measured": dict(self._measure(self._surroundings(start, stop), strongest))}
        self._folder.log(
            "kept",
            piece=f"{PIECES}/{path.name}",
            start_s=start * sampling_s,
            duration_s=(stop - start) * sampling_s,
            start_spectrum=start,
            n_spectra=stop - start,
            frames=[piece.first_frame, piece.last_frame],
            threshold=self._rule.threshold,
            classifier=self._classifier.name,
            **_told(strongest),
            **measured,
        )

    def _surroundings(self, start: int, stop: int) -> xr.Dataset:
        """Return a piece and what is beside it, as much as is there of a growing file too."""
        before = round(BEFORE_S / self._rule.sampling_s)
        behind = BESIDE_FRAMES * self._rule.frame_spectra
        first, last = max(0, start - before), min(self._stream.n_spectra, stop + behind)
        return self._stream.part(first, last - first)

    def _finish(self) -> None:
        for piece in self._pieces.close():
            self._keep(piece)
        self.state.finished, self.state.n_spectra = True, self._stream.n_spectra
        self.state.missing_frames += self._stream.n_filled_up / self._rule.frame_spectra
        done = self.result()
        self._folder.log(
            "finished",
            n_frames=done.n_frames,
            counts=done.counts,
            n_pieces=done.n_pieces,
            n_alerts=done.n_alerts,
            deleted_fraction=done.deleted_fraction,
            missing_fraction=done.missing_fraction,
        )

    def _save(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._since
        self._since = self._saved = now
        self.state.open = self._pieces.open
        self._folder.save(self.state.to_dict())


def _told(decision: Decision) -> dict[str, Any]:
    """Return what the log says of a frame."""
    return {name: v for name, v in asdict(decision).items() if name not in ("start", "stop")}
