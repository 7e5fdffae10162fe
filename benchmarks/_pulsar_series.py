"""The dedispersed series of a real pulsar, with the `.inf` of PRESTO that says what it is."""

import re
from pathlib import Path

import numpy as np
import xarray as xr


def read_series(path: Path) -> xr.DataArray:
    """Return the samples of a `.dat` along time; the words of the `.inf` beside it are attributes."""
    text = path.with_suffix(".inf").read_text(encoding="latin-1")
    words = dict(re.findall(r"^ (\w[^(=?]*\w).*=  (.*)$", text, re.MULTILINE))
    values = np.fromfile(path, "<f4")
    time_s = float(words["Width of each time series bin"]) * np.arange(len(values))
    told = {
        "start_mjd": float(words["Epoch of observation"]),
        "right_ascension": words["J2000 Right Ascension"],
        "declination": words["J2000 Declination"],
    }
    return xr.DataArray(values, {"time": time_s}, dims="time", attrs=told)
