"""The flow as one graph of tensors, from random numbers to showers, that can become an ONNX file.

`drawing` is the fast way to draw on a processor. This one computes empty parts too: slower, but any
program that runs ONNX can run it.
"""

from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn import functional

from physics_twins.calorimeter.flow import neighbours, splits
from physics_twins.calorimeter.flow import network as networks
from physics_twins.calorimeter.flow.neighbours import (
    CELLS,
    DIVISIONS,
    KEEPS,
    N_ANGLES,
    N_LAYERS,
    N_PLACES,
    N_RINGS,
    N_ROWS,
    OF_RING,
)
from physics_twins.calorimeter.flow.network import Divider, ShowerNetwork

_HALVINGS = N_ANGLES - 1  # of a ring
_BEFORE = (N_ROWS - 1) * N_PLACES  # what is seen of layers before
_RIGHT_STEP = 4  # the outcome of a division that gives the right half a step of energy
_LAYER_STEPS, _RING_STEPS = N_LAYERS - 1, N_RINGS - 1
# Random numbers of a shower: two for its energy, three for each division.
N_UNIFORMS = 2 + 3 * (_LAYER_STEPS + N_LAYERS * (_RING_STEPS + N_RINGS * _HALVINGS))
Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = tuple[Tensors, Tensor]


