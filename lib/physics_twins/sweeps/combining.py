"""The cells of a sweep as one dataset, with the parameters that were varied as coordinates."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from physics_twins.data import file_sha256, open_dataset, plain_name
from physics_twins.sweeps.records import COMPLETE, Record

CELL = "cell"


def combine(
    points: Sequence[Mapping[str, Any]],
    records: Sequence[Record | None],
    cells: Path,
    *,
    units: Mapping[str, str],
) -> xr.Dataset:
    """Return the results of all points.

    Args:
        points: The parameters that were varied, for each cell.
        records: Of each cell the record that counts, None where it was not computed.
        cells: Folder of results that are files.
        units: Units of parameters by name; others are pure numbers or text.

    Returns:
        Where the points are a full grid, each varied parameter is a dimension; else the dimension is
        `cell` and the parameters are coordinates along it. Variables are the metrics, each with
        `<name>_error` where it has errors, or those of the datasets. `complete` says which cells
        have results; the others are not a number. Of two things with one name, a parameter's or
        `complete` of the cells gets the name with a `_` at its end; a name that netCDF cannot hold
        gets another, and stands in `long_name`. The attribute `not_combined` names what does not fit
        together or into a number, and why.

    Raises:
        ValueError: A file is damaged, or the results do not fit together.
    """
    complete = [record is not None and record["status"] == COMPLETE for record in records]
    done = [record["result"] for record in records if record and record["status"] == COMPLETE]
    with_file = ["file" in result for result in done]
    if any(with_file) and not all(with_file):
        raise ValueError("the cells do not fit together: some gave a dataset and others numbers")
    if any(with_file):
        flat = _joined([_read(cells, result) for result in done], complete)
    else:
        flat = _table([result["metrics"] for result in done], complete)
    taken = {str(name) for name in (*flat.variables, *flat.dims)}
    about = {"long_name": "whether the cell has a result"}
    flat[_free("complete", taken)] = (CELL, np.array(complete), about)
    names = list(dict.fromkeys(name for point in points for name in point))
    columns = {}
    for name in names:
        values = column([point.get(name) for point in points])
        columns[_free(name, taken | {CELL})] = xr.Variable(
            CELL, values, attributes(name, values, units)
        )
    axes = _axes({name: variable.values for name, variable in columns.items()})
    return flat.assign_coords(columns) if axes is None else _gridded(flat, columns, axes)


def _free(name: str, taken: set[str]) -> str:
    """Return the name with as many `_` at its end as it needs to be new; it is taken then."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _table(results: Sequence[Mapping[str, Any]], complete: Sequence[bool]) -> xr.Dataset:
    names = list(dict.fromkeys(name for metrics in results for name in metrics))
    places = np.flatnonzero(complete)
    taken = {CELL}
    titles = {name: _free(plain_name(name), taken) for name in names}
    variables: dict[str, Any] = {}
    left_out: list[str] = []
    for name, title in titles.items():
        metrics = [m if isinstance(m := each.get(name), Mapping) else {"value": m} for each in results]
        units = {unit for m in metrics if (unit := m.get("unit"))} or {"1"}
        if len(units) > 1:
            left_out.append(f"{name} has units {sorted(units)}")
            continue
        about = {"units": min(units)} | ({} if title == name else {"long_name": name})
        for part in ("value", "error"):
            column = np.full(len(complete), np.nan)
            column[places] = [_number(m.get(part)) for m in metrics]
            n_lost = int(np.isinf(column).sum())
            if n_lost:
                left_out.append(f"{name} is too large for a number in {n_lost} cells")
                column[np.isinf(column)] = np.nan
            if part == "value" or any("error" in m for m in metrics):
                own = title if part == "value" else _free(f"{title}_error", taken)
                variables[own] = (CELL, column, about)
    told = {"not_combined": "; ".join(left_out)} if left_out else {}
    return xr.Dataset(variables, attrs=told)


def _number(value: Any) -> float:
    """Return a metric as a number; infinite where it is an integer that is too large for one."""
    try:
        return math.nan if value is None else float(value)
    except OverflowError:
        return math.inf


