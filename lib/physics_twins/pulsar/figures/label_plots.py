"""The figure of a labelled stream: labels against time."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREY,
    HEIGHT,
    ORANGE,
    PURPLE,
    VERMILLION,
    WIDTH,
    legend,
    styled,
)

KINDS = {  # of labels: name, colour, marker, size
    "none": ("nothing", GREY, "circle", 4),
    "nbrfi": ("narrow-band", ORANGE, "square", 7),
    "bbrfi": ("broad-band", PURPLE, "triangle", 8),
    "pulse": ("pulse", BLUE, "circle", 8),
    "other": ("other", VERMILLION, "diamond", 10),
}


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


def _kind(label: str) -> str:
    """Return what of a label is drawn: the pulse where there is one, else the first component."""
    return "pulse" if "pulse" in label else label.split("+")[0]
