"""Evaluate a model of showers: what it gets, beside what Geant4 itself would get.

Whether showers can be told apart is asked by `benchmarks/_calorimeter_judge.py`, of thousands.

Each number stands beside two others. The floor: Geant4 against Geant4, the same number of showers of
the same energies. The copy: showers of the training set, given out again for the most similar energy
and angle, which is what a model must do better than, and is caught by the copying rate alone.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr

from physics_twins.calorimeter.evaluating import copies, response, shapes
from physics_twins.calorimeter.evaluating.features import features, matrix
from physics_twins.calorimeter.evaluating.matching import matched, nearest_in_conditions

# What each metric is, and its value for showers that are distributed as the reference.
METRICS: Mapping[str, tuple[str, float]] = {
    "copying_rate": ("Copies of training showers", copies.COPY_QUANTILE),
    "separation_total": ("Separation power, visible energy", 0.0),
    "separation_layers": ("Separation power, layer energies, mean", 0.0),
    "separation_rings": ("Separation power, ring energies, mean", 0.0),
    "separation_depth": ("Separation power, depth of the shower", 0.0),
    "separation_length": ("Separation power, length of the shower", 0.0),
    "separation_radius": ("Separation power, radius of the shower", 0.0),
    "longitudinal": ("Energy in other layers, mean profile", 0.0),
    "lateral": ("Energy in other rings, mean profile", 0.0),
    "cell_spectrum": ("Cells of other energy, mean spectrum", 0.0),
    "cells_by_energy": ("Cells by energy, relative difference, worst half decade", 0.0),
    "hits": ("Cells with energy, relative difference", 0.0),
    "pairs": ("Neighbours that both have energy, relative difference", 0.0),
    "response": ("Response, relative difference, mean over energies", 0.0),
    "core_resolution": ("Resolution of the central 68 %, relative difference, mean over energies", 0.0),
}
SAMPLES = {"model": "ours", "floor": "limit: Geant4", "copy": "baseline: copied training set"}


def evaluate(
    model_showers: xr.Dataset,
    reference: xr.Dataset,
    *,
    training: xr.Dataset | None = None,
    floor: xr.Dataset | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Return all metrics of a model with errors, of Geant4 itself, and of copies of the training set.

    All are compared at the same energies and angles: showers that have no partner of similar energy and
    angle in every other set are left out, see `evaluating.matching.matched`. How many were used is
    noted in the attributes. Best made at the reference's own energies and angles.

    Args:
        model_showers: In the form of `simulate`.
        reference: Geant4's, which the model has not learnt from; may be lazy.
        training: What the model learnt from; without it there is no copying rate.
        floor: A second set of Geant4's showers. Without it the reference is halved: one half is the
            reference, the other the floor.
        seed: Of bootstraps.

    Returns:
        `value` and `error` (sample, metric), with `title` and `perfect` of each metric; and what the
        figures show, see `evaluating.shapes.shapes`: profiles, counts of cells, and the response.

    Raises:
        ValueError: A set has another form or other energies, or too few showers.
    """
    numbers, trained = _matched_sets(model_showers, reference, training, floor)
    known, values = numbers["reference"], {}
    for name in (name for name in SAMPLES if name in numbers):
        values[name] = _distances(numbers[name], known, seed=seed)
        if trained is not None:
            values[name]["copying_rate"] = _copies(numbers[name], known, trained)
    return (
        shapes.shapes(numbers)
        .merge(_metrics(values))
        .assign_attrs(
            n_showers=known.sizes["shower"],
            seed=seed,
            floor="halves of the reference" if floor is None else "a second sample",
        )
    )


