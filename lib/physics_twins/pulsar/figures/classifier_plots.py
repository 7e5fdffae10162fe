"""Figures of the classifier: recall against S/N, confusion matrix, reliability, a training."""

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
    WIDTH,
    colour_bar,
    legend,
    styled,
)

STYLES = {  # by detector: colour, dash, marker
    "ideal filter": ("black", "solid", "circle"),
    "classifier": (BLUE, "solid", "square"),
    "front end": (GREEN, "dashed", "triangle"),
    "boxcar search": (ORANGE, "dashed", "diamond"),
}


def recall(curves: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return the part of pulses found against their S/N, a curve with error bars for each detector.

    Args:
        curves: From `recall_curves`.
        title: What is seen; the rate of false alarms by default.
    """
    axes = hv.Dimension("snr", label="S/N of the whole sweep"), hv.Dimension("recall", label="Recall")
    parts: list[Any] = []
    for name in curves["detector"].values:
        colour, dash, marker = STYLES.get(str(name), (PURPLE, "dotted", "star"))
        one = curves.sel(detector=name)
        columns = one["snr"].values, one["recall"].values
        bars = hv.ErrorBars((*columns, one["recall_error"].values), axes[0], [axes[1], "error"])
        line = hv.Curve(columns, *axes, label=str(name))
        parts += [
            styled(line, color=colour, line_dash=dash, tools=["hover"]),
            styled(bars, color=colour),
        ]
        parts.append(styled(hv.Scatter(columns, *axes), color=colour, marker=marker, size=7))
    rate = 100 * float(curves.attrs["false_alarms"])
    return _placed(parts, title or f"Pulses found at {rate:g} % false alarms", ylim=(-0.02, 1.02))


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


def reliability(bins: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return how often labels were right against how probable they were said to be.

    Args:
        bins: From `calibration.reliability`.
        title: What is seen; the calibration error by default.
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
    told = f"Calibration error {value:.4f} ± {error:.4f}"
    return _placed(parts, title or told, ylim=(-0.02, 1.05))


def history(trained: xr.Dataset, *, title: str = "") -> hv.Overlay:
    """Return the loss of a training and of its validation against its steps.

    Args:
        trained: The history of a training, with one loss in the loop and `validation_loss`.
        title: What is seen.
    """
    (name,) = [n for n in trained.data_vars if str(n).endswith("_loss") and n != "validation_loss"]
    axes = hv.Dimension("step", label="Step"), hv.Dimension("loss", label="Cross-entropy")
    each = hv.Curve((trained["step"].values, trained[name].values), *axes, label="training")
    n_labels = 9
    guess = float(np.log(n_labels))
    validated = trained["validation"].values, trained["validation_loss"].values
    parts: list[Any] = [
        styled(each, color=GREY, line_width=1),
        styled(hv.Curve(validated, *axes, label="validation"), color=BLUE, tools=["hover"]),
        styled(
            hv.Curve([(1, guess), (int(trained["step"][-1]), guess)], *axes, label="guessing"),
            color="black",
            line_dash="dashed",
        ),
    ]
    return _placed(parts, title or "Course of the training")


def _placed(parts: list[Any], title: str, **options: Any) -> hv.Overlay:
    return styled(
        hv.Overlay(parts), title=title, width=WIDTH, height=HEIGHT, **legend(5), **options, **FRAME
    )
