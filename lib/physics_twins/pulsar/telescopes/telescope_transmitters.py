"""The transmitters around a telescope: found in its spectra, fitted, and imitated without end.

Channels that are disturbed together belong to one transmitter. What it does is a hidden Markov process:
in each of a few states (off, on at one of several strengths) its channels' samples have a mean and a
covariance of their own, the receiver's noise included.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_closing
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from tqdm import tqdm

from physics_twins.pulsar.telescopes.hidden_markov import (
    MarkovModel,
    MarkovStream,
    clusters,
    fit_markov,
    n_parameters,
)

DETECTION_SIGMA = 5.5
DETECTION_SPECTRA = (2, 4, 8, 16, 32, 64)
# Two channels are one transmitter's when they are correlated by so much, and so are their changes from
# sample to sample: slow ones agree by chance.
TOGETHER, FAST_TOGETHER = 0.3, 0.1
BESIDE_TOGETHER = 0.1  # for neighbours in the band
WITH_IT = 0.5  # for a channel in which nothing was found
# How many states off and on are tried; what Schwarz's criterion prefers is kept.
N_STATES = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 4), (3, 5), (4, 8), (6, 12))
# Up to here a strength is kept as it is, beyond it its logarithm: strengths spread over decades.
LINEAR_SIGMA = 4.0
# A channel hears a distant transmitter where their correlation is so many standard errors.
SPILL_SIGMA = 4.5
# Of a longer recording some segments are fitted, from the quietest to the loudest.
MAX_SPECTRA = 16384


@dataclass(frozen=True)
class Transmitter:
    """One transmitter.

    Attributes:
        channel: The channels it disturbs, shape (member,).
        states: What it does, in values of `compressed` standard deviations of the noise.
        on: Which states are interference, shape (state,).
    """

    channel: NDArray[np.int64]
    states: MarkovModel
    on: NDArray[np.bool_]

    @property
    def occupancy(self) -> float:
        """Share of the time for which it is on."""
        return float(self.states.occupancy[self.on].sum())

    @property
    def duration_spectra(self) -> float:
        """Mean number of spectra that it stays on."""
        share, on = self.states.occupancy, self.on
        ending = (share[on, None] * self.states.transition[on][:, ~on]).sum()
        return float(share[on].sum() / ending) if ending > 0 else np.inf

    @property
    def strength(self) -> NDArray[np.float64]:
        """Mean excess in each channel when on, in standard deviations of the noise, shape (member,)."""
        share = self.states.occupancy
        means = expanded(self.states.mean)
        mean = [np.average(means[kind], axis=0, weights=share[kind]) for kind in (self.on, ~self.on)]
        return mean[0] - mean[1]


def find_transmitters(z: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where normalised spectra (time, channel) stand out from noise and from other channels.

    Found is what lies above 5.5 standard deviations in means over 1 to 64 spectra, after the median
    over all channels is taken away.
    """
    z = z - np.median(z, axis=1, keepdims=True)
    found = z > DETECTION_SIGMA
    sums = np.concatenate([np.zeros((1, z.shape[1])), z.cumsum(axis=0, dtype=float)])
    for n in DETECTION_SPECTRA:
        if len(z) <= n:
            break
        windows = sums[n:] - sums[:-n]
        # Transmitters only add power: below the median a channel shows the noise's own memory.
        low, middle = np.percentile(windows[::n], [16, 50], axis=0)
        high = windows > DETECTION_SIGMA * np.maximum(middle - low, np.sqrt(n))
        steps = np.zeros((len(z) + 1, z.shape[1]), dtype=np.int32)
        steps[: len(high)] += high
        steps[n : n + len(high)] -= high
        covering = steps.cumsum(axis=0)[:-1]  # how many windows of this length reach a sample
        found |= ((covering > 0) & (z > 1)) | (covering > 0.8 * n)
    return np.asarray(binary_closing(found, np.ones((3, 1))), dtype=bool)


