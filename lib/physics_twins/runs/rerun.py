"""A run done again without a browser, its numbers beside those of the first."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from physics_twins.data import write_json
from physics_twins.runs import lifecycle, notebooks
from physics_twins.runs.folder import PARAMETERS, PROVENANCE, Run, RunError, resolve
from physics_twins.runs.comparison import compare


@dataclass(frozen=True)
class Rerun:
    """Two runs of one notebook with the same parameters.

    Attributes:
        first: The one that was there.
        second: The new one, complete or failed.
    """

    first: Run
    second: Run

    @property
    def differing(self) -> dict[str, tuple[Any, Any]]:
        """Metrics that are not the same to the last digit, of both runs by name."""
        metrics = compare(self.first, self.second).metrics
        return {name: pair for name, pair in metrics.items() if pair[0] != pair[1]}


def remember(run: Run, notebook: str, values: Mapping[str, Any]) -> None:
    """Note in an interactive run which notebook it is of, and its parameters, so that it can be rerun.

    A run by `notebooks.run` has them noted already and is left as it is.

    Args:
        run: From `runs.open_run`.
        notebook: Its name, as in `pulsar/4_infer`.
        values: Values of its parameters, by name; others, as `globals()` has, are left out.

    Raises:
        ParameterError: A value is refused.
    """
    if run.status != "interactive":
        return
    source = notebooks.read(notebook)
    complete = source.check({name: values[name] for name in source.defaults if name in values})
    what = {name: value for name, value in complete.items() if name not in lifecycle.HOW}
    write_json(run.folder / PARAMETERS, what)
    write_json(run.folder / PROVENANCE, run.provenance | {"notebook": source.name})


def rerun(
    address: str, *, on: str | None = None, progress: Callable[[str], None] | None = None
) -> Rerun:
    """Run a run's notebook again with its parameters, in a new folder; the old run is kept.

    Args:
        address: The run's folder, its name or how that begins.
        on: Where heavy work runs now.
        progress: Called with each line on what happens.

    Raises:
        RunError: There is no such run, or it does not know its notebook.
    """
    first = resolve(address)
    name = first.provenance.get("notebook")
    if not name:
        raise RunError(f"{first} does not say which notebook it is of, so it cannot be run again")
    second = notebooks.run(name, first.parameters, on=on, force=True, progress=progress)
    return Rerun(first, second)
