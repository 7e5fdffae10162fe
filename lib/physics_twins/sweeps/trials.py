"""The trials of a study in Optuna's journal, a file that is only ever appended to, and their values.

A journal needs no database and works on network file systems; `optuna-dashboard` reads it.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physics_twins.data import Estimate, open_dataset, parts, plain_metrics
from physics_twins.parameters import FieldDescription, ParameterError

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

JOURNAL = "optuna.journal"
FAILED = "failed"
KEY = "key"  # attribute of every trial that was asked for completely: what its result is known by
REASON = "reason"  # attribute of a trial that was refused
SAMPLERS = ("tpe", "random")


class MetricError(ValueError):
    """A result that has no usable value of the metric; the message is one sentence."""


class MissingMetricError(MetricError):
    """A result in which there is no such metric at all."""


def metric_of(record: Mapping[str, Any], metric: str, cells: Path) -> Estimate:
    """Return a metric with its standard error and unit.

    Args:
        record: A cell's record.
        metric: Its name; of a dataset, the name of a variable without dimensions.
        cells: Folder of results that are files.

    Raises:
        MetricError: The cell failed, or the value is not finite.
        MissingMetricError: There is no such metric.
    """
    if record["status"] == FAILED:
        raise MetricError(record["error"])
    result = record["result"]
    metrics = _scalars(cells / Path(result["file"]).name) if "file" in result else result["metrics"]
    if metric not in metrics:
        known = ", ".join(metrics) or "none"
        raise MissingMetricError(f"the result has no metric {metric!r}; it has {known}")
    value, error, unit = parts(metrics[metric])
    try:
        return Estimate.of(value if value is not None else float("nan"), error, unit or "1")
    except ValueError:
        raise MetricError(f"metric {metric} is not a finite number") from None


def _scalars(path: Path) -> dict[str, Any]:
    dataset = open_dataset(path)
    found = {str(n): float(v) for n, v in dataset.data_vars.items() if not v.dims}
    units = {name: dataset[name].attrs.get("units", "") for name in found}
    return plain_metrics(
        {n: {"value": v, "error": found.get(f"{n}_error"), "unit": units[n]} for n, v in found.items()}
    )


def distribution(info: FieldDescription, values: Sequence[Any], *, is_choice: bool) -> Any:
    """Return what may become of a parameter, as Optuna has it.

    Args:
        info: The parameter.
        values: Of its type: lowest and highest, or the choices.
        is_choice: Whether they are choices.

    Raises:
        ParameterError: They are no range, or too few.
    """
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if is_choice:
        if len(values) < 2 or len(set(values)) < len(values):
            raise ParameterError(f"{info.name} needs two or more different choices, found {values}")
        return CategoricalDistribution(values)
    if info.kind not in (int, float) or info.choices:
        raise ParameterError(f"{info.name} has no range: give choices, allowed is {info.allowed}")
    kind = IntDistribution if info.kind is int else FloatDistribution
    try:
        return kind(*values, log=info.logarithmic)
    except ValueError as error:
        raise ParameterError(f"{info.name} = {values} is no range: {error}") from None


def journal(folder: Path, *, maximise: bool | None = None) -> Any:
    """Return Optuna's study in a folder.

    Args:
        folder: The study's folder. Only the process that holds its lock writes the journal, so Optuna's
            own lock, which would outlive a driver that was killed, is not used.
        maximise: Makes the study where there is none, and mends what a driver has died of writing.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path, lock = folder / JOURNAL, threading.Lock()
    if maximise is not None:
        _cut_torn_line(path)
    backend = optuna.storages.journal.JournalFileBackend(str(path), lock_obj=lock)  # pyright: ignore
    storage = optuna.storages.JournalStorage(backend)
    if maximise is None:
        return optuna.load_study(storage=storage, study_name="study")
    direction = "maximize" if maximise else "minimize"
    found = optuna.create_study(
        storage=storage, study_name="study", direction=direction, load_if_exists=True
    )
    for trial in found.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if not trial.user_attrs.get(KEY):
            fail(found, trial.number)
    return found


def asked(study: Any) -> "list[FrozenTrial]":
    """Return the trials in the order in which they were asked for, those that count."""
    return [trial for trial in study.get_trials(deepcopy=False) if KEY in trial.user_attrs]


def ask_first_for(study: Any, point: dict[str, Any], space: Mapping[str, Any]) -> None:
    """Let `point` be the first trial, where it lies in the space and does not wait already."""
    from optuna.trial import create_trial

    with suppress(ValueError):
        create_trial(params=point, distributions=dict(space), value=0.0)  # refused outside the space
        if not any(trial.state.name == "WAITING" for trial in study.get_trials(deepcopy=False)):
            study.enqueue_trial(point)


def fail(study: Any, number: int) -> None:
    """Tell that a trial failed."""
    from optuna.trial import TrialState

    study.tell(number, state=TrialState.FAIL)


def _cut_torn_line(path: Path) -> None:
    if path.is_file() and not (content := path.read_bytes()).endswith(b"\n"):
        with path.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)


def sampler(name: str, seed: int, n: int) -> Any:
    """Return what chooses the trial after `n` others: each has random numbers of its own.

    So the point depends on the seed and the trials before, and not on whether the driver was started
    again in between.
    """
    import numpy as np
    import optuna

    own_seed = int(np.random.SeedSequence(seed, spawn_key=(n,)).generate_state(1)[0])
    if name == "random":
        return optuna.samplers.RandomSampler(seed=own_seed)
    # The liar keeps workers that search at the same time away from each other's points.
    return optuna.samplers.TPESampler(seed=own_seed, constant_liar=True)
