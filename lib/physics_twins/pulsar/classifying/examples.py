"""Labelled frames as the network sees them: streams with known content, seen by the front end."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.clusters import results
from physics_twins.data import attributes
from physics_twins.pulsar.classifying.labels import LABELS
from physics_twins.pulsar.classifying.windows import labelled_stream
from physics_twins.pulsar.physics.sky import receiver_band
from physics_twins.pulsar.searching.frontend import SCALARS, Frames, FrontEnd
from physics_twins.pulsar.verb_parameters import LabelParameters, WindowParameters

if TYPE_CHECKING:
    from distributed import Client

PICTURES = {
    "stacks": ("subband", "bin"),
    "present": ("subband",),
    "cells": ("kind", "cell", "pixel"),
    "impulses": ("impulse_subband", "impulse_time"),
}
# Half precision holds the noise well, and larger values are squeezed by the network anyway.
_LARGEST = 6e4


def examples(
    parts: Sequence[WindowParameters],
    seeds: Sequence[Sequence[int]],
    sought: LabelParameters | None = None,
    *,
    client: "Client | None" = None,
) -> xr.Dataset:
    """Return the labelled frames of many streams, without those not clear if that is wanted.

    Args:
        parts: Kinds of streams.
        seeds: For each kind the seeds of its streams.
        sought: What the front end looks for.
        client: Where the streams are made; here by default.

    Returns:
        As `examples_of_stream`, with `part` (frame): the number of the kind.
    """
    sought = sought or LabelParameters()
    wanted = [(part, seed) for part, own in enumerate(seeds) for seed in own]
    calls = [partial(examples_of_stream, parts[part], sought, seed=seed) for part, seed in wanted]
    found = list(results(client, calls))
    for (part, _), each in zip(wanted, found, strict=True):
        each["part"] = ("frame", np.full(each.sizes["frame"], part), {"units": "1"})
    facts = {"title": "Labelled frames", "seed": wanted[0][1], "n_streams": len(wanted)}
    return joined(found).assign_attrs(found[0].attrs | facts)


def joined(found: Sequence[xr.Dataset]) -> xr.Dataset:
    """Return several sets of examples as one."""
    by_frame = [each.drop_dims("gated") for each in found]
    by_gated = [each[list(PICTURES)] for each in found]
    return xr.merge([xr.concat(by_frame, "frame"), xr.concat(by_gated, "gated")], join="exact")


def examples_of_stream(
    parameters: WindowParameters, sought: LabelParameters, *, seed: int
) -> xr.Dataset:
    """Return the labelled frames of one stream.

    Returns:
        `label`, number of `LABELS`, `is_gated` (frame), `scalars` (frame, scalar), and for the gated
        frames, in their order, the pictures named in `PICTURES`.
    """
    stream = labelled_stream(parameters, seed=seed)
    front_end = FrontEnd(receiver_band(parameters), sought)
    frames = front_end(stream["data"].values, n_before=0, n_frames=stream.sizes["frame"])
    kept = stream["labelled"].values & (stream["clear"].values | (not parameters.clear_only))
    return chosen_examples(frames, np.flatnonzero(kept), stream["label"].values[kept]).assign_attrs(
        attributes(parameters, seed=seed, title="Labelled frames of one stream")
    )


def chosen_examples(
    frames: Frames, chosen: NDArray[np.integer], label: NDArray[np.integer]
) -> xr.Dataset:
    """Return some frames as examples.

    Args:
        frames: What the front end says.
        chosen: Numbers of those that are taken, shape (example,).
        label: Their numbers of `LABELS`, shape (example,).
    """
    row = np.full(len(frames.scalars), -1)
    row[frames.gated] = np.arange(len(frames.gated))
    row = row[chosen]
    one = {"units": "1"}
    variables = {
        "scalars": (("frame", "scalar"), frames.scalars[chosen], one),
        "label": ("frame", label, one | {"flag_meanings": " ".join(LABELS)}),
        "is_gated": ("frame", row >= 0, one),
    }
    for name, dims in PICTURES.items():
        pictures = getattr(frames, name)[row[row >= 0]].clip(-_LARGEST, _LARGEST)
        variables[name] = (("gated", *dims), pictures.astype(np.float16), {"units": "sigma"})
    variables["present"][2]["units"] = "1"
    return xr.Dataset(variables, coords={"scalar": ("scalar", list(SCALARS), one)})
