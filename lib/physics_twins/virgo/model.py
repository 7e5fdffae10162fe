"""The trained network of filters: used on a stretch, saved and loaded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from physics_twins import models
from physics_twins.virgo import filters
from physics_twins.virgo.cleaning import Wiener
from physics_twins.virgo.filter_network import FilterNetwork, features

NAME = "virgo-filters"
CARD = models.Card(
    summary="Tells the filters from witnesses to strain, with their phase, from what a stretch says of"
    " them in each bin of frequency: a Gaussian prior of couplings, and a network that corrects it.",
    data="Drawn couplings of any band between 8 and 420 Hz with two resonances, and the errors that"
    " filters have in simulated stretches of the hard set, Advanced Virgo O4.",
    limits="Filters of 2 s, 8 to 480 Hz. Couplings must be smooth as drawn ones are: delays up to"
    " 30 ms, resonances of quality 4 to 8. A narrower one is smoothed away. No real detector has been"
    " seen.",
    held_against="Limit: the oracle; baselines: the Wiener filter alone, and the prior alone, which has"
    " the same knowledge. See the benchmark of Virgo.",
    reproduce="Run the notebook virgo/2_train with the preset shipped and the seed below.",
    data_name="virgo",
    tags=("gravitational-waves", "noise-subtraction"),
)


@dataclass(frozen=True)
class FilterModel:
    """What tells filters.

    Attributes:
        network: In evaluation mode.
        prior: Of couplings, the network's own.
        address: Name and version of the saved model, "" where it is not saved.
    """

    network: FilterNetwork
    prior: filters.Prior
    address: str = ""

    @torch.no_grad()
    def refined(self, wiener: Wiener, *, prior_only: bool = False) -> Wiener:
        """Return the filters with better transfer functions from 8 to 480 Hz, and what is not known.

        Those of lines stay as they were fitted.

        Args:
            wiener: From `cleaning.fit`.
            prior_only: Whether to leave out the network's correction.

        Raises:
            ValueError: Filters are not of 2 s, or the rate is below 1024 Hz.
        """
        told = zip(wiener.used, *filters.told(wiener), strict=True)
        response, response_error, modes = wiener.response.copy(), wiener.response_error.copy(), {}
        for number, name, solved, error in told:
            if filters.is_line(wiener, number):
                continue
            known = self.prior.posterior(solved, error)
            better = known.mean
            if known.scale and not prior_only:
                real, imag = self.network(features(solved, error, known)[None])[0].double().numpy()
                better = better + known.error * (real + 1j * imag)
            response[number, filters.BINS] = filters.undelayed(better, -known.late_s)
            response_error[number, filters.BINS] = known.error
            if known.scale:
                modes[name] = np.zeros((len(wiener.frequency_hz), known.modes.shape[1]), complex)
                modes[name][filters.BINS] = filters.undelayed(known.modes.T, -known.late_s).T
        by = ("the prior of " if prior_only else "") + (self.address or "a network that is not saved")
        better = {"response": response, "response_error": response_error, "modes": modes}
        return replace(wiener, **better, model=by)


def refined(wiener: Wiener, address: str = NAME) -> Wiener:
    """Return filters as the model of an address tells them, or, where it is empty, as they are."""
    return load_filters(address).refined(wiener) if address else wiener


def model_of(network: Any, *, address: str = "") -> FilterModel:
    """Return what a trained network is used through; it is put into evaluation mode."""
    if not isinstance(network, FilterNetwork):
        raise TypeError(f"network must be a FilterNetwork, is {type(network).__name__}")
    network = network.cpu().eval().requires_grad_(False)
    return FilterModel(network, network.prior, address)


def save_filters(model: FilterModel, *, name: str = NAME, **facts: Any) -> models.Model:
    """Save a model as the next version of a name.

    Args:
        model: Trained.
        name: Of it.
        facts: Those of `models.save`: card, metrics, parameters, seed.
    """
    sizes = {"n_components": model.network.components.shape[2], "width": model.network.width}
    return models.save(model.network, name, config=sizes, **facts)


def load_filters(address: str = NAME, *, root: Path | None = None) -> FilterModel:
    """Return a saved model.

    Args:
        address: As in `virgo-filters` or `virgo-filters/1`.
        root: Where to look for it; by default among your own models and those that ship.

    Raises:
        ModelError: There is none, it is damaged, or it tells no filters.
    """
    model = models.find(address, root=root)
    sizes: Mapping[str, Any] = model.config
    try:
        n_components, width = int(sizes["n_components"]), int(sizes["width"])
        if not (1 <= n_components <= 1000 and 4 <= width <= 1024 and width % 4 == 0):
            raise ValueError("a number is outside its range")
    except (KeyError, TypeError, ValueError) as error:
        raise models.ModelError(f"{model}: config.json is not that of filters: {error}") from None
    network = FilterNetwork(n_components, width)
    model.load_into(network)
    return model_of(network, address=str(model))