def fit_transmitters(
    z: NDArray[np.float32], found: NDArray[np.bool_], known: NDArray[np.bool_], *, seed: int
) -> tuple[tuple[Transmitter, ...], NDArray[np.bool_]]:
    """Return the transmitters behind disturbed samples, and which channels are theirs.

    Args:
        z: Normalised spectra, shape (segment, time, channel).
        found: Where they are disturbed, of the same shape.
        known: Which spectra say something about them, shape (segment, time): elsewhere z is 0.
        seed: Of where the fits begin.
    """
    theirs = np.zeros(z.shape[2], dtype=bool)
    n_segments = max(1, min(len(z), MAX_SPECTRA // z.shape[1]))
    disturbed = found.sum(axis=(1, 2))
    segments = np.sort(np.argsort(disturbed)[np.linspace(0, len(z) - 1, n_segments).astype(int)])
    transmitters = []
    groups = _groups(z.reshape(-1, z.shape[2]), found.reshape(-1, z.shape[2]))
    options: dict[str, Any] = {"desc": "transmitters", "unit": "transmitter", "leave": False}
    for channels in tqdm(groups, disable=len(groups) < 2, **options):
        own = np.ix_(segments, np.arange(z.shape[1]), channels)
        transmitters.append(_fit_one(z[own], found[own], known[segments], channels, seed))
        theirs[channels] = True
    return tuple(transmitters), theirs


def _fit_one(
    z: NDArray[np.float32],
    found: NDArray[np.bool_],
    known: NDArray[np.bool_],
    channels: NDArray[np.int64],
    seed: int,
) -> Transmitter:
    """Return a transmitter from its members' samples (segment, time, member)."""
    values, disturbed = compressed(z.astype(float)), known & found.any(axis=2)
    rng = np.random.default_rng(seed)
    fits, costs = [], []
    for n_off, n_on in N_STATES:
        if disturbed.sum() < n_on or (len(costs) > 2 and min(costs[-2:]) > min(costs)):
            break
        state = np.zeros(disturbed.shape, dtype=np.int64)
        quiet = known & ~disturbed
        state[quiet] = clusters(values[quiet], n_off, rng)
        state[disturbed] = state.max() + 1 + clusters(values[disturbed], n_on, rng)
        fits.append(fit_markov(values, state, known))
        free = n_parameters(int(state.max()) + 1, len(channels))
        costs.append(free * np.log(known.sum()) - 2 * fits[-1].log_likelihood)
    best = fits[int(np.argmin(costs))]
    share = best.probability[disturbed].sum(axis=0) / best.probability[known].sum(axis=0)
    on = share > 0.5
    on[np.argmax(share)], on[np.argmin(share)] = True, False
    return Transmitter(channels, best.model, on)


def compressed(z: Any) -> Any:
    """Return values that are nearly z up to 4 standard deviations, and grow as its logarithm beyond."""
    return LINEAR_SIGMA * np.arcsinh(z / LINEAR_SIGMA)


def expanded(values: Any) -> Any:
    """Return what `compressed` was made of.

    >>> round(float(expanded(compressed(20.0))), 6)
    20.0
    """
    return LINEAR_SIGMA * np.sinh(values / LINEAR_SIGMA)


def _groups(z: NDArray[np.float32], found: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return channels that are disturbed together."""
    channels = np.flatnonzero(found.any(axis=0))
    if not len(channels):
        return []
    # What moves with a disturbed channel is disturbed too, though nothing in it stands out.
    alike = _correlations(compressed(z), channels)
    channels = np.flatnonzero(found.any(axis=0) | (alike > WITH_IT).any(axis=0))
    values = compressed(z[:, channels])
    with np.errstate(invalid="ignore"):
        whole, fast = (np.atleast_2d(np.corrcoef(v.T)) for v in (values, np.diff(values, axis=0)))
    alike = (whole > TOGETHER) & (fast > FAST_TOGETHER)
    beside = np.abs(np.subtract.outer(channels, channels)) == 1
    alike |= beside & (whole > BESIDE_TOGETHER)
    _, number = connected_components(csr_array(alike), directed=False)
    return [channels[number == n] for n in np.unique(number)]


def fit_spill(
    z: NDArray[np.float32], transmitters: tuple[Transmitter, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which channels hear a transmitter besides its own, and how much of it.

    The channels beside its own do, through their filters' edges. Others may: a strong one drives the
    receiver into compression, and dims them. Of these, each is given the one that it hears best.

    Args:
        z: Normalised spectra, shape (segment, time, channel).
        transmitters: From `fit_transmitters`.

    Returns:
        Pairs of a transmitter's channel and one that hears it, shape (spill, 2), and what share of the
        former's samples is found in the latter's, shape (spill,).
    """
    n_channels = z.shape[2]
    owner = np.full(n_channels, -1)
    for n, one in enumerate(transmitters):
        owner[one.channel] = n
    sources = np.flatnonzero(owner >= 0)
    flat = z.reshape(-1, n_channels)
    flat = flat - flat.mean(axis=0)
    covariance = flat[:, sources].T @ flat / len(flat)  # (source, channel)
    width = np.maximum(flat.std(axis=0), 1e-6)
    heard = np.abs(covariance) / np.outer(width[sources], width)
    heard[:, owner >= 0] = 0
    pairs = {
        (source, target)
        for source in sources.tolist()
        for target in (source - 1, source + 1)
        if 0 <= target < n_channels and owner[target] < 0
    }
    if len(sources):
        best = heard.argmax(axis=0)
        loud = heard.max(axis=0) * np.sqrt(len(flat)) > SPILL_SIGMA
        pairs |= {(int(sources[best[c]]), int(c)) for c in np.flatnonzero(loud)}
    ordered = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2)
    place = np.searchsorted(sources, ordered[:, 0])
    return ordered, covariance[place, ordered[:, 1]] / width[ordered[:, 0]] ** 2


def _correlations(values: NDArray[Any], channels: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the correlation of some channels with each, shape (one of some, channel)."""
    values = values - values.mean(axis=0)
    width = np.maximum(values.std(axis=0), 1e-6)
    covariance = values[:, channels].T @ values / len(values)
    return covariance / np.outer(width[channels], width)


class TransmitterStream:
    """Transmitters at work, without end."""

    def __init__(self, transmitters: tuple[Transmitter, ...], rng: np.random.Generator) -> None:
        """Begin a stream; the generator's state says what happens in it."""
        self._transmitters = transmitters
        seeds = rng.spawn(len(transmitters))
        self._streams = [
            MarkovStream(one.states, own) for one, own in zip(transmitters, seeds, strict=True)
        ]

    def put_into(self, z: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Replace their channels in the next spectra (time, channel); return where they are on."""
        where = np.zeros(z.shape, dtype=bool)
        for one, stream in zip(self._transmitters, self._streams, strict=True):
            state, values = stream.read(len(z))
            z[:, one.channel] = expanded(values)
            where[:, one.channel] = one.on[state][:, None]
        return where
