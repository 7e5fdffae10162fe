"""From the period at a telescope to that at the solar system's barycentre; part of `pulsar.py`."""

# Geocentric positions (ITRF) in m, from TEMPO2's list of observatories; 100 m change a period by 1e-11.
TELESCOPES_ITRF_M = {
    "Effelsberg": (4033947.2, 486990.8, 4900431.0),
    "GBT": (882589.3, -4924872.4, 3943729.4),
    "MeerKAT": (5109360.1, 2006852.6, -3238948.1),
    "Parkes": (-4554231.5, 2816759.1, -3454036.3),
}


def doppler_factor(right_ascension: str, declination: str, mjd_utc: float, telescope: str) -> float:
    """Return the barycentric period of a source over the period at the telescope.

    It is 1 + v/c with v the telescope's velocity towards the source, from the Earth's motion around the
    Sun and its rotation, and is right to about 1e-8.

    Args:
        right_ascension: Such as "18:07:38.0" (ICRS).
        declination: Such as "-08:47:43".
        mjd_utc: Middle of the observation.
        telescope: One of `TELESCOPES_ITRF_M`.

    Raises:
        ValueError: The telescope is not known, or the position is none.

    >>> round(1e6 * (doppler_factor("18:07:38", "-08:47:43", 59313.31, "GBT") - 1), 1)
    92.9
    """
    from astropy import units
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    if telescope not in TELESCOPES_ITRF_M:
        known = ", ".join(TELESCOPES_ITRF_M)
        raise ValueError(f"telescope = {telescope!r}: expected one of {known}")
    try:
        source = SkyCoord(right_ascension, declination, unit=(units.hourangle, units.deg))
    except ValueError as error:
        position = f"right_ascension = {right_ascension!r}, declination = {declination!r}"
        raise ValueError(f"{position}: {error}") from None
    place = EarthLocation.from_geocentric(*TELESCOPES_ITRF_M[telescope], unit=units.m)
    # A table of the Earth's rotation that is too old costs 1e-10 at most, and nothing is downloaded.
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        velocity = source.radial_velocity_correction(
            "barycentric", obstime=Time(mjd_utc, format="mjd", scale="utc"), location=place
        )
    return 1 + float(velocity.to_value(units.km / units.s)) / 299792.458
