"""Transmitters as columns of numbers, one after the other, for a file; and back, checked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from physics_twins.pulsar.telescopes.hidden_markov import STATE_NODES, MarkovModel
from physics_twins.pulsar.telescopes.telescope_transmitters import Transmitter


@dataclass(frozen=True)
class TransmitterTable:
    """The numbers of all transmitters; those of one stand together, in the order of its arrays.

    Attributes:
        n_states: Of each transmitter, shape (transmitter,).
        n_members: Of each transmitter, shape (transmitter,).
        channel: Its channels, shape (member,).
        on: Whether a state is interference, 0 or 1, shape (state,).
        transition: From a state to each, shape (transition,).
        mean: Of a state in each member, shape (mean,).
        factor: Cholesky factor of a state's covariance, shape (factor,).
        quantile: Of a state's values in each member, the quantile last, shape (state quantile,).
        memory: Correlation of one value with the next, shape (transmitter,).
    """

    n_states: NDArray[np.int64]
    n_members: NDArray[np.int64]
    channel: NDArray[np.int64]
    on: NDArray[np.int64]
    transition: NDArray[np.float64]
    mean: NDArray[np.float64]
    factor: NDArray[np.float64]
    quantile: NDArray[np.float64]
    memory: NDArray[np.float64]


def to_table(transmitters: tuple[Transmitter, ...]) -> TransmitterTable:
    """Return the numbers of transmitters."""
    models = [one.states for one in transmitters]

    def joined(parts: list[NDArray], kind: type) -> NDArray:
        return np.concatenate([*(part.ravel() for part in parts), np.empty(0)]).astype(kind)

    return TransmitterTable(
        n_states=np.array([len(one.on) for one in transmitters], dtype=np.int64),
        n_members=np.array([len(one.channel) for one in transmitters], dtype=np.int64),
        channel=joined([one.channel for one in transmitters], np.int64),
        on=joined([one.on for one in transmitters], np.int64),
        transition=joined([model.transition for model in models], float),
        mean=joined([model.mean for model in models], float),
        factor=joined([model.factor for model in models], float),
        quantile=joined([model.quantile for model in models], float),
        memory=np.array([model.memory for model in models]),
    )


def from_table(table: TransmitterTable, *, n_channels: int) -> tuple[Transmitter, ...]:
    """Return the transmitters that `to_table` was given.

    Args:
        table: Their numbers.
        n_channels: Of the telescope.

    Raises:
        ValueError: A column has the wrong length, or a value that cannot be.
    """
    k, m = table.n_states.astype(int), table.n_members.astype(int)
    if len(k) != len(m) or (k < 2).any() or (m < 1).any():
        raise ValueError("n_states, n_members: each transmitter has 2 states and 1 member or more")
    sizes = {
        "channel": m,
        "on": k,
        "transition": k * k,
        "mean": k * m,
        "factor": k * m * m,
        "quantile": k * m * len(STATE_NODES),
    }
    parts = {}
    for name, size in sizes.items():
        column = getattr(table, name)
        if len(column) != size.sum():
            raise ValueError(f"{name}: {len(column)} values, expected {size.sum()}")
        parts[name] = np.split(column, np.cumsum(size)[:-1])
    if len(table.channel) and not (table.channel.min() >= 0 and table.channel.max() < n_channels):
        raise ValueError(f"channel = {table.channel.max()}: must be 0 to {n_channels - 1}")
    transmitters = []
    for n, (n_states, n_members) in enumerate(zip(k, m, strict=True)):
        transition = parts["transition"][n].reshape(n_states, n_states)
        if transition.min() < 0 or np.abs(transition.sum(axis=1) - 1).max() > 1e-6:
            raise ValueError("transition: not probabilities whose sum is 1")
        model = MarkovModel(
            transition,
            parts["mean"][n].reshape(n_states, n_members),
            parts["factor"][n].reshape(n_states, n_members, n_members),
            parts["quantile"][n].reshape(n_states, n_members, len(STATE_NODES)),
            float(table.memory[n]),
        )
        on = parts["on"][n].astype(bool)
        transmitters.append(Transmitter(parts["channel"][n], model, on))
    return tuple(transmitters)
