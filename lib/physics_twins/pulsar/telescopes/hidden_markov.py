"""Hidden Markov models: a process that is in one of a few states, each with values of its own.

They are fitted as if each state's values were Gaussian. What is drawn has their correlation, and their
true distribution: a transmitter that fades or saturates is far from Gaussian. L. R. Rabiner 1989, Proc.
IEEE 77, 257, whose notation is used: transitions a, emissions b.
"""

from dataclasses import dataclass

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.signal import lfilter
from scipy.special import ndtr

# Standard normal quantiles at which the distribution of a state's values is kept.
STATE_NODES = np.linspace(-3.5, 3.5, 15)
N_ITERATIONS = 40
LEAST_GAIN = 1e-4  # of the likelihood per value, below which the fit has converged
# What every state is given besides what is assigned to it, so that none collapses on a few values.
PRIOR_VALUES = 3.0
# With fewer values than this a state's distribution is not seen, and taken for a Gaussian.
LEAST_VALUES = 30


@dataclass(frozen=True)
class MarkovModel:
    """A hidden Markov model of values with several members.

    Attributes:
        transition: Probability to go from a state to another, shape (state, state).
        mean: Of each state's values, shape (state, member).
        factor: Lower Cholesky factor of their covariance, shape (state, member, member).
        quantile: Of their values, at `STATE_NODES`, shape (state, member, quantile).
        memory: Correlation of one value with the next, besides what the states do.
    """

    transition: NDArray[np.float64]
    mean: NDArray[np.float64]
    factor: NDArray[np.float64]
    quantile: NDArray[np.float64]
    memory: float

    @property
    def occupancy(self) -> NDArray[np.float64]:
        """Share of the time spent in each state, shape (state,)."""
        return _occupancy(self.transition)


@dataclass(frozen=True)
class MarkovFit:
    """A model and how it fits.

    Attributes:
        model: The model.
        log_likelihood: Logarithm of the values' density under it.
        probability: Of each state given all values, shape (segment, time, state).
    """

    model: MarkovModel
    log_likelihood: float
    probability: NDArray[np.float64]


def fit_markov(
    segments: NDArray[np.float64], state: NDArray[np.int64], known: NDArray[np.bool_]
) -> MarkovFit:
    """Return the model that makes values most likely, by expectation maximisation.

    Args:
        segments: Values, shape (segment, time, member).
        state: First guess of the states, 0 and up, shape (segment, time).
        known: Which values say something, shape (segment, time): meanwhile the states go on unseen.
    """
    n_members = segments.shape[2]
    flat = segments[known]
    n_states = int(state.max()) + 1
    probability = np.eye(n_states)[state]
    transition = _transitions(np.array([_counted(each, n_states) for each in state]).sum(axis=0))
    prior = np.cov(flat.T).reshape(n_members, n_members) / n_states**2 + 1e-3 * np.eye(n_members)
    before = total = -np.inf
    mean, factor = _emissions(flat, probability[known], prior)
    for _ in range(N_ITERATIONS):
        start = _occupancy(transition)
        total, counts = 0.0, np.zeros((n_states, n_states))
        for n, segment in enumerate(segments):
            log_density = np.where(known[n, :, None], _log_densities(mean, factor, segment), 0.0)
            likelihood, probability[n], pairs = _smoothed(log_density, transition, start)
            total += likelihood
            counts += pairs
        transition = _transitions(counts)
        mean, factor = _emissions(flat, probability[known], prior)
        if total - before < LEAST_GAIN * flat.size:
            break
        before = total
    memory = _memory(segments, probability, known, mean, factor)
    quantile = _quantiles(flat, probability[known].argmax(axis=1), mean, factor)
    return MarkovFit(MarkovModel(transition, mean, factor, quantile, memory), total, probability)


def _occupancy(transition: NDArray[np.float64]) -> NDArray[np.float64]:
    n = len(transition)
    equations = np.vstack([transition.T - np.eye(n), np.ones(n)])
    share = np.linalg.lstsq(equations, np.append(np.zeros(n), 1.0), rcond=None)[0]
    return np.maximum(share, 0) / np.maximum(share, 0).sum()


