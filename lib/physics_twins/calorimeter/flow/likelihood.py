"""How likely the layer energies of showers are under the flow: the sum of them, and its division.

Both can be differentiated in all of their arguments but the first. Layers that are empty have no
density but a probability. Together they are the density of the layers' energies themselves, per MeV
for each layer that holds energy, so that energies that are scaled can be compared.
"""

from torch import Tensor

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.network import ShowerNetwork, visible_log_slope, visible_place


def visible_log_prob(member: ShowerNetwork, visible_mev: Tensor, known: Tensor) -> Tensor:
    """Return the logarithm of the density of the energy of all layers, per MeV.

    Args:
        member: A network of a flow.
        visible_mev: Shape (shower,), or (shower, value) for several of each shower.
        known: From `network.conditions`, shape (shower, 3), float64.
    """
    if visible_mev.ndim > 1:
        known = known.unsqueeze(1)
    told = (visible_mev.double(), known, member.sizes.sampled)
    found = member.total_log_prob(visible_place(*told), known.float()).double()
    return found + visible_log_slope(*told)


def division_log_prob(member: ShowerNetwork, layer_mev: Tensor, known: Tensor) -> Tensor:
    """Return the logarithm of the density of layer energies, given what all of them hold together.

    Args:
        member: A network of a flow.
        layer_mev: Energy of the layers in MeV, shape (shower, layer).
        known: As for `visible_log_prob`.
    """
    layers = layer_mev.double()
    found = member.division_log_prob(layers, known.float())
    remaining = layers.flip(-1).cumsum(-1).flip(-1)
    return found.double() + splits.log_jacobian(layers[:, :-1], remaining[:, 1:]).sum(dim=1)
