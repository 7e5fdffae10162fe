"""Parameters of the flow's training; the defaults are those of the weights that ship."""

from typing import Literal

from physics_twins.parameters import Parameters, field


class FlowParameters(Parameters):
    """How large the flow is, from what it learns and how long."""

    n_showers: int = field(
        30_000,
        ge=60,
        le=10**8,
        logarithmic=True,
        help="Showers of nominal thickness to learn from",
    )
    n_other: int = field(
        0,
        ge=0,
        le=10**8,
        help="Showers of each other thickness to learn from; 0 takes a thirtieth as many",
    )
    readout: Literal["cells", "layers"] = field(
        "cells",
        help="What the calorimeter reads: cells of absorbers and sensors, or layers of sensors alone",
    )
    n_test: int = field(10_000, ge=100, le=10**8, logarithmic=True, help="Showers to test on")
    showers_dir: str = field("", help="Folder of these showers; empty makes them in the run's own")
    start: str = field(
        "",
        help="Trained flow to start from, as calorimeter-flow/4; its layers stay. Empty: start afresh",
    )
    n_steps: int = field(4_500, ge=1, le=10**8, unit="steps", help="Steps of each member's training")
    batch_size: int = field(48, ge=2, le=10**6, help="Showers in a step")
    learning_rate: float = field(4e-3, ge=1e-6, le=1, logarithmic=True, help="Highest learning rate")
    n_members: int = field(
        5, ge=1, le=50, help="Networks of the ensemble; each leaves out its part of the showers"
    )
    hidden: int = field(64, ge=8, le=1024, folded=True, help="Width of the networks that divide energy")
    context: int = field(64, ge=8, le=1024, folded=True, help="Numbers that describe a layer to them")
    memory: int = field(96, ge=8, le=1024, folded=True, help="Numbers kept of all layers before")
    layers: int = field(128, ge=8, le=1024, folded=True, help="Width of the network of layer energies")
    with_onnx: bool = field(True, folded=True, help="Whether the first member is saved as ONNX, too")
    accelerator: Literal["auto", "cpu", "gpu"] = field(
        "auto", folded=True, help="Where it is trained; auto takes a GPU where there is one"
    )
    cpu_threads: int = field(
        1,
        ge=0,
        le=1024,
        folded=True,
        help="Threads of a member on a CPU, where members are trained side by side; 0 is any",
    )
    validate_every: int = field(
        500, ge=1, le=10**8, unit="steps", folded=True, help="Steps between validations"
    )
