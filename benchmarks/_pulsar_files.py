"""The figures of the pulsar's real files that a period gives; part of `pulsar.py`."""

from _table import Figure, Skipped, this_machine
from physics_twins.datasets import find_data_file
from physics_twins.pulsar.barycentre import doppler_factor
from physics_twins.pulsar.periods import find_period
from physics_twins.pulsar.presto import PrestoReader

# ATNF catalogue, Hobbs et al. (2004), MNRAS 353, 1311: J1807-0847 at the barycentre, epoch MJD 48244.
CATALOGUE_HZ, CATALOGUE_HZ_PER_S, CATALOGUE_MJD = 6.107714243738, -1.074334e-15, 48244.0


def real_period() -> Figure:
    """Relative difference between a real pulsar's period, found blindly, and the catalogue's.

    The period found is that at the telescope; what is compared is that at the barycentre, 9.3e-5 longer
    on that day. The error is that of the period found; the reference is the largest difference wanted.
    """
    name = "pulsar/GBT_J1807-0847.dat"
    path = find_data_file(name)
    if path is None or find_data_file("pulsar/GBT_J1807-0847.inf") is None:
        raise Skipped(f"{name} is not here: twins data fetch {name}")
    with PrestoReader(path) as file:
        series = file.series()
    found = find_period(series)
    middle_mjd = series.attrs["start_mjd"] + float(series["time"].mean()) / 86400
    position = series.attrs["right_ascension"], series.attrs["declination"]
    to_barycentre = doppler_factor(*position, middle_mjd, "GBT")
    expected_hz = CATALOGUE_HZ + CATALOGUE_HZ_PER_S * (middle_mjd - CATALOGUE_MJD) * 86400
    difference = abs(float(found["period_s"]) * to_barycentre * expected_hz - 1)
    error = float(found["period_error_s"] / found["period_s"])
    return Figure(difference, error, "", reference=1e-5, device=this_machine())
