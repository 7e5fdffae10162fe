"""The cells of a sweep as one dataset, with the parameters that were varied as coordinates."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physics_twins import datasets, provenance
from physics_twins.ledger import COMPLETE, Record

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
        records: What the ledger holds for each cell, None where it was not computed.
        cells: Folder of results that are files.
        units: Units of parameters by name; others are pure numbers or text.

    Returns:
        Where the points are a full grid, each varied parameter is a dimension; else the dimension is
        `cell` and the parameters are coordinates along it. Variables are the metrics, each with
        `<name>_error` where it has errors, or those of the datasets. `complete` says which cells
        have results; the others are not a number.

    Raises:
        ValueError: A file is damaged, or the datasets do not fit together.
    """
    complete = [record is not None and record["status"] == COMPLETE for record in records]
    done = [record["result"] for record in records if record and record["status"] == COMPLETE]
    if any("file" in result for result in done):
        flat = _joined([_read(cells, result) for result in done], complete)
    else:
        flat = _table([result["metrics"] for result in done], complete)
    flat["complete"] = (CELL, np.array(complete), {"long_name": "whether the cell has a result"})
    names = list(dict.fromkeys(name for point in points for name in point))
    columns = {name: column([point.get(name) for point in points]) for name in names}
    axes = _axes(columns)
    coordinates = {name: attributes(name, values, units) for name, values in columns.items()}
    if axes is None:
        return flat.assign_coords({n: (CELL, columns[n], a) for n, a in coordinates.items()})
    return _gridded(flat, columns, axes, coordinates)


def _table(results: Sequence[Mapping[str, Any]], complete: Sequence[bool]) -> xr.Dataset:
    names = list(dict.fromkeys(name for metrics in results for name in metrics))
    places = np.flatnonzero(complete)
    variables: dict[str, Any] = {}
    for name in names:
        metrics = [m if isinstance(m := each.get(name), Mapping) else {"value": m} for each in results]
        unit = next((m["unit"] for m in metrics if m.get("unit")), "1")
        for part, suffix in (("value", ""), ("error", "_error")):
            column = np.full(len(complete), np.nan)
            column[places] = [math.nan if m.get(part) is None else m[part] for m in metrics]
            if part == "value" or any("error" in m for m in metrics):
                variables[name + suffix] = (CELL, column, {"units": unit})
    return xr.Dataset(variables, coords=None)


def _joined(results: Sequence[xr.Dataset], complete: Sequence[bool]) -> xr.Dataset:
    places = np.flatnonzero(complete)
    try:
        joined = xr.concat(
            results,
            xr.DataArray(places, dims=CELL, name=CELL),
            data_vars="all",
            coords="different",
            compat="equals",
            join="outer",
            combine_attrs="drop_conflicts",
        )
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"the cells' datasets do not fit together: {reason}") from None
    return joined.reindex({CELL: np.arange(len(complete))}).drop_vars(CELL)


def _read(cells: Path, result: Mapping[str, Any]) -> xr.Dataset:
    path = cells / Path(result["file"]).name
    if provenance.file_sha256(path) != result["sha256"]:
        raise ValueError(f"{path} has changed since it was written")
    return datasets.open_dataset(path)


def column(values: Sequence[Any]) -> np.ndarray:
    """Return a parameter's values as numbers where they are, else as text."""
    if all(isinstance(value, bool) for value in values):
        return np.array(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return np.array(values)
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
    flat: xr.Dataset,
    columns: Mapping[str, np.ndarray],
    axes: Mapping[str, np.ndarray],
    attributes: Mapping[str, Mapping[str, str]],
) -> xr.Dataset:
    order = np.argsort(_places(columns, axes))
    shape = tuple(len(values) for values in axes.values())
    clash = set(axes) & (set(flat.variables) | set(flat.dims))
    dims = {name: f"{name}_" if name in clash else name for name in axes}
    variables = {}
    for name, variable in flat.variables.items():
        if CELL not in variable.dims:
            variables[name] = variable
            continue
        values = variable.transpose(CELL, ...).values[order]
        inner = [dim for dim in variable.dims if dim != CELL]
        grid = values.reshape(shape + values.shape[1:])
        variables[name] = ((*dims.values(), *inner), grid, variable.attrs)
    coordinates = {dims[name]: (dims[name], axes[name], attributes[name]) for name in axes}
    kept = {name: variables.pop(name) for name in list(flat.coords)}
    return xr.Dataset(variables, coords=kept | coordinates, attrs=flat.attrs)
