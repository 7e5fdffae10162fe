"""How likely showers are under the flow: whole showers, or their layer energies alone."""

from collections.abc import Sequence

import torch
from torch import Tensor

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.network import ShowerNetwork, conditions, energy_mev, log_loss


def layer_log_prob(
    member: ShowerNetwork,
    layer_mev: Tensor,
    energy_gev: Tensor,
    theta_deg: Tensor,
    absorber_mm: Tensor,
) -> Tensor:
    """Return the logarithm of the density of layer energies in MeV, shape (shower,).

    It can be differentiated in all of its arguments but the first. Layers that are empty have no
    density but a probability. The density is that of `layer_mev` itself, per MeV for each layer that
    holds energy, so that energies that are scaled can be compared.

    Args:
        member: A network of a flow.
        layer_mev: Energy of the layers in MeV, shape (shower, layer).
        energy_gev: Energy of the particle, shape (shower,).
        theta_deg: Its angle, shape (shower,).
        absorber_mm: Thickness of the absorbers, shape (shower,).
    """
    layers = layer_mev.double()
    known = conditions(energy_gev.double(), theta_deg.double(), absorber_mm.double())
    found = member.layer_log_prob(layers, known.float())
    remaining = layers.flip(-1).cumsum(-1).flip(-1)
    divided = splits.log_jacobian(layers[:, :-1], remaining[:, 1:]).sum(dim=1)
    # d ln(1 - visible / incident) / d visible, in magnitude.
    lost = -log_loss(remaining[:, 0], known) - energy_mev(known).log()
    return found["total"].double() + found["layers"].double() + divided + lost


def mean_layer_log_prob(
    members: Sequence[ShowerNetwork],
    layer_mev: Tensor,
    energy_gev: Tensor,
    theta_deg: Tensor,
    absorber_mm: Tensor,
) -> Tensor:
    """Return that of the ensemble, the mean of its members' densities; see `layer_log_prob`."""
    known = (layer_mev, energy_gev, theta_deg, absorber_mm)
    each = torch.stack([layer_log_prob(member, *known) for member in members])
    return torch.logsumexp(each, dim=0) - torch.log(torch.tensor(float(len(members))))
