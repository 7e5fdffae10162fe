"""Train the network of filters: on drawn couplings, with the errors that simulated stretches have."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR

from physics_twins import clusters, training
from physics_twins.data import content_sha256
from physics_twins.training import Objective, Task, Trained, TrainingSettings
from physics_twins.virgo import cleaning, couplings, filters, noise, witnesses
from physics_twins.virgo.couplings import COUPLINGS, Coupling
from physics_twins.virgo.filter_network import FilterNetwork, features, turned
from physics_twins.virgo.filters import Prior
from physics_twins.virgo.parameters import HARD, CleaningParameters, FilterParameters, VirgoParameters
from physics_twins.virgo.simulate import simulate

if TYPE_CHECKING:
    from distributed import Client

_SEEDS, _VALIDATION = 1_000_000, 500_000  # seeds of a training, and where validation begins in them
PRODUCTS = (*cleaning.PRODUCTS, (witnesses.SOUND.name, witnesses.SOUND.name))
_LOUDNESS = (50.0, 1e6)  # of drawn couplings: what all bins together tell of them, as a chi^2
_OUTLIER = 3.0  # mean chi^2 of a bin from which on errors are not those of chance, as at lines
_LITTLE = 0.2  # of what the prior expects to be left, what is less hardly counts


def stretches(
    n: int, *, seed: int, validation: bool = False, client: "Client | None" = None
) -> xr.Dataset:
    """Return what simulated stretches of the hard set tell of their filters, and the truth.

    Args:
        n: How many stretches.
        seed: Of the training: a million seeds belong to it.
        validation: Whether to take others, that decide which weights are the best.
        client: Where they are simulated; here by default.

    Returns:
        `solved` and `truth` (filter, part, bin), real and imaginary, and `error` (filter, bin); the
        coordinates `input` and `seed` of each filter.
    """
    first = _SEEDS * seed + _VALIDATION * validation
    calls = [partial(_stretch, each) for each in range(first, first + n)]
    found: list[xr.Dataset] = list(clusters.results(client, calls))
    return xr.concat(found, "filter")


def _stretch(seed: int) -> xr.Dataset:
    made = simulate(VirgoParameters(**HARD), seed=seed)
    settings = CleaningParameters(train_fraction=0.5)
    names = [channel.name for channel in witnesses.COUPLED]
    wiener = cleaning.fit(made, settings, channels=names, products=PRODUCTS)
    names, solved, error = filters.told(wiener)
    truth = np.array([true_filter(made, wiener, name, settings) for name in names])
    unit = {"units": "strain / (unit of input)"}
    return xr.Dataset(
        {
            "solved": (("filter", "part", "bin"), _parts(solved), unit),
            "truth": (("filter", "part", "bin"), _parts(truth), unit),
            "error": (("filter", "bin"), error, unit),
        },
        coords={
            "bin": ("bin", filters.GRID_HZ, {"units": "Hz"}),
            "input": ("filter", names),
            "seed": ("filter", [seed] * len(truth)),
        },
    )


def true_filter(
    stretch: xr.Dataset, wiener: cleaning.Wiener, name: str, settings: CleaningParameters
) -> NDArray[Any]:
    """Return the true transfer function of an input, as it was while filters were fitted, (bin,).

    Args:
        stretch: From `simulate`.
        wiener: From `cleaning.fit` of it.
        name: Of one of its inputs.
        settings: Of the fit.
    """
    train, n_part = cleaning.training_part(stretch, settings), 2 * (len(wiener.frequency_hz) - 1)
    for coupling in COUPLINGS:
        if share := _share(coupling, name):
            true = train.sel(coupling=coupling.name)
            if coupling.basis is couplings.fringe and wiener.fringe:
                calibration, phase = (stretch.attrs[f"fringe_{n}"] for n in ("calibration", "phase"))
                turns = 2 * calibration * wiener.means[coupling.channels[0]]
                phase += 2 * np.pi * turns / witnesses.LASER_WAVELENGTH_UM
                share *= np.sign(np.cos(wiener.fringe.phase - phase))
            taps = true["response"].values * (share * float(true["gain"].mean()))
            return filters.on_grid(taps, n_part)
    return np.zeros(len(filters.GRID_HZ), complex)


def _share(coupling: Coupling, name: str) -> float:
    """Return what an input is multiplied with in the basis of a coupling; 0 where it is not in it."""
    first, last = coupling.channels[0], coupling.channels[-1]
    multiplied = set(name.split("*")) == {first, last} and "*" in name
    if coupling.basis is couplings.misaligned:
        return float(name == first) + multiplied / couplings.MISALIGNMENT_URAD
    if coupling.basis in (couplings.product, couplings.square):
        return float(multiplied)
    return float(name == (f"fringe {first}" if coupling.basis is couplings.fringe else first))


def _parts(values: NDArray[Any]) -> NDArray[np.floating]:
    return np.stack([np.real(values), np.imag(values)], axis=-2)


def train(
    data: xr.Dataset,
    settings: FilterParameters | None = None,
    *,
    validation: xr.Dataset,
    seed: int,
    folder: str | Path | None = None,
    progress: bool = True,
) -> Trained:
    """Train the network; its module is `network`.

    It learns from couplings of any band, drawn anew, as they would have been told with the errors of
    the stretches of `data`; those of `validation` are the simulator's own, as they were told.

    Args:
        data: From `stretches`.
        settings: How many couplings are drawn, how large it is and how long it learns.
        validation: From `stretches`; the best weights have the lowest `loss` on them, the mean of the
            logarithm of what is left over what the prior alone leaves.
        seed: Of couplings, weights and order.
        folder: Where checkpoints are kept; a temporary folder by default.
        progress: Whether to show a bar.
    """
    settings = (settings or FilterParameters()).chosen
    build = partial(_task, data, validation, settings, seed)
    loop = TrainingSettings(
        max_steps=settings.n_steps,
        batch_size=settings.batch_size,
        clip_norm=1.0,
        validate_every=max(1, settings.n_steps // 10),
        accelerator="cpu",
        cpu_threads=1,
    )
    return training.train(build, loop, seed=seed, folder=folder, progress=progress)


def _task(data: xr.Dataset, held_out: xr.Dataset, settings: FilterParameters, seed: int) -> Task:
    prior = Prior.of(filters.drawn(settings.n_prior, seed=seed))
    weights = _weights(data)
    learnt = _drawn_examples(prior, data, weights, settings.n_couplings, seed)
    known = _examples(
        prior, _complex(held_out["solved"]), held_out, _complex(held_out["truth"]), weights
    )
    network = FilterNetwork(prior.components.shape[1], settings.width)
    network.components.copy_(torch.from_numpy(_parts(prior.components.T).transpose(1, 2, 0)))
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=1e-3)
    schedule = OneCycleLR(optimizer, settings.learning_rate, total_steps=max(settings.n_steps, 4))

    def loss(modules: Mapping[str, nn.Module], batch: list[Tensor], step: int) -> Tensor:
        seen, aim, weight = batch
        angle = 2 * torch.pi * torch.rand(len(seen), device=seen.device)
        left = _left(modules["network"](turned(seen, angle)), turned(aim, angle), weight)
        return (left + _LITTLE).log().mean()

    def validate(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        parts = zip(*(each.split(settings.batch_size) for each in known), strict=True)
        left = [
            torch.stack([_left(modules["network"](seen), aim, w), _left(0 * aim, aim, w)])
            for seen, aim, w in parts
        ]
        ours, alone = torch.cat(left, dim=1)
        return {"loss": (ours / alone).log().mean(), "left": ours.mean(), "left_by_prior": alone.mean()}

    return Task(
        {"network": network},
        {"network": Objective(cast(Any, loss), optimizer, schedule)},
        learnt,
        validate,
        watch="loss",
        identity=content_sha256(data) + content_sha256(held_out),
    )


def _left(found: Tensor, aim: Tensor, weight: Tensor) -> Tensor:
    """Return what is left, over what the prior expects to be left: (batch,)."""
    return ((found - aim).square().sum(dim=1) * weight).sum(dim=1)


def _complex(array: xr.DataArray) -> NDArray[Any]:
    return array.isel(part=0).values + 1j * array.isel(part=1).values


def _weights(data: xr.Dataset) -> dict[str, NDArray[np.floating]]:
    """Return how much each bin of an input counts: its power over the noise, mean of all stretches."""
    certain = filters.certainty(data["error"].values)
    return {n: certain[data["input"].values == n].mean(axis=0) for n in np.unique(data["input"].values)}


def _drawn_examples(
    prior: Prior, data: xr.Dataset, weights: Mapping[str, NDArray[np.floating]], n: int, seed: int
) -> list[Tensor]:
    """Return examples of drawn couplings with the errors of a stretch's inputs."""
    rng = noise.generator(seed, "examples")
    certain = filters.certainty(data["error"].values)
    rest = (_complex(data["solved"]) - _complex(data["truth"])) * np.sqrt(certain)
    usable = np.mean(np.abs(rest) ** 2, axis=1) < _OUTLIER
    picked = rng.choice(np.flatnonzero(usable), n)
    some, heard = data.isel(filter=picked), certain[picked] > 0
    aim = filters.drawn(n, seed=seed + 1)
    low, high = (float(np.log(each)) for each in _LOUDNESS)
    told = np.sum(certain[picked] * np.abs(aim) ** 2, axis=1)
    aim *= np.sqrt(np.exp(rng.uniform(low, high, n)) / told)[:, None]
    turn = np.exp(2j * np.pi * rng.uniform(size=(n, 1)))
    solved = np.where(heard, aim + turn * rest[picked] * some["error"].values, 0)
    return _examples(prior, solved, some, aim, weights)


def _examples(
    prior: Prior,
    solved: NDArray[Any],
    data: xr.Dataset,
    truth: NDArray[Any],
    weights: Mapping[str, NDArray[np.floating]],
) -> list[Tensor]:
    """Return features, where to move and how much each bin counts, of inputs that have a coupling."""
    rows = []
    of_all = zip(solved, data["error"].values, truth, data["input"].values, strict=True)
    for told, error, true, name in of_all:
        known = prior.posterior(told, error)
        if known.scale:
            away = (filters.undelayed(true, known.late_s) - known.mean) / known.error
            weight = weights.get(name, filters.certainty(error)) * known.error**2
            pair = (torch.from_numpy(x).float() for x in (_parts(away), weight / weight.sum()))
            rows.append((features(told, error, known), *pair))
    return [torch.stack(each) for each in zip(*rows, strict=True)]
