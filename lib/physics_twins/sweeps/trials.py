"""The trials of a study in Optuna's journal, a file that is only ever appended to.

Only the process that holds the folder's lock writes it, so Optuna's own lock, which would outlive a
driver that was killed, is not used. A journal needs no database and works on network file systems;
`optuna-dashboard` reads it.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from physics_twins.sweeps.records import COMPLETE, FAILED
from physics_twins.sweeps.search_space import SearchSpace

JOURNAL = "optuna.journal"
SAMPLERS = ("tpe", "random")
WAITING = "waiting"
FEWEST = 10  # complete trials, below which importances say nothing
_NAME = "study"
_KEY = "key"  # attribute of every trial that was asked for completely


@dataclass(frozen=True)
class Trial:
    """One point that was tried.

    Attributes:
        number: Position among the trials, from 0.
        journal_number: What Optuna calls it; higher where a driver broke off while asking for one.
        point: The parameters that are varied.
        key: What its result is known by, see `tasks.key`; "" where the point was refused.
        status: One of complete, failed, waiting.
        value: The metric.
        error: Its standard error, None where it has none.
        reason: Why it failed.
    """

    number: int
    journal_number: int
    point: dict[str, Any]
    key: str
    status: str
    value: float | None = None
    error: float | None = None
    reason: str = ""


def read(folder: Path) -> list[Trial]:
    """Return the trials of the study in a folder, whether or not they are being driven."""
    if not (folder / JOURNAL).is_file():
        return []
    study = _optuna().load_study(storage=_storage(folder), study_name=_NAME)
    return [_trial(n, frozen) for n, frozen in enumerate(_asked(study))]


def importances(folder: Path) -> dict[str, float]:
    """Return how much each parameter matters for coming among the best; they add up to 1.

    The best are the `best_fraction`. Empty where too few trials are complete, or all are equal.
    PED-ANOVA: Watanabe et al. 2023, IJCAI (arXiv:2304.10255).
    """
    values = [trial.value for trial in read(folder) if trial.status == COMPLETE]
    if len(values) < FEWEST or len(set(values)) == 1:
        return {}
    optuna = _optuna()
    study = optuna.load_study(storage=_storage(folder), study_name=_NAME)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(
            target_quantile=best_fraction(len(values))
        )
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in found.items()}


def best_fraction(n: int) -> float:
    """Return which part of `n` trials counts as the best: a tenth, and never less than five.

    >>> best_fraction(20), best_fraction(200)
    (0.25, 0.1)
    """
    return max(0.1, 5 / n)


class DrivenTrials:
    """The trials of a study whose folder this process has locked.

    Args:
        folder: The study's folder.
        space: What is varied.
        maximise: Whether a high value is good.
    """

    def __init__(self, folder: Path, space: SearchSpace, *, maximise: bool) -> None:
        _mend(folder / JOURNAL)
        self._storage = _storage(folder)
        self._study = _optuna().create_study(
            storage=self._storage,
            study_name=_NAME,
            direction="maximize" if maximise else "minimize",
            load_if_exists=True,
        )
        self._distributions = space.distributions()

    def all(self) -> list[Trial]:
        """Return all trials, in the order in which they were asked for."""
        return [_trial(n, frozen) for n, frozen in enumerate(_asked(self._study))]

    def ask_first_for(self, point: Mapping[str, Any]) -> None:
        """Let `point` be the first trial, unless there is one."""
        waiting = self._study.get_trials(states=(_optuna().trial.TrialState.WAITING,))
        if not waiting and not _asked(self._study):
            self._study.enqueue_trial(dict(point))

    def ask(self, sampler: str, seed: int) -> tuple[int, dict[str, Any]]:
        """Return the journal's number of a new trial and its point; `begin` must be called next.

        Which point that is depends on `seed` and the trials before, and not on whether the driver was
        started again in between: every trial has random numbers of its own.
        """
        self._drop_torn()
        self._study.sampler = _sampler(sampler, seed, len(_asked(self._study)))
        trial = self._study.ask(self._distributions)
        return trial.number, trial.params

    def begin(self, number: int, key: str) -> Trial:
        """Note which result a trial waits for; from now on it counts."""
        self._set(number, _KEY, key)
        return self.all()[-1]

    def complete(self, trial: Trial, value: float, error: float | None) -> None:
        """Tell a trial's value and its standard error."""
        if error is not None:
            self._set(trial.journal_number, "error", error)
        self._study.tell(trial.journal_number, value)

    def fail(self, trial: Trial, reason: str) -> None:
        """Tell that a trial failed, and why."""
        self._set(trial.journal_number, "reason", reason)
        self._study.tell(trial.journal_number, state=_optuna().trial.TrialState.FAIL)

    def _drop_torn(self) -> None:
        """Close trials that a driver died of asking for; they do not count."""
        state = _optuna().trial.TrialState
        for frozen in self._study.get_trials(deepcopy=False, states=(state.RUNNING,)):
            if _KEY not in frozen.user_attrs:
                self._study.tell(frozen.number, state=state.FAIL)

    def _set(self, number: int, name: str, value: Any) -> None:
        study_id = self._storage.get_study_id_from_name(_NAME)
        trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, number)
        self._storage.set_trial_user_attr(trial_id, name, value)


class _LockHeldElsewhere:
    """Stands for a lock where the whole folder is locked already."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _optuna() -> Any:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _storage(folder: Path) -> Any:
    storages = _optuna().storages
    backend = storages.journal.JournalFileBackend(str(folder / JOURNAL), lock_obj=_LockHeldElsewhere())
    return storages.JournalStorage(backend)


def _mend(path: Path) -> None:
    """Cut off a last line that was not written to its end."""
    if path.is_file() and (content := path.read_bytes()) and not content.endswith(b"\n"):
        with path.open("rb+") as file:
            file.truncate(content.rfind(b"\n") + 1)


def _sampler(name: str, seed: int, n: int) -> Any:
    import numpy as np

    own_seed = int(np.random.SeedSequence(seed, spawn_key=(n,)).generate_state(1)[0])
    samplers = _optuna().samplers
    if name == "random":
        return samplers.RandomSampler(seed=own_seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", _optuna().exceptions.ExperimentalWarning)
        # The liar keeps workers that search at the same time away from each other's points.
        return samplers.TPESampler(seed=own_seed, constant_liar=True)


def _asked(study: Any) -> list[Any]:
    return [frozen for frozen in study.get_trials(deepcopy=False) if _KEY in frozen.user_attrs]


def _trial(n: int, frozen: Any) -> Trial:
    states = {"COMPLETE": COMPLETE, "FAIL": FAILED}
    facts = frozen.user_attrs
    return Trial(
        number=n,
        journal_number=frozen.number,
        point=dict(frozen.params),
        key=facts[_KEY],
        status=states.get(frozen.state.name, WAITING),
        value=frozen.value if frozen.state.name == "COMPLETE" else None,
        error=facts.get("error"),
        reason=facts.get("reason", ""),
    )
