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
_OWN = 11  # of what is seen at a halving: parts of its own layer, in its ring and the two inside
_RIGHT_STEP = 4  # the outcome of a division that gives the right half a step of energy
_LAYER_STEPS, _RING_STEPS = N_LAYERS - 1, N_RINGS - 1
# Random numbers of a shower: two for its energy, three for each division.
N_UNIFORMS = 2 + 3 * (_LAYER_STEPS + N_LAYERS * (_RING_STEPS + _HALVINGS))
Tensors: TypeAlias = tuple[Tensor, ...]
Step: TypeAlias = tuple[Tensors, Tensor]


class ShowerGraph(nn.Module):
    """Showers from energies, angles, thicknesses and random numbers between 0 and 1."""

    # Buffers: weights of the angle heads for each halving of a ring, and what is seen there.
    near: Tensor
    far_weight: Tensor
    far_bias: Tensor
    known: Tensor
    places: Tensor
    hidden_weight: Tensor
    hidden_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor
    whole: Tensor
    seen: Tensor
    earlier: Tensor
    parent: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, network: ShowerNetwork) -> None:
        """Take a network's weights, and number what is seen at each step."""
        super().__init__()
        self.network = network
        halvings = [(level, part) for level in range(N_LEVELS) for part in range(1 << level)]
        levels = torch.tensor([level for level, _ in halvings])
        heads = list(network.angle_heads)

        def of_halvings(*names: str) -> Tensor:
            each = [torch.cat([head.get_parameter(n).detach() for n in names]) for head in heads]
            return torch.stack(each)[levels]

        near = of_halvings("near.weight")
        out = ("out", "gates", "steps")
        places = [head.get_parameter("place").detach().unflatten(0, (N_RINGS, -1)) for head in heads]
        parents = torch.tensor([(1 << level) - 1 + part for level, part in halvings])
        kept = {
            "near": near[..., :_OWN].transpose(1, 2),
            "known": near[..., _OWN:].transpose(1, 2),
            "far_weight": of_halvings("far.weight"),
            "far_bias": of_halvings("far.bias"),
            "places": torch.cat(places, dim=1),
            "hidden_weight": of_halvings("hidden.weight").transpose(1, 2),
            "hidden_bias": of_halvings("hidden.bias"),
            "out_weight": of_halvings(*(f"{name}.weight" for name in out)).transpose(1, 2),
            "out_bias": of_halvings(*(f"{name}.bias" for name in out)),
            "whole": of_halvings("whole"),
            "seen": torch.tensor([_seen(level, part) for level, part in halvings]),
            "earlier": torch.tensor(
                [[_seen_earlier(ring, *each) for each in halvings] for ring in range(N_RINGS)]
            ),
            "parent": parents[:, None],
            "first": functional.one_hot(2 * parents + 1, _PARTS).double(),
            "second": functional.one_hot(2 * parents + 2, _PARTS).double(),
        }
        for name, tensor in kept.items():
            self.register_buffer(name, tensor.contiguous(), persistent=False)

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
        chosen = _number(weights, uniforms[:, 0])
        mean = (means + torch.linspace(-1.0, 2.0, k)).gather(1, chosen)[:, 0]
        scale = scales.gather(1, chosen)[:, 0]
        scale = scale.clamp(networks.MIN_LOG_SCALE, networks.MAX_LOG_SCALE).exp()
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
        dark = torch.zeros_like(context[:, :1])
        bright_rings = neighbours.brightness(rings).float()
        known = torch.cat([dark, bright_rings, *before], dim=1)
        known = known.index_select(1, self.earlier.flatten()).unflatten(1, self.earlier.shape)
        # What does not depend on parts of this layer, for all halvings at once: (ring, halving, ...).
        state = torch.einsum("brhk,hkc->rhbc", known, self.known) + self.places[:, :, None]
        state = state + torch.einsum("bk,hck->hbc", context, self.far_weight) + self.far_bias[:, None]

        def halve(carry: Tensors, given: Tensors) -> Step:
            energy, bright, inside = carry
            known, numbers, seen, parent, first, second, near, whole, *layers = given
            around = torch.cat([dark, bright, inside], dim=1).index_select(1, seen)
            parted = energy.index_select(1, parent)[:, 0]
            state = known + around @ near + whole.index_select(0, splits.step_number(parted))
            state = functional.relu(functional.relu(state) @ layers[0] + layers[1])
            outputs = state @ layers[2] + layers[3]
            n = splits.N_STEPPED_OUTPUTS
            left = _divided_in_steps(outputs[:, :n], outputs[:, n:], parted, numbers)
            right = parted - left
            shine = [neighbours.brightness(half).float()[:, None] for half in (left, right)]
            energy = energy + left[:, None] * first + right[:, None] * second
            bright = bright + shine[0] * first.float() + shine[1] * second.float()
            return (energy, bright, inside.clone()), left.clone()

        def ring(carry: Tensors, given: Tensors) -> Step:
            (inside,) = carry
            whole, known, numbers = given
            energy = functional.pad(whole[:, None], (0, _PARTS - 1))
            bright = neighbours.brightness(energy).float()
            facts = (self.seen, self.parent, self.first, self.second, self.near, self.whole)
            layers = (self.hidden_weight, self.hidden_bias, self.out_weight, self.out_bias)
            start = (energy, bright, inside)
            (energy, bright, _), _ = scan(halve, start, (known, numbers, *facts, *layers))
            inside = torch.cat([bright, inside[:, :_PARTS]], dim=1)
            return (inside,), torch.cat([energy, bright.double()], dim=1)

        numbers = uniforms.unflatten(1, (N_RINGS, N_ANGLES - 1)).permute(1, 2, 0, 3)
        start = (dark.expand(-1, 2 * _PARTS).clone(),)
        _, found = scan(ring, start, (rings.transpose(0, 1), state, numbers))
        energy, bright = found.transpose(0, 1).split(_PARTS, dim=2)
        # What is carried must have the strides that it had at first, for one shower, too.
        bright = bright.float().flatten(1).clone(memory_format=torch.contiguous_format)
        return energy.flatten(1), bright