def _joined(results: Sequence[xr.Dataset], complete: Sequence[bool]) -> xr.Dataset:
    places = xr.DataArray(np.flatnonzero(complete), dims=CELL, name=CELL)
    try:
        joined = xr.concat(
            results,
            places,
            data_vars="all",
            coords="different",
            compat="equals",
            join="outer",
            combine_attrs="drop_conflicts",
        )
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the cells' datasets do not fit together: {reason}") from None
    everywhere = joined.reindex({CELL: np.arange(len(complete))}).drop_vars(CELL)
    truths = {name for each in results for name, v in each.variables.items() if v.dtype.kind == "b"}
    mixed = {n: v for n, v in everywhere.variables.items() if n in truths or v.dtype.kind == "O"}
    return everywhere.assign({name: _with_gaps(v, name in truths) for name, v in mixed.items()})


def _with_gaps(variable: xr.Variable, is_truth: bool) -> xr.Variable:
    """Return truth values or text with gaps as what a file can hold: not a number, or ""."""
    if is_truth and variable.dtype.kind != "b":
        numbers = variable.values.astype(float)
        return xr.Variable(variable.dims, numbers, {"units": "1"} | variable.attrs)
    if variable.dtype.kind != "O":
        return variable
    text = np.where(pd.isnull(variable.values), "", variable.values).astype(str)
    return xr.Variable(variable.dims, text, variable.attrs)


def _read(cells: Path, result: Mapping[str, Any]) -> xr.Dataset:
    path = cells / Path(result["file"]).name
    if file_sha256(path) != result["sha256"]:
        raise ValueError(f"{path} has changed since it was written: delete it to compute it again")
    dataset = open_dataset(path).drop_encoding()  # of one cell, and not of all together
    names = {str(name) for name in (*dataset.variables, *dataset.dims)}
    return dataset.rename({CELL: _free(CELL, names)}) if CELL in names else dataset


def column(values: Sequence[Any]) -> np.ndarray:
    """Return a parameter's values as numbers where they are, else as text."""
    if all(isinstance(value, bool) for value in values):
        return np.array(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = np.array(values)
        # Integers beyond 64 bits, or on both sides of what fits, make no column of numbers.
        exact = numbers.dtype.kind != "f" or not any(
            isinstance(value, int) and int(float(value)) != value for value in values
        )
        if numbers.dtype.kind != "O" and exact:
            return numbers
    return np.array([str(value) for value in values])


def attributes(name: str, column: np.ndarray, units: Mapping[str, str]) -> dict[str, str]:
    """Return the attributes of a parameter's coordinate: units, where its values are numbers."""
    return {"units": units.get(name) or "1"} if column.dtype.kind in "iuf" else {}


def _axes(columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray] | None:
    """Return the values along each dimension of a full grid, None where the points are none."""
    axes = {name: np.unique(column) for name, column in columns.items()}
    n = len(next(iter(columns.values()))) if columns else 0
    shape = tuple(len(values) for values in axes.values())
    if not columns or math.prod(shape) != n:
        return None
    return axes if len(np.unique(_places(columns, axes))) == n else None


def _places(columns: Mapping[str, np.ndarray], axes: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return each cell's position in the grid, the last axis fastest."""
    indices = [np.searchsorted(axes[name], column) for name, column in columns.items()]
    return np.ravel_multi_index(indices, tuple(len(values) for values in axes.values()))


def _gridded(
    flat: xr.Dataset, columns: Mapping[str, xr.Variable], axes: Mapping[str, np.ndarray]
) -> xr.Dataset:
    order = np.argsort(_places({name: column.values for name, column in columns.items()}, axes))
    shape = tuple(len(values) for values in axes.values())
    variables = {}
    for name, variable in flat.variables.items():
        if CELL not in variable.dims:
            variables[name] = variable
            continue
        values = variable.transpose(CELL, ...).values[order]
        inner = [dim for dim in variable.dims if dim != CELL]
        grid = values.reshape(shape + values.shape[1:])
        variables[name] = ((*axes, *inner), grid, variable.attrs)
    coordinates = {name: (name, values, columns[name].attrs) for name, values in axes.items()}
    kept = {name: variables.pop(name) for name in list(flat.coords)}
    return xr.Dataset(variables, coords=kept | coordinates, attrs=flat.attrs)
