"""Follow the flow forth and back in steps of Runge and Kutta, with the logarithm of its Jacobian."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from physics_twins.lattice.flow.kinds import AnyVelocity

State = tuple[Tensor, ...]


def transport(
    velocity: AnyVelocity, phi: Tensor, *, n_steps: int, begin: float = 0.0, end: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return fields carried from one time to another, and the logarithm of the Jacobian, (field,).

    Args:
        velocity: Of the flow.
        phi: Fields at `begin`, (field, *shape).
        n_steps: Steps of the classical method of fourth order.
        begin: Time to begin at.
        end: Time to end at; before `begin` to go back.
    """
    step = (end - begin) / n_steps
    state: State = (phi, phi.new_zeros(len(phi)))
    for n in range(n_steps):
        state = _step(lambda s, time: velocity(s[0], time), state, begin + n * step, step)
    return state[0], state[1]


def scored(
    velocity: AnyVelocity, phi: Tensor, times: Sequence[float]
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield fields, logarithms of their densities, and the gradients of these, at times of a flow.

    Args:
        velocity: Of the flow.
        phi: Fields drawn at time 0, (field, *shape).
        times: Ascending, each one step from the last.
    """
    path = velocity.path
    state: State = (phi, path.prior_log_density(phi), -path.gradient(phi, 0.0))
    for begin, end in zip((0.0, *times[:-1]), times, strict=True):
        state = _step(lambda s, time: _with_score(velocity, s, time), state, begin, end - begin)
        yield state[0], state[1], state[2]


def _with_score(velocity: AnyVelocity, state: State, time: float) -> State:
    with torch.enable_grad():
        phi = state[0].detach().requires_grad_()
        change, divergence = velocity(phi, time)
        pull = torch.autograd.grad((change * state[2]).sum() + divergence.sum(), phi)[0]
    return change.detach(), -divergence.detach(), -pull


def _step(rate: Callable[[State, float], State], state: State, time: float, step: float) -> State:
    def moved(rates: State, by: float) -> State:
        return tuple(s + by * r for s, r in zip(state, rates, strict=True))

    k1 = rate(state, time)
    k2 = rate(moved(k1, step / 2), time + step / 2)
    k3 = rate(moved(k2, step / 2), time + step / 2)
    k4 = rate(moved(k3, step), time + step)
    total = tuple(a + 2 * b + 2 * c + d for a, b, c, d in zip(k1, k2, k3, k4, strict=True))
    return moved(total, step / 6)
