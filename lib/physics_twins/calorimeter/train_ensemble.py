"""Train all members of the flow's ensemble, side by side on workers where there are any."""

from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from physics_twins import training
from physics_twins.calorimeter import training_showers
from physics_twins.calorimeter.flow.shower_tensors import ShowerTensors
from physics_twins.calorimeter.flow_parameters import FlowParameters
from physics_twins.calorimeter.train import train
from physics_twins.training import Trained


def train_ensemble(
    showers: str | Path,
    settings: FlowParameters,
    *,
    seed: int,
    folder: str | Path,
    client: Any = None,
    progress: bool = True,
) -> list[Trained]:
    """Train every member; interrupted, each goes on from its checkpoint when called again.

    Args:
        showers: Folder that `training_showers.make` filled with `settings.n_showers`.
        settings: How many members, how large and how long.
        seed: Seed of the first member, the next ones count on from it.
        folder: Where checkpoints are kept, a folder for each member.
        client: A Dask client whose workers train a member each and see both folders; by default they
            are trained here, one after the other.
        progress: Whether to show a bar.

    Returns:
        The members in order, each with its module `network` and its history.

    Raises:
        FileNotFoundError: There are no showers.
        ValueError: There are fewer than `settings.n_showers`, or a checkpoint is of another training.
        KeyboardInterrupt: Stopped by Ctrl-C; workers have been told to stop.
    """
    places = [Path(folder).absolute() / f"member-{n}" for n in range(settings.n_members)]
    showers = Path(showers).expanduser().absolute()
    if client is None:
        data, held_out = _tensors(showers, settings)
        return [
            train(data, settings, validation=held_out, seed=seed, member=n, folder=p, progress=progress)
            for n, p in enumerate(places)
        ]
    futures = [
        training.submit(client, train_member, showers, settings, seed, number, place)
        for number, place in enumerate(places)
    ]
    try:
        return _gathered(futures, progress)
    except BaseException:
        client.cancel(futures, force=True)
        raise


def train_member(
    showers: Path, settings: FlowParameters, seed: int, member: int, folder: Path
) -> Trained:
    """Train one member from showers on disk, as a worker does."""
    data, held_out = _tensors(showers, settings)
    options: dict[str, Any] = {"seed": seed, "member": member, "folder": folder, "progress": False}
    return train(data, settings, validation=held_out, **options)


def _tensors(showers: Path, settings: FlowParameters) -> tuple[ShowerTensors, ShowerTensors]:
    learning, validation = training_showers.open_training(
        showers, settings.n_showers, n_other=settings.n_other, readout=settings.readout
    )
    return ShowerTensors.of(learning), ShowerTensors.of(validation)


def _gathered(futures: list[Any], progress: bool) -> list[Trained]:
    """Return what workers trained, in order, behind a bar that counts members."""
    from distributed import as_completed

    with tqdm(total=len(futures), disable=not progress, desc="members", unit="member") as bar:
        for future in as_completed(futures):
            future.result()
            bar.update()
    return [future.result() for future in futures]
