"""What a study makes of a cell's result: the value that is to be lowest or highest, and its error."""

import difflib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from physics_twins.sweeps.records import FAILED, Record


class ObjectiveError(ValueError):
    """A result that has no usable value of the metric; the message is one sentence."""


class MissingMetricError(ObjectiveError):
    """A result in which there is no such metric at all."""


def objective(record: Record, metric: str, cells: Path) -> tuple[float, float | None]:
    """Return a metric's value and standard error, None where it has none.

    Args:
        record: A cell's record.
        metric: Its name; of a dataset, the name of a variable without dimensions.
        cells: Folder of results that are files.

    Raises:
        ObjectiveError: The cell failed, or the value is not finite.
        MissingMetricError: There is no such metric.
    """
    if record["status"] == FAILED:
        raise ObjectiveError(record["error"])
    result = record["result"]
    metrics = _scalars(cells / Path(result["file"]).name) if "file" in result else result["metrics"]
    if metric not in metrics:
        nearest = difflib.get_close_matches(metric, metrics, n=1, cutoff=0.4)
        hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(metrics) or 'none'}"
        raise MissingMetricError(f"the result has no metric {metric!r}; {hint}")
    found = metrics[metric]
    found = found if isinstance(found, Mapping) else {"value": found}
    if found["value"] is None or not math.isfinite(found["value"]):
        raise ObjectiveError(f"metric {metric} is not a finite number")
    error = found.get("error")
    return float(found["value"]), None if error is None or not math.isfinite(error) else float(error)


def unit(record: Record | None, metric: str) -> str:
    """Return the metric's unit, "" where it has none or nothing is known."""
    metrics = record["result"].get("metrics", {}) if record else {}
    found: Any = metrics.get(metric)
    return found.get("unit", "") if isinstance(found, Mapping) else ""


def _scalars(path: Path) -> dict[str, Any]:
    from physics_twins.data import open_dataset

    dataset = open_dataset(path)
    scalars = [str(name) for name, variable in dataset.data_vars.items() if not variable.dims]
    found = {name: {"value": float(dataset[name])} for name in scalars}
    for name in scalars:
        if f"{name}_error" in found:
            found[name]["error"] = found[f"{name}_error"]["value"]
    return found
