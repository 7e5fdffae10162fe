"""Which flows a notebook uses, and how many fields it draws."""

from physics_twins.parameters import Parameters, field


class FlowUseParameters(Parameters):
    """A trained flow, and what it is asked for."""

    model: str = field("phi4-flow-8", help="Name of a trained flow, or its address with a version")
    sides: str = field("8 16", help="Sides on the cost curve, of flows that ship, with spaces between")
    n_drawn: int = field(
        2000, ge=100, le=10**7, logarithmic=True, help="Fields that each flow and sampler draws"
    )
