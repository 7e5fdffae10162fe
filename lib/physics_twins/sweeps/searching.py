"""The driver of a study: asks for trials, lets workers compute them, and tells what came."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from physics_twins.parameters import ParameterError
from physics_twins.sweeps import folders, tasks, verdict
from physics_twins.sweeps.farm import Cell, Farm
from physics_twins.sweeps.objective import MissingMetricError, ObjectiveError, objective
from physics_twins.sweeps.records import COMPLETE, FAILED, Record, Records
from physics_twins.sweeps.search_space import SearchSpace
from physics_twins.sweeps.trials import WAITING, DrivenTrials, Trial
from physics_twins.sweeps.worker import CELLS


class Driver:
    """Brings a study, whose folder is locked, to its end.

    A trial that an earlier driver left waiting goes on: its result is taken where a worker finished it
    meanwhile, and computed otherwise.

    Attributes:
        computed: Cells that were given to workers.
    """

    def __init__(
        self, task: tasks.Task, space: SearchSpace, plan: Mapping[str, Any], folder: Path
    ) -> None:
        self._task, self._plan, self._folder = task, plan, folder
        self._trials = DrivenTrials(folder, space, maximise=plan["maximise"])
        if plan["baseline"] is not None and space.contains(plan["baseline"]):
            self._trials.ask_first_for(plan["baseline"])
        self._known: dict[str, Record] = Records(folder).by_key
        self._out: dict[str, list[Trial]] = {}  # trials by the key that they wait for
        self.computed = 0

    def has_work(self) -> bool:
        """Return whether a trial is missing.

        Raises:
            MissingMetricError: The first result does not have the metric; no other would.
        """
        trials = self._trials.all()
        if trials:
            self._check_first(trials[0])
        n_finished = sum(trial.status != WAITING for trial in trials)
        return n_finished < max(self._plan["trials"], len(trials))

    def work(self, client: Any, parallel: int | None, progress: bool) -> None:
        """Compute what is missing, `parallel` trials at a time, by default one for each worker.

        Raises:
            MissingMetricError: The first result does not have the metric; no other would.
            FarmError: The scheduler is gone.
        """
        with Farm(self._task, self._folder, client) as farm:
            for trial in self._trials.all():
                if trial.status == WAITING:
                    self._take(trial, farm)
            self._search(farm, client, parallel, progress)

    def _search(self, farm: Farm, client: Any, parallel: int | None, progress: bool) -> None:
        self._ask(farm, parallel)
        n_finished, _ = self._state()
        n_all = max(n_finished, self._plan["trials"])
        with folders.Progress("tune", "trial", n_all, n_finished, shown=progress) as bar:
            while farm.is_busy:
                self._settle(farm.step())
                self._ask(farm, parallel)
                n_before, (n_finished, facts) = n_finished, self._state()
                bar.step(n_finished - n_before, client, facts)

    def _ask(self, farm: Farm, parallel: int | None) -> None:
        """Keep as many trials with the workers as can be computed at a time."""
        n_asked, sampler = len(self._trials.all()), (self._plan["sampler"], self._plan["seed"])
        while len(self._out) < (parallel or farm.n_slots) and n_asked < self._plan["trials"]:
            number, point = self._trials.ask(*sampler)
            n_asked += 1
            try:
                key = self._cell(point).key
            except ParameterError as error:  # parameters that do not fit together
                self._trials.fail(self._trials.begin(number, ""), str(error))
            else:
                self._take(self._trials.begin(number, key), farm)

    def _take(self, trial: Trial, farm: Farm) -> None:
        """Tell a trial's result where it is known, and have it computed otherwise."""
        if trial.key in self._known:
            self._tell(trial)
            return
        if trial.key not in self._out:
            farm.add([self._cell(trial.point)])
            self.computed += 1
        self._out.setdefault(trial.key, []).append(trial)

    def _settle(self, records: Sequence[Record]) -> int:
        for record in records:
            self._known[record["key"]] = record
            for trial in self._out.pop(record["key"], []):
                self._tell(trial)
        return len(records)

    def _tell(self, trial: Trial) -> None:
        try:
            result = objective(self._known[trial.key], self._plan["metric"], self._folder / CELLS)
        except ObjectiveError as error:
            self._trials.fail(trial, str(error))
        else:
            self._trials.complete(trial, *result)
        if trial.number == 0:
            self._check_first(self._trials.all()[0])

    def _check_first(self, first: Trial) -> None:
        if first.status != FAILED or first.key not in self._known:
            return
        try:
            objective(self._known[first.key], self._plan["metric"], self._folder / CELLS)
        except MissingMetricError:
            raise
        except ObjectiveError:
            return

    def _state(self) -> tuple[int, dict[str, Any]]:
        """Return how many trials are finished, and what a progress bar tells of them."""
        trials = self._trials.all()
        states = [trial.status for trial in trials]
        best = verdict.best_of(trials, maximise=self._plan["maximise"])
        facts = {"failed": states.count(FAILED), "best": best and f"{best.value:.4g}"}
        return states.count(COMPLETE) + states.count(FAILED), facts

    def _cell(self, point: Mapping[str, Any]) -> Cell:
        values = self._task.check({**self._plan["fixed"], **point})
        return Cell(tasks.key(self._task, values), values)