def table(metrics: xr.Dataset) -> pd.DataFrame:
    """Return the metrics side by side to be read, a row each: ours, Geant4, copied training set.

    `sigmas off` says by how many standard errors the model lies from Geant4, `perfect` what showers
    would get that are distributed as the reference, where that is one number.

    Args:
        metrics: From `evaluate`.
    """
    from physics_twins import figures

    columns = [SAMPLES[str(name)] for name in metrics["sample"].values]
    told = metrics[["value", "error", "title"]].rename(sample="who").assign_coords(who=columns)
    shown = figures.table(told.assign_coords(unit=("metric", ["1"] * told.sizes["metric"])))
    shown = shown.replace("", "too few showers")
    ours, floor = metrics.sel(sample="model"), metrics.sel(sample="floor")
    error = np.hypot(ours["error"].values, floor["error"].values)
    error[error == 0] = np.nan
    away = (ours["value"].values - floor["value"].values) / error
    shown["sigmas off"] = [f"{each:+.1f}" if np.isfinite(each) else "" for each in away]
    shown["perfect"] = [f"{each:g}" if np.isfinite(each) else "" for each in metrics["perfect"].values]
    return shown


def card_metrics(metrics: xr.Dataset) -> dict[str, dict[str, float]]:
    """Return the model's metrics with errors, Geant4's as limits, copies' as baselines, for a card.

    Those that so few showers do not tell are left out.

    Args:
        metrics: From `evaluate`.
    """
    found = {}
    for name in metrics["metric"].values:
        value, error = (float(metrics[n].sel(sample="model", metric=name)) for n in ("value", "error"))
        limit = float(metrics["value"].sel(sample="floor", metric=name))
        if np.isfinite([value, error, limit]).all():
            found[str(name)] = {"value": value, "error": error, "limit": limit}
            if "copy" in metrics["sample"]:
                copied = float(metrics["value"].sel(sample="copy", metric=name))
                found[str(name)] |= {"baseline": copied} if np.isfinite(copied) else {}
    return found


def _matched_sets(
    model_showers: xr.Dataset,
    reference: xr.Dataset,
    training: xr.Dataset | None,
    floor: xr.Dataset | None,
) -> tuple[dict[str, xr.Dataset], xr.Dataset | None]:
    """Return numbers of each set, of the same energies, and the training set's numbers."""
    if floor is None:
        reference, floor = (reference.isel(shower=slice(n, None, 2)) for n in (0, 1))
    sets = {"model": model_showers, "reference": reference, "floor": floor}
    trained = None
    if training is not None:
        trained = features(training)
        sets["copy"] = training.isel(shower=nearest_in_conditions(reference, training)[:, 0])
    chosen = matched(sets, "reference")
    return {name: features(sets[name].isel(shower=rows)) for name, rows in chosen.items()}, trained


def _distances(numbers: xr.Dataset, known: xr.Dataset, *, seed: int) -> dict[str, tuple[float, float]]:
    """Return all metrics but the copying rate, with errors."""
    found = {
        **shapes.separations(numbers, known, seed=seed),
        **shapes.profile_differences(numbers, known, seed=seed),
    }
    edges = response.energy_edges(known["energy_gev"].values, bin_showers=response.BIN_SHOWERS)
    ours, theirs = (response.response_table(each, edges) for each in (numbers, known))
    for name in ("response", "core_resolution"):
        found[name] = response.mean_difference(ours, theirs, name)
    return found


def _copies(numbers: xr.Dataset, known: xr.Dataset, trained: xr.Dataset) -> tuple[float, float]:
    sample, unseen, training = (matrix(each) for each in (numbers, known, trained))
    return copies.copying_rate(
        sample,
        unseen,
        training,
        energy_gev=numbers["energy_gev"].values,
        held_out_gev=known["energy_gev"].values,
    )


def _metrics(values: Mapping[str, Mapping[str, tuple[float, float]]]) -> xr.Dataset:
    known = [name for name in METRICS if name in values["model"]]
    pairs = np.array([[each[name] for name in known] for each in values.values()])

    def about(name: str) -> dict[str, str]:
        return {"units": "1", "long_name": name}

    return xr.Dataset(
        {
            "value": (("sample", "metric"), pairs[..., 0], about("Value")),
            "error": (("sample", "metric"), pairs[..., 1], about("Standard error")),
            "perfect": ("metric", [METRICS[name][1] for name in known], about("Value where alike")),
        },
        {
            "sample": list(values),
            "metric": known,
            "title": ("metric", [METRICS[name][0] for name in known]),
        },
    )
