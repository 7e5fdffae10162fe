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
from physics_twins.calorimeter.flow.neighbours import N_ANGLES, N_LAYERS, N_LEVELS, N_RINGS
from physics_twins.calorimeter.flow.network import ShowerNetwork

_PARTS = 2 * N_ANGLES - 1  # of a ring: itself, its halves, ... its cells
_CELLS = N_RINGS * _PARTS
_SEEN_LAYERS = 4  # a layer and the three before it
_HALVINGS = N_RINGS * (N_ANGLES - 1)
_STEP_WEIGHTS = ("steps.weight", "steps.bias", "whole")
_LAYER_STEPS, _RING_STEPS = N_LAYERS - 1, N_RINGS - 1
# Random numbers of a shower: two for its energy, three for each division.
N_UNIFORMS = 2 + 3 * (_LAYER_STEPS + N_LAYERS * (_RING_STEPS + _HALVINGS))
Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = tuple[Tensors, Tensor]


class ShowerGraph(nn.Module):
    """Showers from energies, angles, thicknesses and random numbers between 0 and 1."""

    # Buffers: weights of all angle heads one after the other, and what is seen at each halving.
    heads_near_weight: Tensor
    heads_far_weight: Tensor
    heads_far_bias: Tensor
    heads_hidden_weight: Tensor
    heads_hidden_bias: Tensor
    heads_out_weight: Tensor
    heads_out_bias: Tensor
    heads_gates_weight: Tensor
    heads_gates_bias: Tensor
    heads_steps_weight: Tensor
    heads_steps_bias: Tensor
    heads_whole: Tensor
    seen: Tensor
    level: Tensor

    def __init__(self, network: ShowerNetwork) -> None:
        """Take a network's weights, and number what is seen at each step."""
        super().__init__()
        self.network = network
        heads = list(network.angle_heads)
        for name in ("near.weight", "far.weight", "far.bias", "hidden.weight", "hidden.bias"):
            self._keep(name, torch.stack([head.get_parameter(name).detach() for head in heads]))
        for name in ("out.weight", "out.bias", "gates.weight", "gates.bias", *_STEP_WEIGHTS):
            self._keep(name, torch.stack([head.get_parameter(name).detach() for head in heads]))
        seen, place, parent, first, second, level = _halvings()
        self.register_buffer("seen", seen, persistent=False)
        self.register_buffer("level", level, persistent=False)
        places = [h.get_parameter("place").detach() for h in heads]
        rows = [places[int(n)][int(p)] for n, p in zip(level, place, strict=True)]
        self.register_buffer("place", torch.stack(rows), persistent=False)
        for name, chosen in (("parent", parent), ("first", first), ("second", second)):
            mask = functional.one_hot(chosen, _CELLS).double()
            self.register_buffer(f"is_{name}", mask, persistent=False)

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer("heads_" + name.replace(".", "_"), tensor, persistent=False)

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
        each = (N_LAYERS, _RING_STEPS + _HALVINGS, 3)
        return self._cells(layers, known, uniforms[:, n:].unflatten(1, each).transpose(0, 1))

    def _visible(self, incident_mev: Tensor, known: Tensor, uniforms: Tensor) -> Tensor:
        k = networks.N_TOTAL_COMPONENTS
        weights, means, scales = self.network.total(known).split(k, dim=-1)
        chosen = _chosen(weights, uniforms[:, 0])
        spread = torch.linspace(-1.0, 2.0, k)
        mean = ((means + spread) * chosen).sum(dim=-1)
        scale = (
            (scales.clamp(networks.MIN_LOG_SCALE, networks.MAX_LOG_SCALE) * chosen).sum(dim=-1).exp()
        )
        loss = mean.double() + scale.double() * _logit(uniforms[:, 1]) - 4.2
        low, high = torch.tensor([1e-4, 0.999], dtype=torch.float64).log()
        return incident_mev * (1 - torch.minimum(torch.maximum(loss, low), high).exp())

    def _layers(self, visible: Tensor, known: Tensor, uniforms: Tensor) -> Tensor:
        unit, place = _tensors(self.network.layer_memory), self.network.layer_place
        head = self.network.layer_head

        def step(carry: Tensors, given: Tensors) -> Step:
            memory, before, remaining = carry
            here, numbers = given
            share = splits.share_logit(before, remaining)
            share = torch.where((before > 0) & (remaining > 0), share, -6.0) / 6
            bright = [neighbours.brightness(before), neighbours.brightness(remaining)]
            seen = torch.stack([share, *bright], dim=-1).float()
            memory = _remember(unit, torch.cat([seen, known], dim=-1), memory)
            left = _divided(head(memory + here), remaining, numbers)
            return (memory, left, remaining - left), left.clone()

        memory = torch.zeros_like(known[:, :1]).expand(-1, place.shape[1]).clone()
        start = (memory, torch.zeros_like(visible), visible)
        (_, _, rest), found = scan(step, start, (place[:-1], uniforms))
        return torch.cat([found.transpose(0, 1), rest.clamp(min=0)[:, None]], dim=1)

    def _cells(self, layers: Tensor, known: Tensor, uniforms: Tensor) -> Tensor:
        facts = networks.layer_facts(layers.float(), known)
        unit = _tensors(self.network.memory)

        def step(carry: Tensors, given: Tensors) -> Step:
            memory, first, second, third = carry
            whole, fact, place, numbers = given
            state = self.network.context_in(torch.cat([memory, fact], dim=-1)) + place
            context = functional.relu(self.network.context_out(functional.relu(state)))
            rings = self._rings(whole, context, (first, second, third), numbers[:, :_RING_STEPS])
            cells, bright = self._angles(
                rings, context, (first, second, third), numbers[:, _RING_STEPS:]
            )
            shining = bright.unflatten(1, (N_RINGS, _PARTS))[:, :, N_ANGLES - 1 :]
            seen = functional.relu(self.network.cells(shining.transpose(1, 2).flatten(1)))
            memory = _remember(unit, seen, memory)
            return (memory, bright, first.clone(), second.clone()), cells

        empty = torch.zeros_like(known[:, :1])
        dark = empty.expand(-1, _CELLS)
        start = (
            empty.expand(-1, self.network.sizes.memory).clone(),
            *(dark.clone() for _ in range(_SEEN_LAYERS - 1)),
        )
        given = (
            layers.transpose(0, 1),
            facts.transpose(0, 1),
            self.network.context_place,
            uniforms,
        )
        _, cells = scan(step, start, given)
        cells = cells.transpose(0, 1).unflatten(2, (N_RINGS, _PARTS))[..., N_ANGLES - 1 :]
        return cells.transpose(2, 3).float()

    def _rings(self, whole: Tensor, context: Tensor, before: Tensors, uniforms: Tensor) -> Tensor:
        """Return the energy of each ring, shape (shower, ring)."""
        head = self.network.ring_head
        far = head.far(context)
        last = [bright.unflatten(1, (N_RINGS, _PARTS))[:, :, 0] for bright in before]
        # What lies beyond a ring is seen as energy, not as the sum of brightnesses.
        energies = [splits.THRESHOLD_MEV * torch.expm1(4 * bright) for bright in last]
        beyond = [neighbours.brightness(e.flip(-1).cumsum(-1).flip(-1)) for e in energies]
        remaining, found = whole, []
        nothing = torch.zeros_like(far[:, 0])
        ring: list[Tensor] = []
        for n in range(_RING_STEPS):
            seen = torch.stack(
                [
                    neighbours.brightness(remaining).float(),
                    neighbours.brightness(whole).float(),
                    ring[n - 1] if n > 0 else nothing,
                    ring[n - 2] if n > 1 else nothing,
                    last[0][:, n - 1] if n > 0 else nothing,
                    last[0][:, n],
                    last[0][:, n + 1],
                    beyond[0][:, n + 2] if n + 2 < N_RINGS else nothing,
                    last[1][:, n],
                    beyond[1][:, n + 1],
                    last[1][:, n - 1] if n > 0 else nothing,
                    last[2][:, n],
                ],
                dim=-1,
            )
            held = head.whole.index_select(0, splits.step_number(remaining))
            state = functional.relu(head.near(seen) + far + head.place[n] + held)
            state = functional.relu(head.hidden(state))
            outputs = torch.cat([head.out(state), head.gates(state)], dim=-1)
            left = _divided_in_steps(outputs, head.steps(state), remaining, uniforms[:, n])
            found.append(left)
            ring.append(neighbours.brightness(left).float())
            remaining = remaining - left
        return torch.stack([*found, remaining], dim=1)

    def _angles(
        self, rings: Tensor, context: Tensor, before: Tensors, uniforms: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return energy and brightness of all parts of all rings, shape (shower, ring and part)."""
        far = torch.einsum("bc,lhc->lbh", context, self.heads_far_weight)
        far = far + self.heads_far_bias[:, None]
        earlier = torch.cat(before, dim=1)

        def step(carry: Tensors, given: Tensors) -> Step:
            energy, bright = carry
            seen, place, level, is_parent, is_first, is_second, numbers = given
            dark = torch.zeros_like(bright[:, :1])
            around = torch.cat([dark, bright, earlier], dim=1).index_select(1, seen)
            one = level.reshape(1)
            near = self.heads_near_weight.index_select(0, one)[0]
            whole = (energy * is_parent).sum(dim=1)
            held = self.heads_whole.index_select(0, one)[0].index_select(0, splits.step_number(whole))
            state = around @ near.t() + far.index_select(0, one)[0] + place + held
            hidden = self.heads_hidden_weight.index_select(0, one)[0]
            offset = self.heads_hidden_bias.index_select(0, one)
            state = functional.relu(functional.relu(state) @ hidden.t() + offset)
            said = [
                state @ weight.index_select(0, one)[0].t() + bias.index_select(0, one)
                for weight, bias in (
                    (self.heads_out_weight, self.heads_out_bias),
                    (self.heads_gates_weight, self.heads_gates_bias),
                    (self.heads_steps_weight, self.heads_steps_bias),
                )
            ]
            left = _divided_in_steps(torch.cat(said[:2], dim=-1), said[2], whole, numbers)
            right = whole - left
            energy = energy + left[:, None] * is_first + right[:, None] * is_second
            shine = [neighbours.brightness(half).float()[:, None] for half in (left, right)]
            bright = bright + shine[0] * is_first.float() + shine[1] * is_second.float()
            return (energy, bright), left.clone()

        whole = functional.pad(rings[..., None], (0, _PARTS - 1)).flatten(1)
        start = (whole, neighbours.brightness(whole).float())
        given = (self.seen, self.place, self.level, self.is_parent, self.is_first, self.is_second)
        (energy, bright), _ = scan(step, start, (*given, uniforms.transpose(0, 1)))
        return energy, bright


def _halvings() -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return for each halving what is seen, its place, parent, halves and level.

    What is seen is counted in (nothing, this layer's parts, those of the three layers before).
    """
    rows: list[list[int]] = []
    facts: list[tuple[int, int, int, int, int]] = []
    for ring in range(N_RINGS):
        for level in range(N_LEVELS):
            n = 1 << level
            for part in range(n):
                a = 2 * n - 1 + 2 * part
                rows.append(_seen(ring, n, part))
                parent = ring * _PARTS + n - 1 + part
                facts.append((ring * n + part, parent, ring * _PARTS + a, ring * _PARTS + a + 1, level))
    place, parent, first, second, level = torch.tensor(facts).unbind(1)
    return torch.tensor(rows), place, parent, first, second, level


def _seen(ring: int, n: int, part: int) -> list[int]:
    """Return where what is seen at a halving stands, in the order of `neighbours.angle_inputs`."""

    def at(layers_before: int, ring: int, place: int) -> int:
        if not 0 <= ring < N_RINGS:
            return 0
        return 1 + layers_before * _CELLS + ring * _PARTS + place

    parts, halves = n - 1, 2 * n - 1
    a = halves + 2 * part
    before, behind = halves + (2 * part - 1) % (2 * n), halves + (2 * part + 2) % (2 * n)
    around = (before, a, a + 1, behind)
    pair = (a, a + 1)
    return [
        at(0, ring, parts + part),
        at(0, ring, before) if part > 0 else 0,
        at(0, ring, behind) if part == n - 1 and n > 1 else 0,
        at(0, ring, parts + (part - 1) % n),
        at(0, ring, parts + (part + 1) % n),
        *(at(0, ring - 1, p) for p in around),
        *(at(0, ring - 2, p) for p in pair),
        at(0, ring, 0),
        at(0, ring + 1, 0),
        *(at(1, ring, p) for p in around),
        *(at(1, ring + 1, p) for p in pair),
        *(at(1, ring - 1, p) for p in pair),
        *(at(2, ring, p) for p in pair),
        *(at(3, ring, p) for p in pair),
    ]


def _divided(outputs: Tensor, whole_mev: Tensor, uniforms: Tensor) -> Tensor:
    """Return the energy of the first half in MeV, float64, shape (shower,).

    Args:
        outputs: What a network says of the division, shape (shower, `splits.N_OUTPUTS`).
        whole_mev: What is divided, float64, shape (shower,).
        uniforms: Three random numbers, shape (shower, 3).
    """
    outcome = splits.outcome_logits(outputs, whole_mev).softmax(dim=-1).cumsum(dim=-1)
    u = uniforms[:, 0]
    divided = _share(outputs, whole_mev, uniforms)
    one_side = torch.where(u < outcome[:, 0], whole_mev, torch.zeros_like(whole_mev))
    return torch.where(u < outcome[:, 1], one_side, divided) * (whole_mev > 0)


def _divided_in_steps(outputs: Tensor, steps: Tensor, whole_mev: Tensor, uniforms: Tensor) -> Tensor:
    """Return the energy of the first half in MeV where its density has steps, as `_divided` does.

    Args:
        outputs: Shape (shower, `splits.N_STEPPED_OUTPUTS`).
        steps: Logits of both halves' steps, shape (shower, 2 * `splits.N_STEPS`).
        whole_mev: What is divided, float64, shape (shower,).
        uniforms: Three random numbers, shape (shower, 3).
    """
    outcome = _chosen(splits.stepped_logits(outputs, whole_mev), uniforms[:, 0]).double()
    log_edges = torch.from_numpy(splits.STEP_EDGES_MEV).log()
    halves = []
    for logits in steps.unflatten(-1, (2, splits.N_STEPS)).unbind(1):
        chosen = _chosen(splits.allowed_steps(logits, whole_mev), uniforms[:, 1]).double()
        low, high = chosen @ log_edges[:-1], chosen @ log_edges[1:]
        halves.append((low + uniforms[:, 2].double() * (high - low)).exp())
    shared = _share(outputs[..., : splits.N_OUTPUTS], whole_mev, uniforms)
    each = [whole_mev, torch.zeros_like(whole_mev), shared, halves[0], whole_mev - halves[1]]
    return (torch.stack(each, dim=-1) * outcome).sum(dim=-1) * (whole_mev > 0)


def _share(outputs: Tensor, whole_mev: Tensor, uniforms: Tensor) -> Tensor:
    """Return the energy of the first half where both hold some, by the second and third numbers."""
    weights, means, scales = outputs[..., 3:].split(splits.N_COMPONENTS, dim=-1)
    chosen = _chosen(weights, uniforms[:, 1])
    scale = (scales.clamp(splits.MIN_LOG_SCALE, splits.MAX_LOG_SCALE) * chosen).sum(dim=-1).exp()
    mean = (means * chosen).sum(dim=-1)
    z = mean.double() + scale.double() * _logit(uniforms[:, 2])
    share = z.clamp(-splits.MAX_LOGIT, splits.MAX_LOGIT).sigmoid()
    return splits.THRESHOLD_MEV + (whole_mev - 2 * splits.THRESHOLD_MEV) * share


def _chosen(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return 1 for the component that is chosen by its logit and 0 for the others, shape as logits."""
    edges = logits.softmax(dim=-1).cumsum(dim=-1)[..., :-1]
    number = (uniform.unsqueeze(-1) > edges).sum(dim=-1, keepdim=True)
    return (torch.arange(logits.shape[-1]) == number).to(logits.dtype)


def _logit(uniform: Tensor) -> Tensor:
    return uniform.double().log() - (1 - uniform.double()).log()


def _tensors(unit: nn.GRU) -> Tensors:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return tuple(unit.get_parameter(name) for name in names)


def _remember(unit: Tensors, seen: Tensor, memory: Tensor) -> Tensor:
    """Return the state of a gated recurrent unit after it has seen something."""
    new = functional.linear(seen, unit[0], unit[2]).chunk(3, dim=-1)
    old = functional.linear(memory, unit[1], unit[3]).chunk(3, dim=-1)
    reset, update = (new[0] + old[0]).sigmoid(), (new[1] + old[1]).sigmoid()
    fresh = (new[2] + reset * old[2]).tanh()
    return (1 - update) * fresh + update * memory
