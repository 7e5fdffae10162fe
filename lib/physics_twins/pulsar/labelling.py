"""Label every frame of a stream, keep the pieces that matter, and say why: block by block."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from physics_twins.pulsar.classifying.frame_labels import Classifier
from physics_twins.pulsar.classifying.threshold_classifier import ThresholdClassifier
from physics_twins.pulsar.formats.observation_file import FilterbankHeader
from physics_twins.pulsar.formats.spectra import Observation, open_spectra
from physics_twins.pulsar.searching.frontend import FrontEnd
from physics_twins.pulsar.streams.label_files import LabelFolder
from physics_twins.pulsar.streams.label_progress import Labelling
from physics_twins.pulsar.streams.label_run import Alert, LabelRun, Measure
from physics_twins.pulsar.streams.pulse_measure import measure_pulse
from physics_twins.pulsar.verb_parameters import KeepParameters, LabelParameters

# What is sought, or what tells it from an observation's header.
Sought = LabelParameters | Callable[[FilterbankHeader], LabelParameters]


def label(
    source: Observation,
    parameters: Sought,
    *,
    out_folder: str | os.PathLike[str],
    classifier: Classifier | None = None,
    keep: KeepParameters | None = None,
    alert: Alert | None = None,
    measure: Measure | None = measure_pulse,
    client: Any = None,
    more_to_come: bool = False,
    progress: bool = True,
) -> Labelling:
    """Label the frames of an observation, and keep what may be needed.

    The folder then holds `labels.csv` with a row for each frame (`read_labels`), `pieces/` with what
    is kept, each a file that can be searched again, `decisions.jsonl` with a line for each piece and
    each alert, and `alerts.jsonl`; `pulse_table` reads the fitted pulses from it. A call that was
    stopped goes on where it was; a finished one is found, not repeated. A process that was killed may
    raise the alerts of its last seconds again.

    Args:
        source: A dataset with `data` (time, frequency), or the path of a file that
            `files.open_observation` knows, which is streamed.
        parameters: What is sought, or what tells it from the observation's header.
        out_folder: Where to write.
        classifier: What labels frames; by default `ThresholdClassifier`.
        keep: What is kept, and what raises an alert.
        alert: Called with each alert as it stands in the log; its errors are logged and go no further.
        measure: Called for each piece with a pulse, as a dataset with what is beside it, and its
            strongest frame; what it returns goes into the log. None measures nothing.
        client: A Dask client that shares the blocks; its workers must see the file.
        more_to_come: The file is still being written: label what has all that it needs, and go on with
            the rest in a later call.
        progress: Whether a bar shows it.

    Raises:
        OtherLabellingError: The folder holds the labelling of something else.
        ValueError: There is no spectrum.
        ObservationFileError: The file is damaged or of no known format.
    """
    keep, classifier = keep or KeepParameters(), classifier or ThresholdClassifier()
    with open_spectra(source, drop_partial=more_to_come) as stream:
        if not isinstance(parameters, LabelParameters):
            parameters = parameters(stream.header)
        front_end = FrontEnd(stream.header.frequency_mhz, stream.header.sampling_time_s, parameters)
        if more_to_come and stream.n_spectra < parameters.frame_spectra:
            return Labelling.nothing(Path(out_folder))
        with LabelFolder(Path(out_folder)) as folder:
            run = LabelRun(stream, folder, front_end, classifier, keep, alert=alert, measure=measure)
            if not run.state.finished:
                run.go(client, more_to_come, show=progress)
            return run.result()
