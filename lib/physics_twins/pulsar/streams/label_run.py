"""One observation being labelled into one folder: blocks in, table, pieces, log and alerts out."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from pydantic import TypeAdapter
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
from physics_twins.pulsar.streams.keeping import OTHER, PULSE, Decision, KeepRule, Piece
from physics_twins.pulsar.streams.label_files import PIECES, LabelFolder, Labelling
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
        of_other_file: Whether it is that of another observation, or of what was there of it once.
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

    Attributes:
        state: What it has come to.

    Raises:
        OtherLabellingError: The folder holds the labelling of something else, or of less.
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
        threshold = keep.keep_probability or classifier.keep_threshold
        self._rule = KeepRule(keep, threshold, front_end)
        facts = {
            "identity": stream.identity(self._rule.frame_spectra),
            "parameters": front_end.parameters.to_papermill(),
            "keep": keep.to_papermill(),
            "threshold": self._rule.threshold,
            "classifier": classifier.name,
            "version": __version__,
        }
        known = {"facts": facts} | folder.progress | {"folder": folder.path}
        self.state: Labelling = TypeAdapter(Labelling).validate_python(known)
        old = self.state.facts
        grown = self.state.finished and self.state.n_spectra < stream.n_spectra
        if old != facts or grown:
            changed = [name for name in facts if old.get(name) != facts[name]] or ["length"]
            raise OtherLabellingError(
                f"{folder.path} holds another labelling, which differs in {', '.join(changed)}:"
                " give another folder",
                of_other_file=grown or old.get("identity") != facts["identity"],
            )
        self._since = self._saved = time.monotonic()

    def go(self, client: Any, more_to_come: bool, *, show: bool) -> None:
        """Label what there is; stop between two blocks when asked to."""
        state, n_spectra = self.state, self._stream.n_spectra
        if not self._folder.progress:
            self._folder.log("begun", source=self._stream.name, **state.facts)
        blocks = list(
            split_stream(
                n_spectra, self._front_end, first_frame=state.n_frames, more_to_come=more_to_come
            )
        )
        n_frames = -(-n_spectra // self._rule.frame_spectra)
        options: dict[str, Any] = {"desc": "label", "unit": "frame", "leave": False}
        bar = tqdm(total=n_frames, initial=state.n_frames, disable=not show, **options)
        with Interruption() as interruption, bar:
            for block in self._labelled(blocks, client):
                self._take(block)
                bar.update(len(block))
                if interruption.requested:
                    break
                if time.monotonic() - self._saved > SAVE_EVERY_S:
                    self._save()
            if not more_to_come and state.n_frames >= n_frames:
                self._finish()
            self._save()

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
        rule, state = self._rule, self.state
        reasons = rule.reasons(block)
        sampling_s = self._front_end.band.sampling_s
        frame_s = rule.frame_spectra * sampling_s
        self._folder.add_frames(block, reasons, frame_s=frame_s, sampling_s=sampling_s)
        for decision in rule.decisions(block, reasons):
            self._raise_alert(decision)
            if state.open and decision.start <= state.open.stop:
                state.open = state.open.joined(decision)
            else:
                self._close()
                n = decision.frame
                state.open = Piece(decision.start, decision.stop, n, n, decision)
        for number, count in enumerate(np.bincount(block.label).tolist()):
            state.counts[LABELS[number]] += count
        state.n_frames = block.first_frame + len(block)
        state.n_spectra = min(state.n_frames * rule.frame_spectra, self._stream.n_spectra)
        state.missing_frames += float(block.missing_fraction.sum())
        settled = rule.settled(state.n_frames)
        if state.open and state.open.stop < settled:
            self._close()

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
        line = self._folder.log("alert", kind=kind, source=self._stream.name, **_told(decision))
        if self._alert:
            try:
                self._alert(line)
            except Exception as error:  # an alert that goes wrong must not stop the stream
                _log.warning("the alert of frame %d failed: %s", decision.frame, error)
                self._folder.log("alert failed", frame=decision.frame, error=str(error))

    def _close(self) -> None:
        """Write the open piece, and say why it is kept."""
        piece, self.state.open = self.state.open, None
        if piece is None:
            return
        start = max(piece.start, self.state.kept_until)
        stop = min(piece.stop, self._stream.n_spectra)
        if start >= stop:
            return
        path = write_piece(self._stream, self._folder.path / PIECES, start, stop)
        self.state.n_pieces, self.state.kept_until = self.state.n_pieces + 1, stop
        self.state.kept_spectra += stop - start
        strongest, sampling_s = piece.strongest, self._front_end.band.sampling_s
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
        before = round(BEFORE_S / self._front_end.band.sampling_s)
        behind = BESIDE_FRAMES * self._rule.frame_spectra
        first, last = max(0, start - before), min(self._stream.n_spectra, stop + behind)
        return self._stream.part(first, last - first)

    def _finish(self) -> None:
        self._close()
        state = self.state
        state.finished = True
        state.missing_frames += self._stream.n_filled_up / self._rule.frame_spectra
        self._folder.log("finished", counts=state.counts, **state.summary())

    def _save(self) -> None:
        now = time.monotonic()
        self.state.seconds += now - self._since
        self._since = self._saved = now
        self._folder.save(TypeAdapter(Labelling).dump_python(self.state, exclude={"folder"}))


def _told(decision: Decision) -> dict[str, Any]:
    """Return what the log says of a frame."""
    return {name: v for name, v in asdict(decision).items() if name not in ("start", "stop")}
