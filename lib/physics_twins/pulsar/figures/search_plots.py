"""Figures of a simulated observation's components, and of what a search or a labelling found in one."""

from collections.abc import Mapping
from typing import Any

import holoviews as hv
import numpy as np
import xarray as xr

from physics_twins.data import in_print
from physics_twins.figures import image
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

# What the best boxcar recovers of a Gaussian pulse's ideal S/N (Morello et al. 2020, MNRAS 497, 4654).
BOXCAR_LIMIT = 0.943
LABELS = {  # what a search calls a candidate: name, colour, marker
    "pulse": ("pulse", BLUE, "circle"),
    "nbrfi": ("narrow-band interference", ORANGE, "square"),
    "bbrfi": ("broad-band interference", PURPLE, "triangle"),
    "none": ("noise", GREY, "diamond"),
}
COMPONENTS = {
    "pulses": "Pulses",
    "narrowband": "Narrow-band interference",
    "broadband": "Broad-band interference",
    "noise": "Receiver noise",
}


def components(dataset: xr.Dataset, titles: Mapping[str, str] | None = None) -> hv.Layout:
    """Return what a simulation put into its data, each component as a small image.

    Args:
        dataset: With the components as variables.
        titles: Title of each variable to show; `COMPONENTS` by default.
    """
    images = [
        styled(
            image(dataset, name, title=title, max_pixels=(200, 128), width=345, height=250),
            fontsize={"title": 9},
        )
        for name, title in (titles or COMPONENTS).items()
    ]
    return hv.Layout(images).cols(2)


def candidates(result: xr.Dataset, truth: xr.Dataset | None = None) -> hv.Layout:
    """Return the candidates of a search: DM against time, and beside it DM against S/N.

    Args:
        result: With `time_s`, `dm_pc_cm3`, `snr` and `label` (candidate). Where the attributes
            `dm_min_pc_cm3` and `dm_max_pc_cm3` say what was searched, all of it is shown.
        truth: With `pulse_time_s` and `pulse_snr_ideal` (pulse) and the attribute `dm_pc_cm3`; drawn
            as open circles.
    """
    labels = result["label"].values.astype(str)
    present = [name for name in [*LABELS, *np.setdiff1d(labels, [*LABELS])] if name in labels]
    counts = [f"{(labels == name).sum()} {_shown(name)[0]}" for name in present]
    time = hv.Dimension("time_s", label="Time", unit="s")
    searched = tuple(result.attrs.get(f"dm_{end}_pc_cm3") for end in ("min", "max"))
    dm = hv.Dimension("dm_pc_cm3", label="DM", unit=in_print("pc cm-3"), range=searched)
    snr = hv.Dimension("snr", label="S/N")
    planes = []
    for across, other, width in ((time, snr, 430), (snr, time, 255)):
        axes = (across, dm, other)
        parts = [_true_points(truth, axes)] if truth is not None else []
        parts += [_points(result.isel(candidate=labels == name), name, axes) for name in present]
        plane = hv.Overlay(parts or [hv.Points(([], [], []), [across, dm], [other])])
        planes.append(styled(plane, width=width, height=400, padding=0.08, **FRAME))
    styled(planes[0], title="Candidates: " + (", ".join(counts) or "none"), **legend(5))
    styled(planes[1], title="The same by S/N", show_legend=False, show_grid=True)
    return hv.Layout(planes).cols(2)


def recovered_against_ideal(evaluation: xr.Dataset) -> hv.Overlay:
    """Return the S/N a search found against the ideal S/N, with the limit of any boxcar search.

    Args:
        evaluation: With `pulse_snr_ideal`, `snr` (not a number where missed) and `complete` (pulse).
    """
    ideal, snr = evaluation["pulse_snr_ideal"].values, evaluation["snr"].values
    found, complete = np.isfinite(snr), evaluation["complete"].values.astype(bool)
    axes = hv.Dimension("ideal", label="Ideal S/N"), hv.Dimension("snr", label="S/N found")
    end = 1.08 * float(np.nanmax([*ideal, *snr[found], 1.0]))
    parts: list[Any] = [
        _line(end, axes, 1.0, label="ideal: matched filter", color="black"),
        _line(end, axes, BOXCAR_LIMIT, label="best boxcar", color=GREEN, line_dash="dashed"),
    ]
    bars = (ideal[found], snr[found], np.ones(found.sum()))
    parts.append(styled(hv.ErrorBars(bars, axes[0], [axes[1], "error"]), color=GREY))
    for chosen, label, colour, marker in (
        (found & complete, "found", BLUE, "circle"),
        (found & ~complete, "found, although cut by the end", ORANGE, "diamond"),
        (~found & complete, "missed", VERMILLION, "x"),
    ):
        if chosen.any():
            points = hv.Scatter((ideal[chosen], np.nan_to_num(snr[chosen])), *axes, label=label)
            parts.append(styled(points, color=colour, marker=marker, size=10, tools=["hover"]))
    counts = f"{(found & complete).sum()} of {complete.sum()} pulses found"
    overlay = hv.Overlay(parts)
    return styled(overlay, title=counts, width=520, height=500, **legend(3), **FRAME)


def _line(end: float, axes: tuple, slope: float, *, label: str, **style: Any) -> hv.Curve:
    """Return a line from the origin."""
    return styled(hv.Curve([(0, 0), (end, slope * end)], *axes, label=label), **style)


def _points(chosen: xr.Dataset, name: str, axes: tuple) -> hv.Points:
    label, colour, marker = _shown(name)
    columns = tuple(chosen[axis.name].values for axis in axes)
    points = hv.Points(columns, list(axes[:2]), [axes[2]], label=label)
    return styled(points, color=colour, marker=marker, size=9, tools=["hover"])


def _true_points(truth: xr.Dataset, axes: tuple) -> hv.Points:
    columns = {
        "time_s": truth["pulse_time_s"].values,
        "snr": truth["pulse_snr_ideal"].values,
        "dm_pc_cm3": np.full(truth.sizes["pulse"], float(truth.attrs["dm_pc_cm3"])),
    }
    points = hv.Points(
        tuple(columns[axis.name] for axis in axes), list(axes[:2]), [axes[2]], label="true pulse"
    )
    return styled(points, fill_alpha=0, line_color="black", size=15, tools=["hover"])


def _shown(name: str) -> tuple[str, str, str]:
    """Return name, colour and marker of a label."""
    return LABELS.get(name, (name, GREEN, "star"))


KINDS = {  # of labels: name, colour, marker, size
    "none": ("nothing", GREY, "circle", 4),
    "nbrfi": ("narrow-band", ORANGE, "square", 7),
    "bbrfi": ("broad-band", PURPLE, "triangle", 8),
    "pulse": ("pulse", BLUE, "circle", 8),
    "other": ("other", VERMILLION, "diamond", 10),
}


def labels_over_time(labels: xr.Dataset) -> hv.Overlay:
    """Return the S/N of each frame's best candidate against time, by the frame's label.

    Args:
        labels: From `label_files.read_labels`. A circle is drawn around frames that are kept.
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
        title=f"Labels of frames: {share}",
        logy=True,
        width=WIDTH,
        height=HEIGHT,
        **legend(len(parts)),
        **FRAME,
    )


def _kind(label: str) -> str:
    """Return what of a label is drawn: the pulse where there is one, else the first component."""
    return "pulse" if "pulse" in label else label.split("+")[0]
