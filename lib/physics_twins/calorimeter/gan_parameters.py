"""Parameters of 3DGAN's training; the defaults are the published ones, where there are any."""

from collections.abc import Mapping
from typing import Any, Literal

from physics_twins.parameters import Parameters, field

# Changes of the calorimeter's defaults for the showers of the two trainings, one after the other. The
# source project took 100 to 200 GeV first and then 2 to 500.
NARROW: Mapping[str, Any] = {"energy_gev": 30.0, "energy_max_gev": 60.0, "theta_max_deg": 30.0}
FULL: Mapping[str, Any] = {"energy_gev": 1.0, "energy_max_gev": 100.0, "theta_max_deg": 30.0}


class GanImage(Parameters):
    """How showers become what the networks see."""

    scale: float = field(
        50.0,
        ge=1e-3,
        le=1e6,
        folded=True,
        help="Cells in GeV are multiplied by it; files of 3DGAN are scaled already and take 1",
    )
    lowest_cell: float = field(
        1e-4, ge=0, le=1, folded=True, help="Scaled cells with less than this count as empty"
    )
    lowest_sum: float = field(
        0.1,
        ge=0,
        le=1e4,
        folded=True,
        help="Showers whose scaled cells sum up to no more are left out; 3DGAN takes 10 from 2 GeV on",
    )
    power: float = field(
        0.85, ge=0.1, le=1, folded=True, help="Scaled cells are raised to this power, less in contrast"
    )


class GanWeights(Parameters):
    """How much each part of the loss counts."""

    adversarial_weight: float = field(3.0, ge=0, le=1e6, folded=True, help="Of real or generated")
    energy_weight: float = field(0.1, ge=0, le=1e6, folded=True, help="Of the particle's energy, in %")
    angle_weight: float = field(25.0, ge=0, le=1e6, folded=True, help="Of the angle, in rad")
    sum_weight: float = field(0.1, ge=0, le=1e6, folded=True, help="Of the sum of all cells, in %")


class GanParameters(GanWeights, GanImage):
    """How long the two networks are trained, and on what."""

    n_steps: int = field(
        10_000, ge=1, le=10**8, unit="steps", help="Steps, each of one batch; the project's own choice"
    )
    batch_size: int = field(64, ge=2, le=10**5, help="Showers in a step")
    learning_rate: float = field(1e-3, ge=1e-7, le=1, logarithmic=True, help="Learning rate of RMSprop")
    generator_steps: int = field(
        2, ge=1, le=10, folded=True, help="Steps of the generator for each of the discriminator"
    )
    flipped: float = field(
        0.05, ge=0, le=0.5, folded=True, help="Part of the labels that say the opposite of the truth"
    )
    accelerator: Literal["auto", "cpu", "gpu"] = field(
        "auto", folded=True, help="Where it is trained; auto takes a GPU where there is one"
    )
    loader_processes: int = field(
        0, ge=0, le=64, folded=True, help="Processes that read showers; 0 is none besides"
    )
