"""The cells of a sweep as one dataset, with the parameters that were varied as coordinates."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from physics_twins import data

CELL = "cell"


def combine(
    points: Sequence[Mapping[str, Any]],
    results: Sequence[Mapping[str, Any] | None],
    cells: Path,
    *,
    units: Mapping[str, str],
) -> xr.Dataset:
    """Return the results of all points.

    Args:
        points: The parameters that were varied, for each cell.
        results: What each cell's record keeps of its result, None where there is none.
        cells: Folder of results that are files.
        units: Units of parameters by name; others are pure numbers or text.

    Returns:
        Where the points are a full grid, each varied parameter is a dimension; else the dimension is
        `cell` and the parameters are coordinates along it. Variables are the metrics, each with
        `<name>_error` where it has errors, or those of the data. `complete` says which cells
        have results; the others are not a number. Of two things with one name, a parameter's or
        `complete` of the cells gets the name with a `_` at its end; a name that netCDF cannot hold
        gets another, and stands in `long_name`. The attribute `not_combined` names what does not fit
        together or into a number, and why.

    Raises:
        ValueError: A file is damaged, or the results do not fit together.
    """
    complete = np.array([result is not None for result in results])
    done = [result for result in results if result is not None]
    with_file = ["file" in result for result in done]
    if any(with_file) and not all(with_file):
        raise ValueError("the cells do not fit together: some gave a dataset and others numbers")
    if any(with_file):
        flat = _joined([_read(cells, result) for result in done], complete)
    else:
        flat = _table([result["metrics"] for result in done], complete)
    taken = {CELL, *map(str, (*flat.variables, *flat.dims))}
    about = {"long_name": "whether the cell has a result"}
    flat[_free("complete", taken)] = (CELL, complete, about)
    names = list(dict.fromkeys(name for point in points for name in point))
    columns = {}
    for name in names:
        values = _column([point.get(name) for point in points])
        unit = {"units": units.get(name) or "1"} if values.dtype.kind in "iuf" else {}
        columns[_free(name, taken)] = (CELL, values, unit)
    return _gridded(flat.assign_coords(columns), list(columns))


def _free(name: str, taken: set[str]) -> str:
    """Return the name with as many `_` at its end as it needs to be new; it is taken then."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _table(results: Sequence[Mapping[str, Any]], complete: np.ndarray) -> xr.Dataset:
    names = list(dict.fromkeys(name for metrics in results for name in metrics))
    taken = {CELL}
    titles = {name: _free(data.plain_name(name), taken) for name in names}
    table = xr.Dataset()
    left_out = []
    for name, title in titles.items():
        metrics = [data.parts(each.get(name)) for each in results]
        units = sorted({unit for *_, unit in metrics if unit}) or ["1"]
        if len(units) > 1:
            left_out.append(f"{name} has units {units}")
            continue
        about = {"units": units[0]} | ({} if title == name else {"long_name": name})
        values, errors = (_numbers([m[n] for m in metrics], complete) for n in (0, 1))
        if n_lost := int(np.isinf([values, errors]).sum()):
            left_out.append(f"{name} is too large for a number in {n_lost} cells")
        table[title] = (CELL, np.where(np.isinf(values), np.nan, values), about)
        if any(error is not None for _, error, _ in metrics):
            errors = np.where(np.isinf(errors), np.nan, errors)
            table[_free(f"{title}_error", taken)] = (CELL, errors, about)
    return table.assign_attrs({"not_combined": "; ".join(left_out)} if left_out else {})


def _numbers(values: Sequence[Any], complete: np.ndarray) -> np.ndarray:
    """Return metrics at the places of complete cells; infinite what is an integer too large."""
    column = np.full(len(complete), np.nan)
    for place, value in zip(np.flatnonzero(complete), values, strict=True):
        try:
            column[place] = math.nan if value is None else value
        except OverflowError:
            column[place] = math.inf
    return column


def _joined(results: Sequence[xr.Dataset], complete: np.ndarray) -> xr.Dataset:
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
    for name, variable in everywhere.variables.items():
        # A file holds truth values with gaps as numbers, and text with gaps as "".
        if name in truths and variable.dtype.kind != "b":
            everywhere[name] = everywhere[name].astype(float).assign_attrs(units="1")
        elif variable.dtype.kind == "O":
            text = np.where(pd.isnull(variable.values), "", variable.values).astype(str)
            everywhere[name] = (variable.dims, text, variable.attrs)
    return everywhere


def _read(cells: Path, result: Mapping[str, Any]) -> xr.Dataset:
    path = cells / Path(result["file"]).name
    if data.file_sha256(path) != result["sha256"]:
        raise ValueError(f"{path} has changed since it was written: delete it to compute it again")
    dataset = data.open_dataset(path).drop_encoding()  # of one cell, and not of all together
    names = {str(name) for name in (*dataset.variables, *dataset.dims)}
    return dataset.rename({CELL: _free(CELL, names)}) if CELL in names else dataset


def _column(values: Sequence[Any]) -> np.ndarray:
    """Return a parameter's values as truth values or numbers where all are, exactly; else as text."""
    kinds = set(map(type, values))
    column = np.array(values)
    # Integers beyond 64 bits, or on both sides of what fits, make no column of numbers.
    is_exact = column.dtype.kind in "iuf" and column.tolist() == list(values)
    if kinds == {bool} or (kinds <= {int, float} and is_exact):
        return column
    return np.array([str(value) for value in values])


def _gridded(flat: xr.Dataset, names: list[str]) -> xr.Dataset:
    """Return cells that are a full grid along their parameters, others as they are."""
    axes = [np.unique(flat[name].values) for name in names]
    points = set(zip(*(flat[name].values.tolist() for name in names), strict=True))
    if not names or not math.prod(map(len, axes)) == len(points) == flat.sizes[CELL]:
        return flat
    index = pd.MultiIndex.from_arrays([flat[name].values for name in names], names=names)
    bare = flat.drop_vars(names).assign_coords(xr.Coordinates.from_pandas_multiindex(index, CELL))
    ends = {name: (name, ends, flat[name].attrs) for name, ends in zip(names, axes, strict=True)}
    return bare.unstack(CELL).assign_coords(ends).transpose(*names, ...)
