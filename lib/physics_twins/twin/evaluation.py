"""What every `evaluate` tells: our figures beside the limit, the simple baseline and the peer."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from physics_twins.data import Estimate

WHO = ("ours", "limit", "baseline", "peer")


def beside(rows: Mapping[str, tuple[str, Mapping[str, Estimate]]]) -> xr.Dataset:
    """Return figures side by side, one that nobody has left out.

    Args:
        rows: By the figure's name what it is, and its value with error for any of `WHO`.

    Returns:
        `value` and `error` (who, metric), not a number where one has none, with `title` and `unit` of
        each metric; `figures.table` prints it.

    Raises:
        ValueError: A column is none of `WHO`, or the values of a row have different units.
    """
    given = {who for _, row in rows.values() for who in row}
    if unknown := given - set(WHO):
        raise ValueError(f"{', '.join(sorted(unknown))}: the columns are {', '.join(WHO)}")
    columns = [who for who in WHO if who in given]
    shape = len(columns), len(rows)
    value, error = np.full(shape, np.nan), np.full(shape, np.nan)
    titles, units = [], []
    for n, (name, (title, row)) in enumerate(rows.items()):
        found = {each.unit for each in row.values()}
        if len(found) > 1:
            raise ValueError(f"{name} is given in {' and '.join(sorted(found))}")
        titles.append(title)
        units.append(next(iter(found), "1"))
        for who, each in row.items():
            value[columns.index(who), n], error[columns.index(who), n] = each.value, each.error
    about = {"units": "as in unit"}
    return xr.Dataset(
        {"value": (("who", "metric"), value, about), "error": (("who", "metric"), error, about)},
        {"who": columns, "metric": list(rows), "title": ("metric", titles), "unit": ("metric", units)},
    )