def _quantiles(
    values: NDArray[np.float64],
    state: NDArray[np.int64],
    mean: NDArray[np.float64],
    factor: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the quantiles of values in their most probable states, shape (state, member, quantile)."""
    lowest, highest = values.min(axis=0), values.max(axis=0)
    out = []
    for n in range(len(mean)):
        here = values[state == n]
        if len(here) < LEAST_VALUES:
            gaussian = mean[n] + STATE_NODES[:, None] * np.linalg.norm(factor[n], axis=1)
            out.append(gaussian.clip(lowest, highest).T)
        else:
            out.append(np.quantile(here, ndtr(STATE_NODES), axis=0).T)
    return np.array(out)


def _memory(
    segments: NDArray[np.float64],
    probability: NDArray[np.float64],
    known: NDArray[np.bool_],
    mean: NDArray[np.float64],
    factor: NDArray[np.float64],
) -> float:
    """Return the lag-1 correlation of values in units of their most probable state's Gaussian."""
    state = np.where(known, probability.argmax(axis=2), -1)
    white = np.zeros(segments.shape)
    for n in range(len(mean)):
        apart = segments[state == n] - mean[n]
        white[state == n] = solve_triangular(factor[n], apart.T, lower=True, check_finite=False).T
    return float(np.clip((white[:, 1:] * white[:, :-1]).mean() / (white**2).mean(), 0, 0.95))


def n_parameters(n_states: int, n_members: int) -> int:
    """Return how many free numbers a model has."""
    return n_states * (n_states - 1 + n_members + n_members * (n_members + 1) // 2)


def clusters(values: NDArray[np.float64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return to which of n clusters, or fewer, each value belongs: a first guess of states.

    K-means, begun as Arthur & Vassilvitskii (2007) do.

    Args:
        values: Shape (value, member).
        n: Number of clusters.
        rng: Chooses where they begin.

    >>> clusters(np.array([[0.0], [9.0], [0.1]]), 2, np.random.default_rng(1)).tolist()
    [0, 1, 0]
    """
    centres = values[:1]
    for _ in range(n - 1):
        nearest = _squared_distances(values, centres).min(axis=1)
        if nearest.sum() == 0:
            break
        chosen = rng.choice(len(values), p=nearest / nearest.sum())
        centres = np.concatenate([centres, values[chosen, None]])
    for _ in range(20):
        label = _squared_distances(values, centres).argmin(axis=1)
        centres = np.stack([values[label == k].mean(axis=0) for k in np.unique(label)])
    label = _squared_distances(values, centres).argmin(axis=1)
    return np.unique(label, return_inverse=True)[1]


def _squared_distances(
    values: NDArray[np.float64], centres: NDArray[np.float64]
) -> NDArray[np.float64]:
    return ((values[:, None] - centres) ** 2).sum(axis=2)


class MarkovStream:
    """Such a process without end."""

    def __init__(self, model: MarkovModel, rng: np.random.Generator) -> None:
        """Begin a stream; the generator's state says what comes, however it is cut."""
        self._model = model
        self._rng_state, self._rng = rng.spawn(2)
        self._cumulative = np.cumsum(model.transition, axis=1)
        self._before = self._rng.standard_normal((1, model.mean.shape[1]))
        self._state = int(self._rng_state.choice(len(model.mean), p=model.occupancy))

    def read(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the next states, shape (time,), and values, shape (time, member)."""
        state = _walk(self._cumulative, self._state, self._rng_state.random(count))
        self._state = int(state[-1])
        memory = self._model.memory
        fresh = self._rng.standard_normal((count, self._model.mean.shape[1]))
        start = memory * self._before
        white, _ = lfilter([np.sqrt(1 - memory**2)], [1, -memory], fresh, axis=0, zi=start)
        white = np.asarray(white)
        self._before = white[-1:]
        values = np.empty_like(white)
        for n, (factor, quantile) in enumerate(
            zip(self._model.factor, self._model.quantile, strict=True)
        ):
            here = state == n
            normal = white[here] @ (factor / np.linalg.norm(factor, axis=1, keepdims=True)).T
            for member, each in enumerate(quantile):
                values[here, member] = np.interp(normal[:, member], STATE_NODES, each)
        return state, values


def _counted(state: NDArray[np.int64], n_states: int) -> NDArray[np.float64]:
    counts = np.zeros((n_states, n_states))
    np.add.at(counts, (state[:-1], state[1:]), 1.0)
    return counts


def _transitions(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities from counts; what never happened is given a little."""
    counts = counts + 1 / len(counts) ** 2
    return counts / counts.sum(axis=1, keepdims=True)


def _emissions(
    values: NDArray[np.float64], probability: NDArray[np.float64], prior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each state's mean and Cholesky factor from the values assigned to it."""
    weight = probability.sum(axis=0)
    mean = (probability.T @ values) / np.maximum(weight, 1e-9)[:, None]
    factor = np.empty((len(weight), values.shape[1], values.shape[1]))
    for n in range(len(weight)):
        apart = values - mean[n]
        scatter = (probability[:, n, None] * apart).T @ apart
        covariance = (scatter + PRIOR_VALUES * prior) / (weight[n] + PRIOR_VALUES)
        factor[n] = np.linalg.cholesky(covariance)
    return mean, factor


@numba.njit(cache=True, nogil=True)
def _log_densities(mean, factor, values):  # pragma: no cover
    """Return the logarithm of each state's density at each value, shape (time, state)."""
    n_time, n_members = values.shape
    out = np.empty((n_time, len(mean)))
    white = np.empty(n_members)
    for k in range(len(mean)):
        size = 0.5 * n_members * np.log(2 * np.pi)
        for i in range(n_members):
            size += np.log(factor[k, i, i])
        for t in range(n_time):
            square = 0.0
            for i in range(n_members):
                rest = values[t, i] - mean[k, i]
                for j in range(i):
                    rest -= factor[k, i, j] * white[j]
                white[i] = rest / factor[k, i, i]
                square += white[i] ** 2
            out[t, k] = -0.5 * square - size
    return out


@numba.njit(cache=True, nogil=True)
def _smoothed(log_density, transition, start):  # pragma: no cover
    """Return log-likelihood, each state's probability (time, state) and expected transitions."""
    n_time, n_states = log_density.shape
    forward = np.empty((n_time, n_states))
    density = np.empty((n_time, n_states))
    scale = np.empty(n_time)
    total = 0.0
    for t in range(n_time):
        highest = log_density[t].max()
        for j in range(n_states):
            density[t, j] = np.exp(log_density[t, j] - highest)
            if t == 0:
                forward[t, j] = start[j] + 1e-12
            else:
                forward[t, j] = 0.0
                for i in range(n_states):
                    forward[t, j] += forward[t - 1, i] * transition[i, j]
            forward[t, j] *= density[t, j]
        scale[t] = forward[t].sum() + 1e-300
        forward[t] /= scale[t]
        total += np.log(scale[t]) + highest
    probability = np.empty((n_time, n_states))
    pairs = np.zeros((n_states, n_states))
    backward = np.ones(n_states)
    earlier = np.empty(n_states)
    probability[n_time - 1] = forward[n_time - 1]
    for t in range(n_time - 2, -1, -1):
        for i in range(n_states):
            earlier[i] = 0.0
            for j in range(n_states):
                step = transition[i, j] * density[t + 1, j] * backward[j] / scale[t + 1]
                earlier[i] += step
                pairs[i, j] += forward[t, i] * step
        backward[:] = earlier
        probability[t] = forward[t] * backward
        probability[t] /= probability[t].sum() + 1e-300
    return total, probability, pairs


@numba.njit(cache=True, nogil=True)
def _walk(cumulative, state, chance):  # pragma: no cover
    """Return the states that follow a state, one for each number between 0 and 1."""
    out = np.empty(len(chance), np.int64)
    last = cumulative.shape[1] - 1
    for t in range(len(chance)):
        following = 0
        while following < last and chance[t] > cumulative[state, following]:
            following += 1
        state = following
        out[t] = state
    return out
