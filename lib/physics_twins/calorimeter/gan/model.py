"""The trained 3DGAN: saved, loaded, held to its range, and exported."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from physics_twins import models
from physics_twins.calorimeter.gan import images
from physics_twins.calorimeter.gan.networks import LATENT, Adversaries, Discriminator, Generator
from physics_twins.calorimeter.gan_parameters import GanImage
from physics_twins.calorimeter.parameters import CalorimeterParameters, DetectorParameters

if TYPE_CHECKING:
    import onnxruntime
    import xarray as xr

NAME = "calorimeter-3dgan"
CARD = models.Card(
    summary="3DGAN as published (Khattak et al., Eur. Phys. J. C 82 (2022) 386), with the defects of"
    " its PyTorch code repaired: a generator of electron showers in 51 x 51 x 25 cells, given energy"
    " and angle, and the discriminator that it was trained against. A baseline.",
    data="Electrons of one azimuth from Geant4 11.4 with the small tables that the project writes, in"
    " 25 layers of 2.8 mm tungsten and 0.5 mm silicon: a narrow range of energies first, then the full"
    " one.",
    limits="Generative adversarial networks are the weakest class of models in CaloChallenge. On a CPU"
    " a shower takes about 0.1 s, so that Geant4 is faster below 20 to 40 GeV. Energies and angles"
    " outside the trained range are refused; it knows no likelihood, no place and no azimuth.",
    held_against="Limit: Geant4 against Geant4; baseline: the parametrised shower.",
    reproduce="`train_gan` on showers of `gan_parameters.NARROW`, then on those of `FULL` with the"
    " first as `start_from`.",
    data_name="geant4",
    tags=("calorimeter", "geant4", "gan"),
)
_RANGES = {"energy_gev": "GeV", "theta_deg": "deg"}
_FIXED = (*DetectorParameters.model_fields, "particle", "layout", "cell_mm", "scored", "threshold_kev")


@dataclass(frozen=True)
class ShowerGan:
    """What generates showers, and what it was trained against.

    Attributes:
        networks: Both, in evaluation mode.
        parameters: Calorimeter and cells that they were trained for, with the range of energies and
            angles.
        settings: How images become showers.
        sides: Azimuths that they were trained for: 0, 180 or both.
        history: Losses of the training, None where it was loaded.
        address: Name and version of the saved model, "" where it is not saved.
    """

    networks: Adversaries
    parameters: CalorimeterParameters
    settings: GanImage
    sides: tuple[float, ...] = (0.0,)
    history: "xr.Dataset | None" = None
    address: str = ""

    def check(self, parameters: CalorimeterParameters) -> None:
        """Check that showers can be generated as they are asked for.

        Raises:
            ValueError: It is another calorimeter, particle or kind of cells, or outside the range.
        """
        check_same(parameters, self.parameters)
        for name, unit in _RANGES.items():
            low, high = _range(self.parameters, name)
            for asked in _range(parameters, name):
                if not low <= asked <= high:
                    raise ValueError(
                        f"{name} = {asked:g} {unit} is outside {low:g} to {high:g} {unit}, in which"
                        " this 3DGAN was trained"
                    )
        if parameters.spot_mm:
            raise ValueError(f"spot_mm = {parameters.spot_mm:g} mm must be 0 mm for 3DGAN")
        p = parameters
        straight = max(p.theta_deg, p.theta_max_deg) == 0
        if not straight and (p.phi_deg % 360 not in self.sides or p.phi_max_deg not in (0, p.phi_deg)):
            known = " or ".join(f"{side:g}" for side in self.sides)
            raise ValueError(
                f"phi_deg = {p.phi_deg:g} to {max(p.phi_deg, p.phi_max_deg):g} deg: this 3DGAN was"
                f" trained for {known} deg"
            )


def check_same(asked: CalorimeterParameters, known: CalorimeterParameters) -> None:
    """Check that two calorimeters, with their particles and cells, are the same.

    Raises:
        ValueError: They are not; the message names the field.
    """
    for name in _FIXED:
        here, there = getattr(asked, name), getattr(known, name)
        if here != there:
            raise ValueError(f"{name} = {here!r}: this 3DGAN was trained for {there!r}")


def new_networks(parameters: CalorimeterParameters, settings: GanImage) -> Adversaries:
    """Return untrained networks for a calorimeter."""
    aspect = images.cell_per_layer(parameters)
    return Adversaries(Generator(), Discriminator(power=settings.power, cell_per_layer=aspect))


def save_gan(gan: ShowerGan, *, name: str = NAME, with_onnx: bool = True, **facts: Any) -> models.Model:
    """Save both networks as the next version of a name.

    Args:
        gan: Trained.
        name: Of the model.
        with_onnx: Whether to export the generator, too, and to compare it with torch.
        facts: Those of `models.save`: card, metrics, parameters, seed and so on.
    """
    config = {
        "showers": gan.parameters.to_papermill(),
        "image": _image(gan.settings).to_papermill(),
        "sides": list(gan.sides),
    }
    example = example_inputs(gan, 2) if with_onnx else None
    return models.save(gan.networks, name, config=config, example=example, **facts)


def load_gan(address: str = NAME, *, root: Path | None = None) -> ShowerGan:
    """Return a saved 3DGAN, by default the newest or promoted one.

    Raises:
        ModelError: There is none, it is damaged, or it is no 3DGAN.
    """
    model = models.find(address, root=root)
    try:
        parameters = CalorimeterParameters(**model.config["showers"])
        settings = GanImage(**model.config["image"])
        sides = tuple(float(side) for side in model.config["sides"])
    except (KeyError, TypeError, ValueError) as error:
        raise models.ModelError(f"{model}: config.json is not that of a 3DGAN: {error}") from None
    with torch.random.fork_rng(devices=[]):
        networks = new_networks(parameters, settings)
    model.load_into(networks)
    return ShowerGan(networks.eval(), parameters, settings, sides, address=str(model))


def export_gan(gan: ShowerGan) -> bytes:
    """Return the generator as an ONNX file, after comparing it with torch.

    It takes energy / 100 GeV, the angle to the face in rad, and 254 normal random numbers.

    Raises:
        ModelError: It deviates.
    """
    return models.export_onnx(gan.networks.generator, example_inputs(gan, 2))[0]


def energy_sum_deviation(
    gan: ShowerGan, session: "onnxruntime.InferenceSession", *, n: int = 8, seed: int = 0
) -> float:
    """Return by how much showers' sums of cells differ between ONNX and torch, relative, at most.

    Args:
        gan: The model.
        session: Of its ONNX file.
        n: Number of showers.
        seed: Of their random numbers.
    """
    inputs = example_inputs(gan, n, seed=seed)
    with torch.no_grad():
        expected = gan.networks.generator(inputs).numpy()
    found = np.asarray(session.run(None, {session.get_inputs()[0].name: inputs.numpy()})[0])
    sums = [
        (a.astype(float) ** (1 / gan.settings.power)).sum(axis=(1, 2, 3, 4)) for a in (found, expected)
    ]
    return float((np.abs(sums[0] - sums[1]) / np.where(sums[1] > 0, sums[1], 1.0)).max())


def example_inputs(gan: ShowerGan, n: int, *, seed: int = 0) -> torch.Tensor:
    """Return inputs of the generator in the middle of its range, shape (shower, 256)."""
    inputs = torch.randn(n, LATENT, generator=torch.Generator().manual_seed(seed))
    energy, theta = (float(np.mean(_range(gan.parameters, name))) for name in _RANGES)
    inputs[:, 0] = energy / images.ENERGY_GEV
    phi = np.array([gan.sides[0]])
    inputs[:, 1] = float(images.angle_to_face(np.array([theta]), phi)[0])
    return inputs


def _range(parameters: CalorimeterParameters, name: str) -> tuple[float, float]:
    stem, unit = name.split("_")
    low, high = getattr(parameters, name), getattr(parameters, f"{stem}_max_{unit}")
    return low, max(low, high)


def _image(settings: GanImage) -> GanImage:
    return GanImage.take(settings.to_papermill())
