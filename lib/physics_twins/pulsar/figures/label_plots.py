"""Figures of a labelled stream: labels against time, and what is kept against what is deleted."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREEN,
    GREY,
    HEIGHT,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    legend,
    styled,
)
from physics_twins.pulsar.label_trade import ALONE

KINDS = {  # of labels: name, colour, marker, size
    "none": ("nothing", GREY, "circle", 4),
    "nbrfi": ("narrow-band", ORANGE, "square", 7),
    "bbrfi": ("broad-band", PURPLE, "triangle", 8),
    "pulse": ("pulse", BLUE, "circle", 8),
    "other": ("other", VERMILLION, "diamond", 10),
}
CURVE_COLOURS = (BLUE, GREEN, VERMILLION, ORANGE)
EDGE = 0.7  # where a share of no frame stands, over that of one


def labels_over_time(labels: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return the S/N of each frame's best candidate against time, by the frame's label.

    Args:
        labels: From `label_files.read_labels`. A circle is drawn around frames that are kept.
        title: What is seen; how many frames are kept by default.
    """
    axes = (
        hv.Dimension("start_s", label="Time (s)"),
        hv.Dimension("snr", label="S/N of the best candidate"),
    )
    time_s, snr = labels["start_s"].values, np.maximum(labels["snr"].values, 1.0)
    kind = np.array([_kind(str(label)) for label in labels["label"].values])
    parts: list[Any] = []
    for name, (words, colour, marker, size) in KINDS.items():
        chosen = kind == name
        if chosen.any():
            points = hv.Scatter((time_s[chosen], snr[chosen]), *axes, label=words)
            parts.append(styled(points, color=colour, marker=marker, size=size, tools=["hover"]))
    kept = labels["kept"].values.astype(bool)
    ring = hv.Scatter((time_s[kept], snr[kept]), *axes, label="kept")
    parts.append(styled(ring, color="black", fill_alpha=0, marker="circle", size=13))
    share = f"{int(kept.sum())} of {len(kept)} frames are kept"
    return styled(
        hv.Overlay(parts),
        title=title or f"Labels of frames: {share}",
        logy=True,
        width=WIDTH,
        height=HEIGHT,
        **legend(len(parts)),
        **FRAME,
    )


def kept_against_deleted(curves: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return the share of pulses kept against the share of frames without a pulse that are kept, too.

    Args:
        curves: From `label_trade.trade`; a dot is a classifier's own threshold, at the left edge where
            no frame without a pulse is above it.
        title: What is seen.
    """
    axes = (
        hv.Dimension("false_kept", label="Frames without a pulse that are kept"),
        hv.Dimension("kept", label="Pulses kept"),
    )
    edge = EDGE * float(curves["false_kept"].min())
    parts: list[Any] = []
    colours = dict(zip(curves["classifier"].values.tolist(), CURVE_COLOURS, strict=False))
    for name, colour in colours.items():
        one = curves.sel(classifier=name)
        false, kept, error = (one[n].values for n in ("false_kept", "kept", "kept_error"))
        band = hv.Area((false, kept - error, np.minimum(kept + error, 1)), axes[0], [axes[1], "high"])
        parts.append(styled(band, color=colour, alpha=0.15, line_alpha=0))
        dash, colour = ("dashed", "black") if name == ALONE else ("solid", colour)
        line = hv.Curve((false, kept), *axes, label=name)
        parts.append(styled(line, color=colour, line_dash=dash, line_width=2, tools=["hover"]))
        own_false = np.maximum(one["threshold_false"].values, edge)
        own = hv.Scatter((own_false[None], one["threshold_kept"].values[None]), *axes)
        parts.append(styled(own, color=colour, size=9))
    low = float((curves["kept"] - curves["kept_error"]).min())
    n_pulses, n_others = curves.attrs["n_pulses"], curves.attrs["n_others"]
    return styled(
        hv.Overlay(parts),
        title=title or f"{n_pulses} faint pulses, {n_others} frames without one",
        logx=True,
        xlim=(0.9 * edge, 1.0),
        ylim=(max(0.0, low - 0.02), 1.01),
        width=WIDTH,
        height=HEIGHT,
        legend_position="bottom_right",
        **FRAME,
    )


def _kind(label: str) -> str:
    """Return what of a label is drawn: the pulse where there is one, else the first component."""
    return "pulse" if "pulse" in label else label.split("+")[0]
