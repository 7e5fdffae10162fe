"""The trained flow of showers, an ensemble of networks: saved, loaded, and held to its range."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from physics_twins import models
from physics_twins.calorimeter import form
from physics_twins.calorimeter.flow import onnx_file
from physics_twins.calorimeter.flow.network import ShowerNetwork, Sizes
from physics_twins.calorimeter.flow.weights import Weights, pack
from physics_twins.calorimeter.parameters import CalorimeterParameters

NAME, LAYERS_NAME = "calorimeter-flow", "calorimeter-layers"
CARD = models.Card(
    summary="Draws showers of electrons in the calorimeter of CaloChallenge's data set 2 (45 x 16 x 9"
    " cells, energy in absorbers and sensors), given energy, angle and thickness of the absorbers, and"
    " says how likely a shower is. Several networks; their difference is its uncertainty.",
    data="Electrons of 1 to 100 GeV (log-uniform), 0 to 30 degrees, from Geant4 11.4 with the small"
    " tables that the project writes, most of them with absorbers of 1.4 mm: `training_showers`. Each"
    " network leaves out its part of them. Where `start` is given among the parameters, that version's"
    " visible energies and layers stay, and the showers taught how layers divide into cells.",
    limits="How well its cells can be told from Geant4's: see the book's page of the calorimeter."
    " Refuses other energies, angles and thicknesses unless told to extrapolate. Not for other"
    " particles, calorimeters, cells or thresholds without a new training. It is as good as the Geant4"
    " that it learnt from: small tables, electromagnetic physics only.",
    held_against="Limit: Geant4 against Geant4; baseline: copies of showers that taught it. The"
    " parametrised shower is beside it in the benchmark of the calorimeter.",
    reproduce="Run the notebook calorimeter/2_train with the parameters that manifest.json holds.",
    data_name="geant4",
    tags=("calorimeter", "geant4", "normalizing-flow"),
)
_LAYERS_CARD = replace(
    CARD,
    summary="Tells how likely the energies are that the silicon of a sampling calorimeter sees in 45"
    " pairs of layers, given energy and angle of an electron and thickness of the absorbers, and draws"
    " them: what calibrating and monitoring take. It knows no cells. Its networks' differences are its"
    " uncertainty.",
    limits="How well it calibrates: see the book's page of the calorimeter. Refuses other energies,"
    " angles and thicknesses unless told to extrapolate. Not for other particles, layers or thresholds"
    " without a new training. It is as good as the Geant4 that it learnt from: small tables,"
    " electromagnetic physics only.",
)
_ADVICE = "train it for a new range, or set extrapolate=True and check the result with `audit`"
# Ranges that a flow was trained in, and the fields of a simulation that must lie in them.
RANGES = {"energy_gev": "GeV", "theta_deg": "deg", "absorber_mm": "mm"}


@dataclass(frozen=True)
class ShowerFlow:
    """What draws showers.

    Attributes:
        members: Trained networks of the ensemble, in evaluation mode.
        parameters: Calorimeter and cells that they were trained for, with the range of energies and
            angles.
        absorber_mm: Smallest and largest thickness of absorbers that they were trained for.
        address: Name and version of the saved model, "" where it is not saved.
    """

    members: tuple[ShowerNetwork, ...]
    parameters: CalorimeterParameters
    absorber_mm: tuple[float, float]
    address: str = ""

    @cached_property
    def weights(self) -> tuple[Weights, ...]:
        """The members' weights, as compiled code takes them."""
        return tuple(pack(member) for member in self.members)

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest trained value of each of `RANGES`."""
        return form.ranges_of(self.parameters) | {"absorber_mm": self.absorber_mm}

    def check(self, parameters: CalorimeterParameters, *, extrapolate: bool = False) -> None:
        """Check that showers can be drawn as they are asked for.

        Args:
            parameters: Calorimeter, particles and cells.
            extrapolate: Whether energies, angles and thicknesses may lie outside the trained range.

        Raises:
            ValueError: It is another calorimeter, particle or kind of cells, or outside the range.
        """
        made_for, names = "this flow was trained for", (*form.FIXED, "threshold_kev")
        other = tuple(name for name in names if name != "absorber_mm")
        form.check_fields(parameters, self.parameters, made_for, names=other)
        if not extrapolate:
            form.check_ranges(parameters, self.ranges, f"{made_for}; {_ADVICE}")


def flow_of(
    networks: Sequence[nn.Module],
    parameters: CalorimeterParameters,
    *,
    absorber_mm: tuple[float, float],
    address: str = "",
) -> ShowerFlow:
    """Return a flow of trained networks, which are put into evaluation mode and learn no more."""
    members = []
    for network in networks:
        if not isinstance(network, ShowerNetwork):
            raise TypeError(f"a member must be a ShowerNetwork, found {type(network).__name__}")
        members.append(network.cpu().eval().requires_grad_(False))
    return ShowerFlow(tuple(members), parameters, absorber_mm, address)


def save_flow(
    flow: ShowerFlow, *, name: str = "", with_onnx: bool = False, **facts: Any
) -> models.Model:
    """Save a flow as the next version of a name.

    Args:
        flow: Trained.
        name: Of the model; by default that of flows of its kind.
        with_onnx: Whether to add the first member as an ONNX file, see `onnx_file`; a minute's work.
        facts: Those of `models.save`: metrics, parameters, seed and so on; the card is its kind's.

    Raises:
        ValueError: An ONNX file of layers alone is wanted, of which there is none.
    """
    layers = flow.parameters.layout == "layers"
    if layers and with_onnx:
        raise ValueError("with_onnx = True: there is no ONNX file of a flow of layers; set it to False")
    card, default = (_LAYERS_CARD, LAYERS_NAME) if layers else (CARD, NAME)
    sizes = flow.members[0].sizes
    config = {
        "n_members": len(flow.members),
        "sizes": {key: getattr(sizes, key) for key in Sizes.__dataclass_fields__},
        "absorber_mm": list(flow.absorber_mm),
        "showers": flow.parameters.to_papermill(),
    }
    file = onnx_file.export(flow.members[0]) if with_onnx else None
    told = {"card": card, "config": config, "onnx": file, **facts}
    return models.save(nn.ModuleList(flow.members), name or default, **told)


def load_flow(address: str = NAME, *, root: Path | None = None, to_train: bool = False) -> ShowerFlow:
    """Return a saved flow, by default the newest or promoted one.

    Args:
        address: Name, or name and version.
        root: Folder of models to look in; by default all of them.
        to_train: Whether older weights will do, that saw less and can only be trained on.

    Raises:
        ModelError: There is none, it is damaged, or it is no flow of showers.
    """
    model = models.find(address, root=root)
    try:
        told = {key: int(n) for key, n in model.config["sizes"].items()}
        told.pop("steps", 1)  # whether densities have steps of energy; since then all have
        # Widths, and two that are yes or no.
        if not all((key not in ("sampled", "leans")) <= n <= 4096 for key, n in told.items()):
            raise ValueError(f"sizes = {told}")
        sizes = Sizes(**{"leans": 0, **told})
        n_members = int(model.config["n_members"])
        if not 1 <= n_members <= 100:
            raise ValueError(f"n_members = {n_members}")
        low, high = map(float, model.config["absorber_mm"])
        parameters = CalorimeterParameters(**model.config["showers"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise models.ModelError(f"{model}: config.json is not that of a flow: {error}") from None
    if not (sizes.leans or sizes.sampled or to_train):
        raise models.ModelError(
            f"{model} saw less of the layers before: take a newer one, or train on with it as start"
        )
    with torch.random.fork_rng(devices=[]):
        members = nn.ModuleList(ShowerNetwork(sizes) for _ in range(n_members))
    model.load_into(members)
    return flow_of(list(members), parameters, absorber_mm=(low, high), address=str(model))
