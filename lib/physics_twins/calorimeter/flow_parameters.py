"""Parameters of the flow's training; the defaults are those of the weights that ship."""

from typing import Literal

from physics_twins.parameters import Parameters, field


class FlowParameters(Parameters):
    """How large the flow is, and how long it learns."""

    n_steps: int = field(30_000, ge=1, le=10**8, unit="steps", help="Steps of each member's training")
    batch_size: int = field(256, ge=2, le=10**6, help="Showers in a step")
    learning_rate: float = field(2e-3, ge=1e-6, le=1, logarithmic=True, help="Highest learning rate")
    n_members: int = field(
        5, ge=1, le=50, help="Networks of the ensemble; each leaves out its part of the showers"
    )
    hidden: int = field(64, ge=8, le=1024, folded=True, help="Width of the networks that divide energy")
    context: int = field(64, ge=8, le=1024, folded=True, help="Numbers that describe a layer to them")
    memory: int = field(96, ge=8, le=1024, folded=True, help="Numbers kept of all layers before")
    layers: int = field(128, ge=8, le=1024, folded=True, help="Width of the network of layer energies")
    accelerator: Literal["auto", "cpu", "gpu"] = field(
        "auto", folded=True, help="Where it is trained; auto takes a GPU where there is one"
    )
    compiled: bool = field(
        False, folded=True, help="Whether torch compiles the training's losses, best on a GPU"
    )
    validate_every: int = field(
        1000, ge=1, le=10**8, unit="steps", folded=True, help="Steps between validations"
    )
