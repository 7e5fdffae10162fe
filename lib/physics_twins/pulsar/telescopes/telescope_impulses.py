"""What reaches all channels of a telescope at once: impulses of interference, spectra that are lost."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from physics_twins.pulsar.searching.cleaning import clean
from physics_twins.pulsar.telescopes.renewal import (
    PROBABILITIES,
    EventStream,
    Renewal,
    fit_renewal,
    runs,
)

# A spectrum of which so many channels hold one and the same value was not recorded but filled in.
LOST_SHARE = 0.9
IMPULSE_EDGE = 0.25


@dataclass(frozen=True)
class WideEvents:
    """Events of one kind that all channels see, in numbers; there is one kind or, without events, none.

    Attributes:
        on: Spectra that an event lasts, at `PROBABILITIES`, shape (kind, quantile).
        off: Spectra from one event's end to the next one's start, of the same shape.
        on_memory: Rank correlation of an event's length with the next one's, shape (kind,).
        off_memory: Rank correlation of a wait with the next, shape (kind,).
        strength: At `PROBABILITIES`, shape (kind, quantile): of an impulse the mean over channels and
            spectra in standard deviations of a channel's noise, of a loss the count that stands there.
        share: A channel's strength over the mean, shape (channel,).
    """

    on: NDArray[np.float64]
    off: NDArray[np.float64]
    on_memory: NDArray[np.float64]
    off_memory: NDArray[np.float64]
    strength: NDArray[np.float64]
    share: NDArray[np.float64]


def impulses_in(z: NDArray[np.float32], lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return in which normalised spectra (time, channel) there is an impulse.

    They are those that a search removes, narrowed down to where the sum over all channels is at least a
    quarter of its highest value: the search takes away some spectra on either side too.

    Args:
        z: Normalised spectra, 0 where lost.
        lost: Which spectra were lost, shape (time,).
    """
    series = z.mean(axis=1)
    present = clean(z, delays=np.zeros(z.shape[1])).broadband & ~lost
    for start, stop in zip(*runs(present), strict=True):
        present[start:stop] = series[start:stop] >= IMPULSE_EDGE * series[start:stop].max()
    return present & (series > 0)


def fit_impulses(z: NDArray[np.float32], present: NDArray[np.bool_]) -> WideEvents:
    """Return the impulses in normalised spectra.

    Args:
        z: Normalised spectra without other interference, shape (segment, time, channel).
        present: In which spectra there is an impulse, shape (segment, time).
    """
    strength = [
        float(segment[start:stop].mean())
        for segment, mask in zip(z, present, strict=True)
        for start, stop in zip(*runs(mask), strict=True)
    ]
    spectrum = z[present].mean(axis=0, dtype=float) if len(strength) else np.ones(z.shape[2])
    mean = spectrum.mean()
    share = spectrum / mean if mean > 0 else np.ones(len(spectrum))
    return _wide_events(present, strength, share)


def lost_spectra(counts: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which spectra (time, channel) were lost: nearly all channels hold the same value.

    Where that is so in most spectra it is nothing special, and none is taken for lost.
    """
    alike = (counts == np.median(counts, axis=1, keepdims=True)).mean(axis=1) > LOST_SHARE
    return alike & (alike.mean() < 0.5)


def fit_losses(counts: NDArray[Any], lost: NDArray[np.bool_]) -> WideEvents:
    """Return the losses among counts (segment, time, channel), from where they are (segment, time)."""
    filler = np.median(counts[lost], axis=1).tolist() if lost.any() else []
    return _wide_events(lost, filler, np.ones(counts.shape[2]))


def _wide_events(
    present: NDArray[np.bool_], strength: list[float], share: NDArray[np.float64]
) -> WideEvents:
    kinds = [fit_renewal(present)] if strength else []
    quantiles = np.quantile(strength, PROBABILITIES) if strength else np.empty(0)
    shape = (len(kinds), len(PROBABILITIES))
    return WideEvents(
        on=np.array([times.on for times in kinds]).reshape(shape),
        off=np.array([times.off for times in kinds]).reshape(shape),
        on_memory=np.array([times.on_memory for times in kinds]),
        off_memory=np.array([times.off_memory for times in kinds]),
        strength=quantiles.reshape(shape),
        share=share,
    )


class WideEventStream:
    """Such events without end."""

    def __init__(self, model: WideEvents, rng: np.random.Generator) -> None:
        """Begin a stream; the generator's state says what happens in it."""
        self._model = model
        columns = (model.on, model.off, model.on_memory, model.off_memory)
        times = [Renewal(*row) for row in zip(*columns, strict=True)]
        self._stream = EventStream(times[0], rng) if times else None

    def within(self, n_spectra: int) -> list[tuple[slice, float]]:
        """Return rows and strength of each event in the next spectra."""
        if self._stream is None:
            return []
        strength = self._model.strength[0]
        return [
            (rows, float(np.interp(ndtr(number), PROBABILITIES, strength)))
            for rows, number in self._stream.within(n_spectra)
        ]
