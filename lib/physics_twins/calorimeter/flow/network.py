"""The network of the flow: for each division of a shower's energy, what is likely.

About 200,000 weights: rings, levels and layers share theirs, and what has been drawn before is seen
directly (`neighbours`) and through a recurrent memory of all layers before.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from physics_twins.calorimeter.flow import neighbours, splits
from physics_twins.calorimeter.flow.neighbours import N_ANGLES, N_LAYERS, N_LEVELS, N_RINGS

N_CONDITIONS = 3
N_WINDOW = 3  # layers on either side whose energy is seen when one is divided
# Of the logarithm of the energy that is not visible, over the incident one.
N_TOTAL_COMPONENTS = 8
_LEAST_LOSS = 1e-4
_OLDER = 12, 25  # inputs of older weights
# Sensors alone see a thirtieth: their density is one of the logarithm of what they see, over this part.
SAMPLED = 0.0324
PER_LOG = 10.0
MIN_LOG_SCALE, MAX_LOG_SCALE = -4.0, 2.0


@dataclass(frozen=True)
class Sizes:
    """Widths of the network's parts."""

    hidden: int = 64
    context: int = 64
    memory: int = 96
    layers: int = 128
    sampled: int = 0  # whether layers of sensors are all that is seen; cells are then not divided
    leans: int = 1  # whether leans of all layers before are seen; in older weights the third is


