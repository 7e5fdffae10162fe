"""Figures of a recording beside its look-alike."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.data import in_print
from physics_twins.figures import image
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREY,
    VERMILLION,
    WIDTH,
    legend,
    styled,
)

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
        recording: From `telescope_portrait.portrait`.
        made: The look-alike's, with segments of the same length.
    """
    titles = {
        "level": "Level of the noise (counts)",
        "sigma": "Width of the noise (counts)",
        "occupancy": "Part of the time disturbed",
    }
    figures = [
        styled(
            _curves(recording, made, "frequency", name, label),
            title=title,
            width=WIDTH,
            height=220,
            padding=(0, 0.1),
            **(legend(2) if name == "level" else {"show_legend": False, "show_grid": True}),
            **FRAME,
        )
        for (name, label), title in zip(
            titles.items(), ("The bandpass", "Its noise", "Interference by channel"), strict=True
        )
    ]
    return hv.Layout(figures).cols(1)


def distributions(recording: xr.Dataset, made: xr.Dataset) -> hv.Layout:
    """Return how samples are distributed and what all channels share, of both and of white noise.

    Args:
        recording: From `telescope_portrait.portrait`.
        made: The look-alike's, with segments of the same length.
    """
    sigma = in_print("sigma")
    samples = _curves(recording, made, "deviation", "density", "Density")
    power = _curves(recording, made, "rate", "zero_dm_power", "Power over white noise")
    white = recording["gaussian"].where(recording["gaussian"] > LEAST_DENSITY, drop=True)
    named: dict[str, Any] = {"label": "white noise"}
    gauss = hv.Curve((white["deviation"].values, white.values), *_axes("deviation", "density"), **named)
    rate = recording["rate"].values
    flat = hv.Curve([(rate[0], 1.0), (rate[-1], 1.0)], *_axes("rate", "zero_dm_power"), **named)
    options = {"width": COLUMN, "height": 340, "logy": True, "fontsize": {"legend": 8, "title": 9}}
    left = samples * styled(gauss, color=GREY, line_dash="dashed")
    right = power * styled(flat, color=GREY, line_dash="dashed")
    densities = np.concatenate([each["density"].values for each in (recording, made)])
    seen = [each["deviation"].values[each["density"].values > 0] for each in (recording, made)]
    ends = np.concatenate(seen).min() - 0.5, np.concatenate(seen).max() + 0.5
    floor = max(LEAST_DENSITY, densities[densities > 0].min() / 2)
    return hv.Layout(
        [
            styled(
                left,
                title="All samples of all channels",
                xlabel=f"Sample ({sigma} of the quiet noise)",
                ylabel="Density",
                ylim=(floor, 1.0),
                xlim=ends,
                **options,
                **legend(3),
                **FRAME,
            ),
            styled(
                right,
                title="The sum over all channels",
                xlabel="Frequency (Hz)",
                ylabel="Power over white noise",
                logx=True,
                **options,
                **legend(3),
                **FRAME,
            ),
        ]
    ).cols(2)


def _axes(across: str, up: str, label: str = "") -> tuple[hv.Dimension, hv.Dimension]:
    words = {"frequency": "Frequency", "rate": "Frequency", "deviation": "Sample"}[across]
    unit = {"frequency": "MHz", "rate": "Hz"}.get(across)
    return hv.Dimension(across, label=words, unit=unit), hv.Dimension(up, label=label or up)


def _curves(recording: xr.Dataset, made: xr.Dataset, across: str, name: str, label: str) -> hv.Overlay:
    axes = _axes(across, name, label)
    parts = []
    for words, each, colour, style in (
        ("recording", recording, BLUE, "solid"),
        ("look-alike", made, VERMILLION, "dashed"),
    ):
        values = each[name].where(each[name] > 0) if name == "density" else each[name]
        curve = hv.Curve((each[across].values, values.values), *axes, label=words)
        parts.append(styled(curve, color=colour, line_dash=style, line_width=1.5, tools=["hover"]))
    return hv.Overlay(parts)
