"""What is found in real telescope files; part of `pulsar.py`."""

from functools import cache

import pandas as pd

from _pulsar_barycentre import doppler_factor
from _pulsar_series import read_series
from _table import Figure, Skipped, this_machine
from physics_twins.data import find_data_file
from physics_twins.pulsar.infer import candidate_table, infer
from physics_twins.pulsar.parameters import SearchParameters
from physics_twins.pulsar.searching.periods import find_period

# ATNF catalogue, Hobbs et al. (2004), MNRAS 353, 1311: J1807-0847 at the barycentre, epoch MJD 48244.
CATALOGUE_HZ, CATALOGUE_HZ_PER_S, CATALOGUE_MJD = 6.107714243738, -1.074334e-15, 48244.0


def real_period() -> tuple[float, float]:
    """Return by how much a real pulsar's period, found blindly, is off the catalogue's, and its error.

    Both relative. The period found is that at the telescope; what is compared is that at the
    barycentre, 9.3e-5 longer on that day.
    """
    name = "pulsar/GBT_J1807-0847.dat"
    path = find_data_file(name)
    if path is None or find_data_file("pulsar/GBT_J1807-0847.inf") is None:
        raise Skipped(f"{name} is not here: twins data fetch {name}")
    series = read_series(path)
    found = find_period(series)
    middle_mjd = series.attrs["start_mjd"] + float(series["time"].mean()) / 86400
    position = series.attrs["right_ascension"], series.attrs["declination"]
    to_barycentre = doppler_factor(*position, middle_mjd, "GBT")
    expected_hz = CATALOGUE_HZ + CATALOGUE_HZ_PER_S * (middle_mjd - CATALOGUE_MJD) * 86400
    difference = abs(float(found["period_s"]) * to_barycentre * expected_hz - 1)
    error = float(found["period_error_s"] / found["period_s"])
    return difference, error


def real_files() -> Figure:
    """S/N of the ASKAP burst, pulses claimed in the Parkes file, relative error of a pulsar's period.

    At least 15, none, and at most 1e-5 are wanted; the reference is the S/N of an independent search.
    """
    burst = float(pulses_in("pulsar/askap_frb_28.fil", dm_max_pc_cm3=600.0)["snr"].iloc[0])
    n_claimed = len(pulses_in("pulsar/parkes_8bit_1.fil", dm_max_pc_cm3=100.0))
    difference, error = real_period()
    values = [burst, float(n_claimed), difference]
    return Figure(values, [1.0, 0.0, error], "", 16.0, this_machine())


@cache
def pulses_in(name: str, *, dm_max_pc_cm3: float) -> pd.DataFrame:
    """Return the candidates labelled pulse that a blind search of a real file finds."""
    path = find_data_file(name)
    if path is None:
        raise Skipped(f"{name} is not on this machine: twins data fetch {name}")
    table = candidate_table(infer(SearchParameters(dm_max_pc_cm3=dm_max_pc_cm3), path))
    return table.loc[table["label"] == "pulse", :]


BENCHMARKS = {"real_files": real_files}
