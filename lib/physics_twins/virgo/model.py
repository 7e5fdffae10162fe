"""The trained network of an instrument: saved, loaded, checked before use."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from physics_twins import models
from physics_twins.virgo.network import ResidualModel, ResidualNetwork, Whitening

NAME = "virgo-residual"
CARD = models.Card(
    summary="Tells from the witnesses of one instrument what its classical subtraction leaves of the"
    " strain, with its phase: couplings of second order behind and before any filter.",
    data="The first part of one simulated stretch of the hard set, of which nothing is judged.",
    limits="For the instrument that it was trained on: another one has other couplings. A search among"
    " all products of channels that finds the coupling beforehand leaves it nothing to tell.",
    held_against="Limit: the oracle with the true couplings; baseline: the classical subtraction with"
    " the products that are known.",
    reproduce="Run the notebook virgo/2_train with its parameters as recorded here.",
    tags=("gravitational-waves", "noise-subtraction"),
)
_MOST = 4096  # channels, filters, taps, bins


def save_residual(model: ResidualModel, *, name: str = NAME, **facts: Any) -> models.Model:
    """Save a network as the next version of a name.

    Args:
        model: Trained.
        name: Of the model.
        facts: Those of `models.save`: card, metrics, parameters, seed and so on.
    """
    network, whitening = model.network, model.whitening
    config = {
        "channels": list(model.channels),
        "width": network.first.out_channels,
        "taps": network.first.kernel_size[0],
        "n_bins": len(whitening.frequency_hz),
    }
    weights = {f"network.{key}": value for key, value in network.state_dict().items()}
    weights["whitening.frequency_hz"] = torch.from_numpy(whitening.frequency_hz.copy())
    weights["whitening.log_asd"] = torch.from_numpy(np.log(whitening.asd))
    return models.save(weights, name, config=config, **facts)


def load_residual(address: str = NAME, *, root: Path | None = None) -> ResidualModel:
    """Return a saved network, by default the newest or promoted one.

    Raises:
        ModelError: There is none, it is damaged, or it is no such network.
    """
    model = models.find(address, root=root)
    try:
        channels = tuple(map(str, model.config["channels"]))
        sizes = [int(model.config[key]) for key in ("width", "taps", "n_bins")]
        if not all(1 <= n <= _MOST for n in (len(channels), *sizes)):
            raise ValueError(f"sizes = {len(channels), *sizes}")
    except (KeyError, TypeError, ValueError) as error:
        raise models.ModelError(
            f"{model}: config.json is not that of such a network: {error}"
        ) from None
    with torch.random.fork_rng(devices=[]):
        holder = _Holder(len(channels), *sizes)
    model.load_into(holder)
    network = holder.network.eval().requires_grad_(False)
    whitening = Whitening(
        holder.get_buffer("whitening.frequency_hz").numpy(),
        np.exp(holder.get_buffer("whitening.log_asd").numpy()),
    )
    return ResidualModel(network, channels, whitening, str(model))


class _Whitening(torch.nn.Module):
    def __init__(self, n_series: int, n_bins: int) -> None:
        super().__init__()
        self.register_buffer("frequency_hz", torch.zeros(n_bins, dtype=torch.float64))
        self.register_buffer("log_asd", torch.zeros(n_series, n_bins, dtype=torch.float64))


class _Holder(torch.nn.Module):
    """What is saved: the network, and the whitening of channels and strain."""

    def __init__(self, n_channels: int, width: int, taps: int, n_bins: int) -> None:
        super().__init__()
        self.network = ResidualNetwork(n_channels, width=width, taps=taps)
        self.whitening = _Whitening(n_channels + 1, n_bins)
