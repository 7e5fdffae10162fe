"""The trials of a study as a dataset."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from physics_twins.sweeps import combining
from physics_twins.sweeps.objective import unit
from physics_twins.sweeps.records import Record
from physics_twins.sweeps.trials import Trial


def dataset(
    plan: Mapping[str, Any], trials: Sequence[Trial], records: Mapping[str, Record]
) -> xr.Dataset:
    """Return trials as a dataset along `trial`, with the parameters that are varied as coordinates.

    Args:
        plan: The study's plan.
        trials: Its trials.
        records: Of each cell the record that counts, by key.

    Returns:
        `value` and its `error`, not a number where there is none; `status` and `reason`; `seconds` and
        `host` of the computation. A parameter's attributes say where it was searched: `low`, `high` and
        `logarithmic`, or its `choices` as JSON.
    """
    rows = [records.get(trial.key) for trial in trials]
    units = {"units": next((unit(row, plan["metric"]) for row in rows if row), "") or "1"}
    numbers = [math.nan if trial.value is None else trial.value for trial in trials]
    errors = [math.nan if trial.error is None else trial.error for trial in trials]
    seconds = [row["seconds"] if row else math.nan for row in rows]
    coordinates: dict[str, Any] = {"trial": [trial.number for trial in trials]}
    for name in (*plan["ranges"], *plan["choices"]):
        column = combining.column([trial.point[name] for trial in trials])
        attributes = combining.attributes(name, column, plan["units"]) | _searched(plan, name)
        coordinates[name] = ("trial", column, attributes)
    return xr.Dataset(
        {
            "value": ("trial", numbers, units | {"long_name": plan["metric"]}),
            "error": ("trial", errors, units | {"long_name": "standard error"}),
            "status": ("trial", np.array([trial.status for trial in trials], dtype=str)),
            "reason": ("trial", np.array([trial.reason for trial in trials], dtype=str)),
            "seconds": ("trial", seconds, {"units": "s"}),
            "host": ("trial", np.array([row["host"] if row else "" for row in rows], dtype=str)),
        },
        coords=coordinates,
        attrs={name: plan[name] for name in ("task", "title", "metric", "sampler", "seed")}
        | {"maximise": int(plan["maximise"])},
    )


def _searched(plan: Mapping[str, Any], name: str) -> dict[str, Any]:
    if name in plan["choices"]:
        return {"choices": json.dumps([str(value) for value in plan["choices"][name]])}
    low, high = plan["ranges"][name]
    return {"low": low, "high": high, "logarithmic": int(name in plan["logarithmic"])}