class ShowerGraph(nn.Module):
    """Showers from energies, angles, thicknesses and random numbers between 0 and 1."""

    # Buffers: where in the rows stands what is seen at a division, and where in the layer's own row
    # the left half.
    seen: Tensor
    left: Tensor

    def __init__(self, network: ShowerNetwork) -> None:
        """Take a network's weights."""
        super().__init__()
        self.network = network
        seen = torch.from_numpy(DIVISIONS.seen + _BEFORE)
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("left", torch.from_numpy(DIVISIONS.left), persistent=False)

    def forward(
        self, energy_gev: Tensor, theta_deg: Tensor, absorber_mm: Tensor, uniforms: Tensor
    ) -> Tensor:
        """Return cells in MeV, shape (shower, layer, angle, ring), float32.

        Args:
            energy_gev: Shape (shower,), float32, as all others.
            theta_deg: Shape (shower,).
            absorber_mm: Shape (shower,).
            uniforms: Random numbers between 0 and 1, both excluded, shape (shower, `N_UNIFORMS`).
        """
        known = networks.conditions(energy_gev, theta_deg, absorber_mm)
        own, n = uniforms[:, :2], 2 + 3 * _LAYER_STEPS
        visible = self._visible(1e3 * energy_gev.double(), known, own)
        steps = uniforms[:, 2:n].unflatten(1, (_LAYER_STEPS, 3)).transpose(0, 1)
        layers = self._layers(visible, known, steps)
        each = (N_LAYERS, _RING_STEPS + N_RINGS * _HALVINGS, 3)
        return self._cells(layers, known, uniforms[:, n:].unflatten(1, each).transpose(0, 1))

    def _visible(self, incident_mev: Tensor, known: Tensor, uniforms: Tensor) -> Tensor:
        (weights, means, log_scales), spread = self.network.total_mixture(known)
        loss = _logistic((weights, means + spread, log_scales), uniforms) - 4.2
        low, high = torch.tensor([1e-4, 0.999], dtype=torch.float64).log()
        return incident_mev * (1 - torch.minimum(torch.maximum(loss, low), high).exp())

    def _layers(self, visible: Tensor, known: Tensor, uniforms: Tensor) -> Tensor:
        unit, place = self.network.layer_memory.all_weights[0], self.network.layer_place

        def step(carry: Tensors, given: Tensors) -> Step:
            memory, before, remaining = carry
            here, numbers = given
            seen = networks.layer_inputs(before, remaining).float()
            memory = torch.gru_cell(torch.cat([seen, known], dim=-1), memory, *unit)
            left = _left(self.network.layer_head(memory + here), None, remaining, numbers)
            return (memory, left, remaining - left), left.clone()

        memory = torch.zeros_like(known[:, :1]).expand(-1, place.shape[1]).clone()
        start = (memory, torch.zeros_like(visible), visible)
        (_, _, rest), found = scan(step, start, (place[:-1], uniforms))
        return torch.cat([found.transpose(0, 1), rest.clamp(min=0)[:, None]], dim=1)

    def _cells(self, layers: Tensor, known: Tensor, uniforms: Tensor) -> Tensor:
        network = self.network
        facts = networks.layer_facts(layers.float(), known)
        unit = network.memory.all_weights[0]

        def step(carry: Tensors, given: Tensors) -> Step:
            memory, near, *faded = carry
            before = torch.cat([*map(neighbours.leans, reversed(faded)), near], dim=1)
            whole, fact, place, numbers = given
            context = network.context_of(torch.cat([memory, fact], dim=-1), place)
            rings, bright = self._rings(whole, context, before, numbers[:, :_RING_STEPS])
            cells, bright = self._angles(rings, bright, context, before, numbers[:, _RING_STEPS:])
            shining = bright[:, :-1].unflatten(1, (N_RINGS, OF_RING))[:, :, CELLS : CELLS + N_ANGLES]
            seen = functional.relu(network.cells(shining.transpose(1, 2).flatten(1)))
            memory = torch.gru_cell(seen, memory, *unit)
            mev = neighbours.energies(cells.transpose(1, 2)[:, None].float())[:, 0]
            near = torch.cat([near[:, N_PLACES:], bright], dim=1)
            faded = [k * each + (1 - k) * mev for k, each in zip(KEEPS, faded, strict=True)]
            return (memory, near, *faded), cells

        empty = torch.zeros_like(known[:, :1])
        widths = (network.sizes.memory, 2 * N_PLACES, *(N_PLACES for _ in KEEPS))
        start = tuple(empty.expand(-1, n).clone() for n in widths)
        given = (layers.transpose(0, 1), facts.transpose(0, 1), network.context_place, uniforms)
        _, cells = scan(step, start, given)
        return cells.permute(1, 0, 3, 2).float()

    def _rings(
        self, whole: Tensor, context: Tensor, before: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the energy of each ring, shape (shower, ring), and what shines of the layer's row."""
        head = self.network.ring_head
        far, rings = head.far(context), []
        bright = torch.zeros_like(before[:, :N_PLACES])
        bright = _put(bright, DIVISIONS.whole[0], whole)
        for n in range(_RING_STEPS):
            seen_at = self.seen[n, : neighbours.N_RING_INPUTS]
            seen = torch.cat([before, bright], dim=1).index_select(1, seen_at)
            left = _divided(head, seen, far, head.place[n], whole, uniforms[:, n])
            whole = whole - left
            bright = _put(_put(bright, DIVISIONS.left[n], left), DIVISIONS.right[n], whole)
            rings.append(left)
        return torch.stack([*rings, whole], dim=1), bright

    def _angles(
        self, rings: Tensor, bright: Tensor, context: Tensor, before: Tensor, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return energies of cells, shape (ring, shower, angle) as scanned, and all that shines."""
        heads = [head for head in self.network.angle_heads if isinstance(head, Divider)]
        far = [head.far(context) for head in heads]

        def ring(carry: Tensors, given: Tensors) -> Step:
            (bright,) = carry
            whole, numbers, seen_at, halves, *places = given
            parts = [whole]
            for n in range(_HALVINGS):
                level = (n + 1).bit_length() - 1
                place = places[level][n + 1 - (1 << level)]
                seen = torch.cat([before, bright], dim=1).index_select(1, seen_at[n])
                left = _divided(heads[level], seen, far[level], place, parts[n], numbers[n])
                right = parts[n] - left
                bright = _put(_put(bright, halves[n], left), halves[n] + 1, right)
                parts += [left, right]
            return (bright,), torch.stack(parts[_HALVINGS:], dim=1)

        given = (
            rings.transpose(0, 1),
            uniforms.unflatten(1, (N_RINGS, _HALVINGS)).permute(1, 2, 0, 3),
            self.seen[_RING_STEPS:].unflatten(0, (N_RINGS, _HALVINGS)),
            self.left[_RING_STEPS:].unflatten(0, (N_RINGS, _HALVINGS)),
            *(head.place.unflatten(0, (N_RINGS, -1)) for head in heads),
        )
        (bright,), cells = scan(ring, (bright.clone(),), given)
        return cells.transpose(0, 1), bright


def _put(bright: Tensor, place: Tensor | int, energy_mev: Tensor) -> Tensor:
    """Return a row, shape (shower, `N_PLACES`), with an energy's brightness in one place."""
    here = torch.arange(N_PLACES) == place
    return torch.where(here, neighbours.brightness(energy_mev).float()[:, None], bright)


def _divided(
    head: Divider, seen: Tensor, far: Tensor, place: Tensor, whole_mev: Tensor, uniforms: Tensor
) -> Tensor:
    state = head.state(seen, far, place, whole_mev)
    return _left(head.outputs(state), head.steps(state), whole_mev, uniforms)


def _left(outputs: Tensor, steps: Tensor | None, whole_mev: Tensor, uniforms: Tensor) -> Tensor:
    """Return the energy of the left half in MeV, float64, shape (shower,).

    Args:
        outputs: What a network says of the division, see `splits`.
        steps: Logits of both halves' steps, shape (shower, 2 * `splits.N_STEPS`), if there are any.
        whole_mev: What is divided, float64, shape (shower,).
        uniforms: Three random numbers, shape (shower, 3).
    """
    outcome = _number(splits.outcome_logits(outputs, whole_mev), uniforms[:, 0])
    z = _logistic(splits.share_mixture(outputs), uniforms[:, 1:])
    share = z.clamp(-splits.MAX_LOGIT, splits.MAX_LOGIT).sigmoid()
    shared = splits.THRESHOLD_MEV + (whole_mev - 2 * splits.THRESHOLD_MEV) * share
    each = [whole_mev, torch.zeros_like(whole_mev), shared]
    if steps is not None:
        of_left, of_right = steps.split(splits.N_STEPS, dim=-1)
        logits = torch.where(outcome == _RIGHT_STEP, of_right, of_left)
        step = _number(splits.allowed_steps(logits, whole_mev), uniforms[:, 1])[:, 0]
        log_edges = torch.from_numpy(splits.STEP_EDGES_MEV).log()
        low, high = log_edges.index_select(0, step), log_edges.index_select(0, step + 1)
        half = (low + uniforms[:, 2].double() * (high - low)).exp()
        each += [half, whole_mev - half]
    return torch.stack(each, dim=-1).gather(1, outcome)[:, 0] * (whole_mev > 0)


def _logistic(mixture: splits.Mixture, uniforms: Tensor) -> Tensor:
    """Return numbers drawn from mixtures of logistic distributions by two random ones, float64."""
    chosen = _number(mixture[0], uniforms[:, 0])
    mean, log_scale = (each.gather(1, chosen)[:, 0] for each in mixture[1:])
    return mean.double() + log_scale.exp().double() * uniforms[:, 1].double().logit()


def _number(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return the number of the component that is chosen by its logit, shape (shower, 1)."""
    edges = logits.softmax(dim=-1).cumsum(dim=-1)[..., :-1]
    return (uniform.unsqueeze(-1) > edges).sum(dim=-1, keepdim=True)
