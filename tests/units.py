"""Whether every number has a unit."""

import xarray as xr


def check_units(dataset: xr.Dataset) -> None:
    """Check that every number in a dataset has a unit; "1" is that of a pure number.

    Text, times and truth values need none.

    Raises:
        ValueError: Variables or coordinates lack the attribute `units`; the message names them.
    """
    numbers = [name for name, array in dataset.variables.items() if array.dtype.kind in "iufc"]
    missing = [str(name) for name in numbers if not dataset[name].attrs.get("units")]
    if missing:
        raise ValueError(f"without the attribute units: {', '.join(missing)}")
