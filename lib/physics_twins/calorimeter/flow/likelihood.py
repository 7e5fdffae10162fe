"""How likely the layer energies of showers are under the flow, as a whole or in its two parts."""

from torch import Tensor

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.network import (
    ShowerNetwork,
    conditions,
    visible_log_slope,
    visible_place,
)


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
    known = (energy_gev, theta_deg, absorber_mm)
    visible = layer_mev.double().flip(-1).sum(-1)
    return visible_log_prob(member, visible, *known) + division_log_prob(member, layer_mev, *known)


def visible_log_prob(
    member: ShowerNetwork,
    visible_mev: Tensor,
    energy_gev: Tensor,
    theta_deg: Tensor,
    absorber_mm: Tensor,
) -> Tensor:
    """Return the logarithm of the density of the energy of all layers, per MeV.

    Args:
        member: A network of a flow.
        visible_mev: Shape (shower,), or (shower, value) for several of each shower.
        energy_gev: As for `layer_log_prob`.
        theta_deg: Likewise.
        absorber_mm: Likewise.
    """
    known = conditions(energy_gev.double(), theta_deg.double(), absorber_mm.double())
    if visible_mev.ndim > 1:
        known = known.unsqueeze(1)
    told = (visible_mev.double(), known, member.sizes.sampled)
    found = member.total_log_prob(visible_place(*told), known.float()).double()
    return found + visible_log_slope(*told)


def division_log_prob(
    member: ShowerNetwork,
    layer_mev: Tensor,
    energy_gev: Tensor,
    theta_deg: Tensor,
    absorber_mm: Tensor,
) -> Tensor:
    """Return the logarithm of the density of layer energies, given what all of them hold together.

    Args:
        member: A network of a flow.
        layer_mev: As for `layer_log_prob`.
        energy_gev: Likewise.
        theta_deg: Likewise.
        absorber_mm: Likewise.
    """
    layers = layer_mev.double()
    known = conditions(energy_gev.double(), theta_deg.double(), absorber_mm.double())
    found = member.division_log_prob(layers, known.float())
    remaining = layers.flip(-1).cumsum(-1).flip(-1)
    return found.double() + splits.log_jacobian(layers[:, :-1], remaining[:, 1:]).sum(dim=1)