class ShowerNetwork(nn.Module):
    """Density of a shower's cells, given energy, angle and thickness of the absorbers.

    Attributes:
        sizes: Widths of its parts.
    """

    def __init__(self, sizes: Sizes | None = None) -> None:
        """Build the network with first weights from torch's generator."""
        super().__init__()
        s = self.sizes = sizes or Sizes()
        self.total = nn.Sequential(
            nn.Linear(N_CONDITIONS, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 24)
        )
        self.layer_memory = nn.GRU(3 + N_CONDITIONS, s.layers, batch_first=True)
        self.layer_place = nn.Parameter(0.1 * torch.randn(N_LAYERS, s.layers))
        self.layer_head = Head(s.layers, s.layers)
        self.cells = nn.Linear(N_ANGLES * N_RINGS, s.context)
        self.memory = nn.GRU(s.context, s.memory, batch_first=True)
        self.context_place = nn.Parameter(0.1 * torch.randn(N_LAYERS, s.context))
        n_seen = s.memory + 2 * N_WINDOW + 1 + 4 + N_CONDITIONS
        self.context_in = nn.Linear(n_seen, s.context)
        self.context_out = nn.Linear(s.context, s.context)
        n_ring, n_angle = (neighbours.N_RING_INPUTS, neighbours.N_ANGLE_INPUTS) if s.leans else _OLDER
        self.ring_head = Divider(n_ring, N_RINGS - 1, s)
        self.angle_heads = nn.ModuleList(
            Divider(n_angle, N_RINGS * 2**level, s) for level in range(N_LEVELS)
        )

    def forward(self, cells_mev: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Return the logarithm of the density of showers, part by part, each of shape (shower,).

        Args:
            cells_mev: Shape (shower, layer, angle, ring).
            conditions: From `conditions`, shape (shower, 3).
        """
        if self.sizes.sampled:
            return self.layer_log_prob(cells_mev.double().sum(dim=(2, 3)), conditions)
        mev = neighbours.energies(cells_mev)
        rows = neighbours.rows(mev)
        layers = mev[..., : -1 : neighbours.OF_RING].double().sum(dim=2)
        found = self.layer_log_prob(layers, conditions)
        context = self.context(cells_mev, layers.to(cells_mev.dtype), conditions)
        for kind, head in enumerate((self.ring_head, *self.angle_heads)):
            name = f"angles{kind - 1}" if kind else "rings"
            found[name] = _divisions(head, neighbours.DIVISIONS.of(kind), mev, rows, context)
        return found

    def layer_log_prob(self, layers_mev: Tensor, conditions: Tensor) -> dict[str, Tensor]:
        """Return the logarithm of the density of the visible energy, and of its division among layers.

        Args:
            layers_mev: Shape (shower, layer), float64.
            conditions: From `conditions`, shape (shower, 3).
        """
        layers_mev = layers_mev.double()
        place = visible_place(layers_mev.flip(-1).sum(-1), conditions, self.sizes.sampled)
        total = self.total_log_prob(place, conditions)
        return {"total": total, "layers": self.division_log_prob(layers_mev, conditions)}

    def division_log_prob(self, layers_mev: Tensor, conditions: Tensor) -> Tensor:
        """Return the logarithm of the density of the visible energy's division among layers, (shower,).

        Args:
            layers_mev: Shape (shower, layer), float64.
            conditions: From `conditions`, shape (shower, 3).
        """
        remaining = layers_mev.flip(-1).cumsum(-1).flip(-1)
        outputs = self.layer_head(self._layer_state(layers_mev, remaining, conditions))
        left, right = layers_mev[:, :-1], remaining[:, 1:]
        return splits.log_probability(outputs, left, right).sum(dim=1)

    def total_log_prob(self, place: Tensor, conditions: Tensor) -> Tensor:
        """Return the logarithm of the density of `visible_place`, in its shape.

        Args:
            place: Shape (shower,), or (shower, value) where conditions have the shape (shower, 1, 3).
            conditions: From `conditions`.
        """
        mixture, spread = self.total_mixture(conditions)
        return splits.mixture_log_density(mixture, place.to(spread.dtype), spread)

    def total_mixture(self, conditions: Tensor) -> tuple[splits.Mixture, Tensor]:
        """Return the mixture of the density of `visible_place`, and what is added to its means."""
        weights, means, scales = self.total(conditions).split(N_TOTAL_COMPONENTS, dim=-1)
        spread = torch.linspace(-1.0, 2.0, N_TOTAL_COMPONENTS, device=means.device)
        return (weights, means, scales.clamp(MIN_LOG_SCALE, MAX_LOG_SCALE)), spread

    def _layer_state(self, layers: Tensor, remaining: Tensor, conditions: Tensor) -> Tensor:
        """Return what is known before each layer but the last, shape (shower, layer - 1, state)."""
        before = functional.pad(layers, (1, 0))[:, :-1]
        seen = layer_inputs(before, remaining)
        seen = seen[:, :-1].to(conditions.dtype)
        repeated = conditions.unsqueeze(1).expand(-1, seen.shape[1], -1)
        state, _ = self.layer_memory(torch.cat([seen, repeated], dim=-1))
        return state + self.layer_place[:-1]

    def context(self, cells_mev: Tensor, layers_mev: Tensor, conditions: Tensor) -> Tensor:
        """Return what is known of each layer before it is divided, shape (shower, layer, context).

        Args:
            cells_mev: Shape (shower, layer, angle, ring); layer n sees only those before it.
            layers_mev: Shape (shower, layer).
            conditions: Shape (shower, 3).
        """
        seen = functional.relu(self.cells(neighbours.brightness(cells_mev.flatten(2))))
        memory, _ = self.memory(seen)
        known = layer_facts(layers_mev, conditions)
        before = functional.pad(memory, (0, 0, 1, 0))[:, :-1]
        return self.context_of(torch.cat([before, known], dim=-1), self.context_place)

    def context_of(self, inputs: Tensor, place: Tensor) -> Tensor:
        """Return what is known of layers from the memory of those before and `layer_facts`."""
        hidden = functional.relu(self.context_in(inputs) + place)
        return functional.relu(self.context_out(hidden))


class Head(nn.Module):
    """Two layers from what is known to what a division is like."""

    def __init__(self, n_inputs: int, n_hidden: int) -> None:
        """Build them, with the mixture's first means apart."""
        super().__init__()
        self.hidden = nn.Linear(n_inputs, n_hidden)
        self.out = nn.Linear(n_hidden, splits.N_OUTPUTS)
        _spread_means(self.out)

    def forward(self, state: Tensor) -> Tensor:
        """Return what the network says, shape (..., `splits.N_OUTPUTS`)."""
        return self.out(functional.relu(self.hidden(functional.relu(state))))


class Divider(nn.Module):
    """Network for one kind of division at several places of a layer."""

    def __init__(self, n_inputs: int, n_places: int, sizes: Sizes) -> None:
        """Build it, with the mixture's first means apart."""
        super().__init__()
        self.near = nn.Linear(n_inputs, sizes.hidden, bias=False)
        self.far = nn.Linear(sizes.context, sizes.hidden)
        self.place = nn.Parameter(0.1 * torch.randn(n_places, sizes.hidden))
        self.hidden = nn.Linear(sizes.hidden, sizes.hidden)
        self.out = nn.Linear(sizes.hidden, splits.N_OUTPUTS)
        _spread_means(self.out)
        self.whole = nn.Parameter(torch.zeros(splits.N_STEPS + 1, sizes.hidden))
        self.gates = nn.Linear(sizes.hidden, 2)
        self.steps = nn.Linear(sizes.hidden, 2 * splits.N_STEPS)
        with torch.no_grad():
            self.gates.bias.fill_(-2.0)

    def forward(
        self,
        inputs: Tensor,
        context: Tensor,
        places: Tensor,
        layers: Tensor,
        halves_mev: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Return the logarithm of the probability of some divisions, shape (division,).

        Args:
            inputs: Shape (division, input).
            context: Of all layers of all showers, shape (all, context).
            places: In which place of its layer each division is, shape (division,).
            layers: In which of all layers it is, shape (division,).
            halves_mev: Energies of the left and the right half, each of shape (division,).
        """
        left, right = halves_mev
        state = self.state(inputs, self.far(context)[layers], self.place[places], left + right)
        steps = self.steps(state[(left > 0) & (right > 0)])
        return splits.stepped_log_probability(self.outputs(state), steps, left, right)

    def state(self, inputs: Tensor, far: Tensor, place: Tensor, whole_mev: Tensor) -> Tensor:
        """Return the last hidden layer, shape (division, hidden)."""
        state = self.near(inputs) + far + place
        state = state + self.whole.index_select(0, splits.step_number(whole_mev))
        return functional.relu(self.hidden(functional.relu(state)))

    def outputs(self, state: Tensor) -> Tensor:
        """Return what the network says but for the steps, shape (division, outputs)."""
        return torch.cat([self.out(state), self.gates(state)], dim=-1)


def _divisions(
    head: nn.Module, divisions: neighbours.Divisions, mev: Tensor, rows: Tensor, context: Tensor
) -> Tensor:
    """Return the logarithm of the density of all divisions of one kind, shape (shower,).

    Where there is nothing to divide, which is more than half of all places, nothing is computed.

    Args:
        head: The `Divider` of this kind.
        divisions: Where they are.
        mev: From `neighbours.energies`.
        rows: From `neighbours.rows`.
        context: From `ShowerNetwork.context`.
    """
    n_showers, n_layers, n_places = mev.shape
    tables = (divisions.left, divisions.right, divisions.seen)
    at_left, at_right, seen = (torch.from_numpy(table).to(mev.device) for table in tables)
    left, right = (mev.index_select(2, at).flatten(0, 1) for at in (at_left, at_right))
    layers, places = torch.nonzero(left + right > 0, as_tuple=True)
    halves = (left[layers, places], right[layers, places])
    # Of the rows that are seen the layer's own is the last.
    start = n_places * (neighbours.N_ROWS * (layers + 1) - 1)
    inputs = rows.take(start[:, None] + seen[places])
    log_prob = head(inputs, context.flatten(0, 1), places, layers, halves)
    empty = torch.zeros(n_showers, dtype=log_prob.dtype, device=log_prob.device)
    return empty.index_add(0, layers // n_layers, log_prob)


def conditions(energy_gev: Tensor, theta_deg: Tensor, absorber_mm: Tensor) -> Tensor:
    """Return what the network is told of a particle and the calorimeter, shape (shower, 3).

    Args:
        energy_gev: Shape (shower,); 1 to 100 GeV become -1.15 to 1.15.
        theta_deg: Shape (shower,); 0 to 30 degrees become -1 to 1.
        absorber_mm: Shape (shower,); 1.2 to 1.6 mm become -1 to 1.
    """
    columns = ((energy_gev / 10).log() / 2, theta_deg / 15 - 1, (absorber_mm - 1.4) / 0.2)
    return torch.stack(columns, dim=-1)


def energy_mev(conditions: Tensor) -> Tensor:
    """Return the incident energy in MeV, float64, in the shape of the conditions but the last."""
    return 1e4 * (2 * conditions[..., 0].double()).exp()


def visible_place(visible_mev: Tensor, conditions: Tensor, sampled: int) -> Tensor:
    """Return where a visible energy lies on the scale of its density, float64, in its shape.

    With v the visible over the incident energy, that is ln(1 - v) + 4.2, or 10 ln(v / 0.0324) where
    sensors alone are seen: about 0 for most showers.
    """
    share = visible_mev / energy_mev(conditions)
    if sampled:
        return PER_LOG * (share / SAMPLED).clamp(min=_LEAST_LOSS).log()
    return (1 - share).clamp(min=_LEAST_LOSS).log() + 4.2


def visible_log_slope(visible_mev: Tensor, conditions: Tensor, sampled: int) -> Tensor:
    """Return the logarithm of how `visible_place` changes with the visible energy, per MeV."""
    if sampled:
        return (PER_LOG / visible_mev).log()
    place = visible_place(visible_mev, conditions, sampled)
    return 4.2 - place - energy_mev(conditions).log()


def layer_inputs(before_mev: Tensor, remaining_mev: Tensor) -> Tensor:
    """Return what is seen when a layer is divided from those behind it, shape (..., 3).

    Args:
        before_mev: Energy of the layer before, 0 before the first.
        remaining_mev: Of this layer and all behind it.
    """
    share = splits.share_logit(before_mev, remaining_mev)
    share = torch.where((before_mev > 0) & (remaining_mev > 0), share, -6.0) / 6
    bright = (neighbours.brightness(each) for each in (before_mev, remaining_mev))
    return torch.stack([share, *bright], dim=-1)


def layer_facts(layers_mev: Tensor, conditions: Tensor) -> Tensor:
    """Return energies around each layer and facts of the whole shower, shape (shower, layer, fact)."""
    bright = neighbours.brightness(layers_mev)
    padded = functional.pad(bright, (N_WINDOW, N_WINDOW))
    window = padded.unfold(-1, 2 * N_WINDOW + 1, 1)
    place = torch.arange(N_LAYERS, device=layers_mev.device, dtype=layers_mev.dtype)
    whole = layers_mev.sum(dim=1, keepdim=True)
    depth = (layers_mev @ place)[:, None] / whole
    length = ((layers_mev @ place**2)[:, None] / whole - depth**2).clamp(min=0).sqrt()
    here = (place - depth) / 10
    numbers = [neighbours.brightness(whole).expand_as(here), depth.expand_as(here) / 20]
    facts = torch.stack([*numbers, length.expand_as(here) / 10, here], dim=-1)
    repeated = conditions.unsqueeze(1).expand(-1, N_LAYERS, -1)
    return torch.cat([window, facts, repeated], dim=-1)


def _spread_means(out: nn.Linear) -> None:
    n = splits.N_COMPONENTS
    with torch.no_grad():
        out.weight.mul_(0.3)
        out.bias[3 + n : 3 + 2 * n] = torch.linspace(-2.0, 2.0, n)
        out.bias[3 + 2 * n :] = -0.5
