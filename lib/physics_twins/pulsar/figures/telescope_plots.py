"""Figures of a recording beside its look-alike."""

from typing import Any

import holoviews as hv
import xarray as xr

from physics_twins.figures import curves, image
from physics_twins.figures.style import WIDTH, styled

COLUMN = WIDTH // 2  # of two figures side by side
LEAST_DENSITY = 1e-7


def spectrograms(recording: xr.Dataset, made: xr.Dataset) -> hv.Layout:
    """Return recording and look-alike in one colour scale, side by side.

    Args:
        recording: With `data` (time, frequency); best a part that shows single events.
        made: The look-alike, of the same channels.
    """
    pixels = (300, 200)
    titles = {"recording": recording, "look-alike": made}
    images = [
        image(each, title=title, levelled=True, max_pixels=pixels, width=COLUMN, height=330)
        for title, each in titles.items()
    ]
    limits = [each.opts.get("style").kwargs.get("clim") for each in images]
    common = limits[0] or (-1.5, 5.0)
    for each, title in zip(images, titles, strict=True):
        styled(each, clim=common, title=title.capitalize(), colorbar=title != "recording")
        styled(each, fontsize={"title": 10}, width=None, height=None)
        styled(each, frame_width=COLUMN - 105, frame_height=260)
    return hv.Layout(images).cols(2)


def bandpass(recording: xr.Dataset, made: xr.Dataset) -> hv.Layout:
    """Return level and width of each channel's noise, and how often it is disturbed, of both.

    Args:
        recording: From `telescope.portrait`.
        made: The look-alike's, with segments of the same length.
    """
    titles = {"level": "The bandpass", "sigma": "Its noise", "occupancy": "Interference by channel"}
    rows = [
        curves(_both(recording, made, name), title=title, height=220) for name, title in titles.items()
    ]
    return hv.Layout(rows).cols(1)


def distributions(recording: xr.Dataset, made: xr.Dataset) -> hv.Layout:
    """Return how samples are distributed and what all channels share, of both and of white noise.

    Args:
        recording: From `telescope.portrait`.
        made: The look-alike's, with segments of the same length.
    """
    density = _both(recording, made, "density", white=recording["gaussian"])
    density = density.where(density > LEAST_DENSITY).dropna("deviation", how="all")
    power = _both(recording, made, "zero_dm_power")
    power = power.assign_coords(rate=power["rate"].assign_attrs(long_name="Frequency"))
    size: dict[str, Any] = {"width": COLUMN, "height": 340}
    left = curves(density, title="All samples of all channels", **size)
    limits = {"white noise": 1.0}
    right = curves(power, title="The sum over all channels", limits=limits, **size)
    logarithmic = {"logy": True, "fontsize": {"legend": 8, "title": 9}}
    styled(left, ylim=(LEAST_DENSITY, 1.0), **logarithmic)
    styled(right, logx=True, **logarithmic)
    return hv.Layout([left, right]).cols(2)


def _both(
    recording: xr.Dataset, made: xr.Dataset, name: str, *, white: xr.DataArray | None = None
) -> xr.DataArray:
    """Return a portrait's numbers of both, and of white noise where it is given, (of, place)."""
    rows = {"recording": recording[name], "look-alike": made[name]}
    rows |= {"white noise": white} if white is not None else {}
    joined = xr.concat(list(rows.values()), "of", join="override", combine_attrs="override")
    return joined.assign_coords(of=list(rows))
