"""A network's weights as arrays, in the order in which compiled code runs through them."""

from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from physics_twins.calorimeter.flow import splits
from physics_twins.calorimeter.flow.neighbours import DIVISIONS, N_ANGLE_INPUTS, Divisions
from physics_twins.calorimeter.flow.network import Divider, Head, ShowerNetwork

Array: TypeAlias = NDArray[np.float32]


class Memory(NamedTuple):
    """A gated recurrent unit: weights (input, 3 * state), order reset, update, new."""

    from_input: Array
    from_state: Array
    input_bias: Array
    state_bias: Array


class Dense(NamedTuple):
    """A linear layer: weights (input, output), and offsets."""

    weights: Array
    bias: Array


class Dividing(NamedTuple):
    """The network of one kind of division."""

    near: Array
    far: Dense
    place: Array
    whole: Array  # by the step in which what is divided lies
    hidden: Dense
    out: Dense
    steps: Array  # (half, step, input)
    step_bias: Array  # (half, step)


class Weights(NamedTuple):
    """All weights of a `ShowerNetwork`."""

    total: tuple[Dense, Dense, Dense]
    layer_memory: Memory
    layer_place: Array
    layer_hidden: Dense
    layer_out: Dense
    cells: Dense
    memory: Memory
    context_place: Array
    context_in: Dense
    context_out: Dense
    dividers: tuple[Dividing, ...]  # by the kind of division
    divisions: Divisions
    sampled: bool


def pack(network: ShowerNetwork) -> Weights:
    """Return the weights of a network on the CPU."""
    n = network
    linear = [n.total[i] for i in (0, 2, 4)]
    heads = [each for each in (n.ring_head, *n.angle_heads) if isinstance(each, Divider)]
    head: Head = n.layer_head
    return Weights(
        total=(_dense(linear[0]), _dense(linear[1]), _dense(linear[2])),
        layer_memory=_memory(n.layer_memory),
        layer_place=_array(n.layer_place),
        layer_hidden=_dense(head.hidden),
        layer_out=_dense(head.out),
        cells=_dense(n.cells),
        memory=_memory(n.memory),
        context_place=_array(n.context_place),
        context_in=_dense(n.context_in),
        context_out=_dense(n.context_out),
        dividers=tuple(map(_dividing, heads)),
        divisions=DIVISIONS,
        sampled=bool(n.sizes.sampled),
    )


def _dividing(head: Divider) -> Dividing:
    out, gates, steps = (_dense(layer) for layer in (head.out, head.gates, head.steps))
    near = np.zeros((N_ANGLE_INPUTS, head.near.out_features), np.float32)
    near[: head.near.in_features] = _array(head.near.weight.t())  # rings see less: the rest is 0
    return Dividing(
        near,
        _dense(head.far),
        _array(head.place),
        _array(head.whole),
        _dense(head.hidden),
        Dense(np.hstack([out.weights, gates.weights]), np.hstack([out.bias, gates.bias])),
        np.ascontiguousarray(steps.weights.T).reshape(2, splits.N_STEPS, -1),
        steps.bias.reshape(2, splits.N_STEPS),
    )


def _dense(layer: nn.Module) -> Dense:
    return Dense(_array(layer.get_parameter("weight").t()), _array(layer.get_parameter("bias")))


def _memory(unit: nn.GRU) -> Memory:
    names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    return Memory(*(_array(unit.get_parameter(name).t()) for name in names))


def _array(tensor: Tensor) -> Array:
    with torch.no_grad():
        # Copied: what is aligned and in one piece is read fastest.
        return np.array(tensor.detach().cpu().numpy(), dtype=np.float32, order="C")
