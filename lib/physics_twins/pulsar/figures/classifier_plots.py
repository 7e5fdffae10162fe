"""Figures of the classifier: recall against S/N, confusion matrix, reliability, a training."""

from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins import figures
from physics_twins.figures.style import (
    BLUE,
    FRAME,
    GREY,
    HEIGHT,
    WIDTH,
    colour_bar,
    legend,
    styled,
)
from physics_twins.pulsar.classifying.labels import LABELS


def recall(curves: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return the part of pulses found against their S/N, a curve with its band for each detector.

    Args:
        curves: From `recall_curves`.
        title: What is seen; the rate of false alarms by default.
    """
    rate = 100 * float(curves.attrs["false_alarms"])
    told = title or f"Pulses found at {rate:g} % false alarms"
    return styled(
        figures.curves(curves["recall"], curves["recall_error"], title=told), ylim=(-0.02, 1.02)
    )


def confusion(frames: xr.DataArray, *, title: str = "") -> hv.Overlay:
    """Return how the frames of each true label were labelled, as parts of all such frames.

    Args:
        frames: From `calibration.confusion`.
        title: What is seen.
    """
    counts = frames.where(frames.sum("given") > 0, drop=True)
    part = counts / counts.sum("given")
    names = [str(name) for name in part["given"].values]
    cells = [
        (
            given,
            str(true),
            float(part.sel(true=true, given=given)),
            int(counts.sel(true=true, given=given)),
        )
        for true in part["true"].values[::-1]
        for given in names
    ]
    axes = [hv.Dimension("given", label="label given"), hv.Dimension("true", label="true label")]
    image = styled(
        hv.HeatMap(cells, axes, [hv.Dimension("part", label="Part of the frames"), "frames"]),
        clim=(0, 1),
        xrotation=45,
        tools=["hover"],
        width=WIDTH,
        height=480,
        **colour_bar(""),
        **FRAME,
    )
    numbers = [(given, true, f"{100 * value:.1f}" if value else "") for given, true, value, _ in cells]
    words = styled(hv.Labels(numbers, axes, "text"), text_font_size="8pt", text_color="white")
    return styled(hv.Overlay([image, words]), title=title or "Labels given, in % of the true label")


def reliability(bins: xr.Dataset) -> hv.Overlay:
    """Return how often labels were right against how probable they were said to be.

    Args:
        bins: From `calibration.reliability`.
    """
    axes = hv.Dimension("said", label="Probability given"), hv.Dimension("right", label="Part right")
    there = bins["n_frames"].values > 0
    columns = bins["confidence"].values[there], bins["accuracy"].values[there]
    errors = bins["accuracy_error"].values[there]
    bars = hv.ErrorBars((*columns, errors), axes[0], [axes[1], "error"])
    points = hv.Scatter(columns, *axes, label="classifier")
    line = hv.Curve([(0, 0), (1, 1)], *axes, label="honest")
    parts: list[Any] = [
        styled(line, color="black", line_dash="dashed"),
        styled(bars, color=GREY),
        styled(points, color=BLUE, size=8, tools=["hover"]),
    ]
    value, error = (float(bins[f"calibration_error{end}"]) for end in ("", "_error"))
    title = f"Calibration error {value:.4f} ± {error:.4f}"
    size = {"width": WIDTH, "height": HEIGHT, "ylim": (-0.02, 1.05)}
    return styled(hv.Overlay(parts), title=title, **size, **legend(5), **FRAME)


def history(trained: xr.Dataset) -> hv.Overlay:
    """Return the loss of a training and of its validation against its steps.

    Args:
        trained: The history of a training, with one loss in the loop and `validation_loss`.
    """
    (name,) = [n for n in trained.data_vars if str(n).endswith("_loss") and n != "validation_loss"]
    named = {"long_name": "Cross-entropy in training", "units": "1"}
    references = {"validation": trained["validation_loss"], "guessing": float(np.log(len(LABELS)))}
    course = trained[name].assign_attrs(named)
    return figures.series(course, title="Course of the training", references=references)
