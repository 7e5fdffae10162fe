"""A sweep's results as one row for each cell: what figures and tables of any sweep are made from."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

SEED = "seed"
CELLS, ERROR = "n_cells", "_error"


@dataclass(frozen=True)
class SweepTable:
    """Complete cells of a sweep.

    Attributes:
        rows: A `pandas.DataFrame` with a column for each parameter that was varied, each metric, and
            `<metric>_error` where there are errors.
        parameters: Names of the parameters that were varied.
        metrics: Names of the metrics.
        units: Units by name, "" for a pure number or text.
        is_grid: Whether the points were a full grid.
        others: Names of results that are no single number for a cell.
    """

    rows: Any
    parameters: tuple[str, ...]
    metrics: tuple[str, ...]
    units: dict[str, str]
    is_grid: bool
    others: tuple[str, ...]

    @property
    def varying(self) -> tuple[str, ...]:
        """Parameters, without the seed, that have more than one value."""
        return tuple(n for n in self.parameters if n != SEED and self.rows[n].nunique() > 1)

    @property
    def constant(self) -> dict[str, float]:
        """Metrics that are the same in every cell."""
        same = [name for name in self.metrics if self.rows[name].nunique(dropna=False) == 1]
        return {name: self.rows[name].iloc[0] for name in same}

    @property
    def n_seeds(self) -> int:
        """How many seeds there are, 1 where none was varied."""
        return self.rows[SEED].nunique() if SEED in self.parameters and len(self.rows) else 1

    def averaged(self) -> "SweepTable":
        """Return the mean over seeds with its standard error; `n_cells` is added.

        That error comes from the scatter of the seeds or, where it is larger, from the cells' own
        errors: a few seeds that agree by chance do not make a mean exact.
        """
        others = [name for name in self.parameters if name != SEED]
        groups = self.rows.groupby(others or np.zeros(len(self.rows)), sort=False)
        rows = groups[list(self.metrics)].mean()
        counts = groups.size()
        for name in self.metrics:
            n = groups[name].count()
            error = groups[name].std(ddof=1) / np.sqrt(n)
            if name + ERROR in self.rows:
                own = groups[name + ERROR].agg(lambda e: np.sqrt((e**2).sum())) / n
                error = np.fmax(error, own)
            rows[name + ERROR] = error.replace([0.0, np.inf], np.nan) if len(error) else error
        rows[CELLS] = counts
        rows = rows.reset_index() if others else rows.reset_index(drop=True)
        return replace(self, rows=rows, parameters=tuple(others))


def table_of(dataset: xr.Dataset) -> SweepTable:
    """Return the complete cells of a sweep's combined dataset, see `combining.combine`."""
    cells = dataset["complete"].dims
    is_grid = cells != ("cell",)
    coordinates = cells if is_grid else [n for n, c in dataset.coords.items() if c.dims == cells]
    parameters = tuple(map(str, coordinates))
    numbers = [
        str(name)
        for name, variable in dataset.data_vars.items()
        if set(variable.dims) == set(cells) and variable.dtype.kind in "iuf"
    ]
    errors = [name for name in numbers if name.endswith(ERROR) and name[: -len(ERROR)] in numbers]
    metrics = tuple(name for name in numbers if name not in errors)
    rows: Any = dataset[[*numbers, "complete"]].to_dataframe().reset_index()
    rows = rows[rows["complete"].astype(bool)].reset_index(drop=True)
    units = {n: str(dataset[n].attrs.get("units", "")) for n in (*parameters, *metrics)}
    others = [str(n) for n in dataset.data_vars if n not in numbers and n != "complete"]
    columns = [*parameters, *numbers]
    return SweepTable(
        rows=rows[columns],
        parameters=parameters,
        metrics=metrics,
        units={name: "" if unit == "1" else unit for name, unit in units.items()},
        is_grid=is_grid,
        others=tuple(others),
    )