def _seen(level: int, part: int) -> list[int]:
    """Return where the first of what is seen at a halving stands, in the order of `angle_inputs`.

    It is counted in (nothing, this ring's parts, those of the ring inside, of the one inside that).
    """
    n = 1 << level
    parts, halves = n - 1, 2 * n - 1
    a = halves + 2 * part
    before, behind = halves + (2 * part - 1) % (2 * n), halves + (2 * part + 2) % (2 * n)
    return [
        1 + parts + part,
        1 + before if part > 0 else 0,
        1 + behind if part == n - 1 and n > 1 else 0,
        1 + parts + (part - 1) % n,
        1 + parts + (part + 1) % n,
        *(1 + _PARTS + p for p in (before, a, a + 1, behind)),
        *(1 + 2 * _PARTS + p for p in (a, a + 1)),
    ]


def _seen_earlier(ring: int, level: int, part: int) -> list[int]:
    """Return where the rest stands, counted in (nothing, rings, parts of the three layers before)."""

    def at(layers_before: int, ring: int, place: int) -> int:
        beyond = not 0 <= ring < N_RINGS
        return 0 if beyond else 1 + N_RINGS + (layers_before - 1) * _CELLS + ring * _PARTS + place

    n = 1 << level
    halves = 2 * n - 1
    a = halves + 2 * part
    pair = (a, a + 1)
    around = (halves + (2 * part - 1) % (2 * n), *pair, halves + (2 * part + 2) % (2 * n))
    return [
        1 + ring,
        2 + ring if ring + 1 < N_RINGS else 0,
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
    outcome = _number(splits.stepped_logits(outputs, whole_mev), uniforms[:, 0])
    of_left, of_right = steps.split(splits.N_STEPS, dim=-1)
    logits = splits.allowed_steps(torch.where(outcome == _RIGHT_STEP, of_right, of_left), whole_mev)
    step = _number(logits, uniforms[:, 1])[:, 0]
    log_edges = torch.from_numpy(splits.STEP_EDGES_MEV).log()
    low, high = log_edges.index_select(0, step), log_edges.index_select(0, step + 1)
    half = (low + uniforms[:, 2].double() * (high - low)).exp()
    shared = _share(outputs[:, : splits.N_OUTPUTS], whole_mev, uniforms)
    each = [whole_mev, torch.zeros_like(whole_mev), shared, half, whole_mev - half]
    return torch.stack(each, dim=-1).gather(1, outcome)[:, 0] * (whole_mev > 0)


def _share(outputs: Tensor, whole_mev: Tensor, uniforms: Tensor) -> Tensor:
    """Return the energy of the first half where both hold some, by the second and third numbers."""
    weights, means, scales = outputs[:, 3:].split(splits.N_COMPONENTS, dim=-1)
    chosen = _number(weights, uniforms[:, 1])
    mean, scale = means.gather(1, chosen)[:, 0], scales.gather(1, chosen)[:, 0]
    scale = scale.clamp(splits.MIN_LOG_SCALE, splits.MAX_LOG_SCALE).exp()
    z = mean.double() + scale.double() * _logit(uniforms[:, 2])
    share = z.clamp(-splits.MAX_LOGIT, splits.MAX_LOGIT).sigmoid()
    return splits.THRESHOLD_MEV + (whole_mev - 2 * splits.THRESHOLD_MEV) * share


def _number(logits: Tensor, uniform: Tensor) -> Tensor:
    """Return the number of the component that is chosen by its logit, shape (shower, 1)."""
    edges = logits.softmax(dim=-1).cumsum(dim=-1)[..., :-1]
    return (uniform.unsqueeze(-1) > edges).sum(dim=-1, keepdim=True)


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
