"""A stream of strain, cleaned second by second: frames go in, cleaned ones with certificates come out.

Filters look ahead, and parts overlap: the frame that comes out is some seconds older than the one that
went in (`Stream.behind_s`). All state is carried: the result is that of the whole stretch at once.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.virgo import inputs
from physics_twins.virgo.accounting import BANDS_HZ
from physics_twins.virgo.certificate import Band, Cause, Certificate, Vetoed, fingerprint
from physics_twins.virgo.cleaning import Wiener, inputs_of
from physics_twins.virgo.following import FRAME_S, Followed, Follower, Spans, is_held
from physics_twins.virgo.vetoes import Veto, Watcher

Series = NDArray[np.floating]

_PRESENT = 0.5  # a channel that lacks more of a second is not there


class FrameError(ValueError):
    """A frame that does not follow the one before it, or lacks something; the message says what."""


@dataclass(frozen=True)
class Cleaned:
    """A second of cleaned strain.

    Attributes:
        gps_start_s: Of the second.
        strain: Cleaned, shape (time,).
        subtracted: What was taken away, shape (time,): the sum of both is the strain that went in.
        certificate: What it is worth.
    """

    gps_start_s: float
    strain: Series
    subtracted: Series
    certificate: Certificate


class Stream:
    """Cleans frames as they come."""

    def __init__(
        self,
        wiener: Wiener,
        *,
        unsafe: Iterable[str] = (),
        signal_loss: tuple[float, float] | None = None,
        veto: tuple[Veto, float] | None = None,
    ) -> None:
        """Begin a stream.

        Args:
            wiener: From `cleaning.fit`.
            unsafe: Channels that carry strain, for the certificate; see `selection.unsafe_channels`.
            signal_loss: For the certificate, see `Certificate.signal_loss`.
            veto: From `vetoes.learn`, and the least probability of what is vetoed.
        """
        self._wiener, self._rate_hz = wiener, wiener.sample_rate_hz
        self._n = round(FRAME_S * self._rate_hz)
        taps = wiener.taps[wiener.used]
        self._ahead = int(np.ceil(0.5 * taps.shape[1] / self._n + inputs.REACH_S / FRAME_S))
        n_held = (2 * self._ahead + 1) * self._n
        self._held = {name: np.full(n_held, np.nan) for name in wiener.means}
        self._strain = np.zeros((self._ahead + 2) * self._n)
        longer = np.zeros((len(taps), n_held))
        longer[:, : taps.shape[1]] = taps
        self._taps = np.fft.rfft(np.roll(longer, -(taps.shape[1] // 2), axis=1))
        self._follower, self._n_frames, self._n_jumps = Follower(wiener), 0, 0
        self._gps_s: float | None = None
        self._last = np.zeros((len(taps), self._n)), np.zeros(len(taps), bool)
        self._fixed = {
            "fringe_calibration": None if np.isnan(wiener.calibration) else float(wiener.calibration),
            "signal_loss": signal_loss,
            "unsafe_channels": tuple(unsafe),
            "filters": fingerprint(wiener),
            "model": wiener.model,
        }
        self._psd = _per_bin(wiener, self._n)
        self._watcher = Watcher(*veto, self._rate_hz) if veto and veto[0].channels else None
        self._n_heard, self._held_frames = 0, [False] * (self._ahead + 2)

    @property
    def behind_s(self) -> float:
        """By how much what comes out is older than what goes in."""
        return (self._ahead + 1) * FRAME_S

    def push(self, frame: xr.Dataset, *, held: bool = False) -> Cleaned | None:
        """Take in a second; return the one `behind_s` before it, None while there is none.

        Args:
            frame: With `strain` (time) and `witness` (channel, time); its attribute `gps_start_s` is
                the time 0 of the coordinate `time`.
            held: Whether it teaches and decides nothing, as the seconds around a trigger.

        Raises:
            FrameError: It lacks a channel, has another rate or length, does not follow the frame before
                it, or its strain is not a number somewhere.
        """
        strain, records = self._checked(frame)
        if self._watcher:
            self._watcher.push(np.stack([records[name] for name in self._watcher.veto.channels]))
        self._n_heard += 1
        return self._take(strain, records, held)

    def replay(self, stretch: xr.Dataset, *, held_s: Spans = ()) -> Iterator[Cleaned]:
        """Yield all cleaned seconds of a stretch, as fast as they are asked for.

        Args:
            stretch: Whose frames follow what came before.
            held_s: From when to when frames are held, in the stretch's times.
        """
        for frame in frames(stretch):
            cleaned = self.push(frame, held=is_held(float(frame["time"].values[0]), held_s))
            if cleaned is not None:
                yield cleaned
        yield from self.finish()

    def finish(self) -> Iterator[Cleaned]:
        """Yield the last seconds, as if nothing were recorded after them."""
        for _ in range(self._ahead + 1):
            cleaned = self._take(np.zeros(self._n), {n: np.full(self._n, np.nan) for n in self._held})
            if cleaned is not None:
                yield cleaned

    def _checked(self, frame: xr.Dataset) -> tuple[Series, dict[str, Series]]:
        n, channels = frame.sizes["time"], inputs.channels(frame)
        needed = dict.fromkeys(self._held, "filters need")
        if self._watcher:
            needed = dict.fromkeys(self._watcher.veto.channels, "veto needs") | needed
        if missing := [name for name in needed if name not in channels]:
            raise FrameError(f"the frame lacks the channel {missing[0]} that its {needed[missing[0]]}")
        if n != self._n or inputs.sample_rate(frame) != self._rate_hz:
            raise FrameError(
                f"the frame has {n} samples at {inputs.sample_rate(frame):g} Hz, expected {self._n} at"
                f" {self._rate_hz:g} Hz"
            )
        gps_s = float(frame.attrs["gps_start_s"]) + float(frame["time"].values[0])
        if self._gps_s is not None:
            expected = self._gps_s + self._n_frames * FRAME_S
            if abs(gps_s - expected) > 0.5 / self._rate_hz:
                how = "overlaps the one before it" if gps_s < expected else "leaves a gap before it"
                raise FrameError(f"the frame at GPS {gps_s:.6f} {how}: expected GPS {expected:.6f}")
        strain = frame["strain"].values.astype(float)
        if not np.isfinite(strain).all():
            n_bad = int(np.sum(~np.isfinite(strain)))
            raise FrameError(
                f"strain is not a number in {n_bad} samples of the frame at GPS {gps_s:.6f}"
            )
        if self._gps_s is None:
            self._gps_s = gps_s
        witness, names = frame["witness"].values, {name: i for i, name in enumerate(channels)}
        return strain, {name: witness[names[name]] for name in needed}

    def _take(self, strain: Series, records: dict[str, Series], held: bool = False) -> Cleaned | None:
        for name, heard in self._held.items():
            heard[: -self._n], heard[-self._n :] = heard[self._n :].copy(), records[name]
        self._held_frames = [*self._held_frames[1:], held]
        self._strain = np.concatenate([self._strain[self._n :], strain])
        self._n_frames += 1
        if self._n_frames <= self._ahead:
            return None
        middle = slice(self._ahead * self._n, (self._ahead + 1) * self._n)
        basis = inputs_of(self._wiener, self._held)
        used = [basis[self._wiener.inputs[n]] for n in self._wiener.used]
        used = np.reshape(used, (len(used), (2 * self._ahead + 1) * self._n))
        parts = np.fft.irfft(np.fft.rfft(used) * self._taps, used.shape[1])[:, middle]
        here = used[:, middle] != 0
        followed = self._follower.push(
            parts, self._strain[self._n : 2 * self._n], held=self._held_frames[1]
        )
        before, self._last = self._last, (parts, here.mean(axis=1) > _PRESENT)
        if self._n_frames <= self._ahead + 1 or self._gps_s is None:
            return None
        gps_s = self._gps_s + (self._n_frames - self._ahead - 2) * FRAME_S
        raw = self._strain[: self._n]
        certificate = self._certificate(gps_s, raw, followed, *before)
        return Cleaned(gps_s, raw - followed.subtracted, followed.subtracted, certificate)

    def _certificate(
        self, gps_s: float, raw: Series, followed: Followed, parts: Series, present: NDArray[np.bool_]
    ) -> Certificate:
        window = np.hanning(self._n + 1)[:-1]
        before, after = np.abs(np.fft.rfft(np.stack([raw, raw - followed.subtracted]) * window)) ** 2
        power = np.abs(np.fft.rfft(parts * window)) ** 2 / self._psd["left"]
        jumps = self._follower.jumps
        state = jumps.now
        gains = np.array([gain for gain, _ in state]) * followed.gain.real
        share = gains**2 * power[:, self._psd["inside"]].sum(axis=1)
        share = share / max(share.sum(), 1e-300) * (not followed.stopped)
        names = [self._wiener.inputs[n] for n in self._wiener.used]
        spans = None
        if self._watcher:
            spans = self._watcher.spans(self.behind_s + FRAME_S + self._n_heard - self._n_frames)
        causes = [
            Cause(
                input=name,
                share=float(share[i]),
                gain=float(gains[i]),
                gain_error=float(followed.gain_error[i]),
                late_ms=float(1e3 * state[i][1]),
                present=bool(present[i]),
            )
            for i, name in enumerate(names)
        ]
        return Certificate(
            gps_start_s=gps_s,
            duration_s=FRAME_S,
            bands=tuple(self._bands(before, after, followed)),
            causes=tuple(causes),
            vetoed=None
            if spans is None
            else tuple(
                Vetoed(start_s=a, stop_s=b, probability=p, channel=name) for a, b, p, name in spans
            ),
            held=self._held_frames[0],
            actions=tuple(self._actions(followed)),
            **self._fixed,
        )

    def _bands(self, before: Series, after: Series, followed: Followed) -> Iterator[Band]:
        frequency_hz, left = np.arange(len(before)) / FRAME_S, self._psd["left"]
        for low_hz, high_hz in pairwise(BANDS_HZ):
            inside = (frequency_hz >= low_hz) & (frequency_hz < high_hz)
            if high_hz > 0.45 * self._rate_hz:
                return
            removed = 1 - np.sum(after[inside] / left[inside]) / np.sum(before[inside] / left[inside])
            allowed = 1 - np.sum(inside) / np.sum(self._psd["strain"][inside] / left[inside])
            stopped = any(a < high_hz and b > low_hz for a, b in followed.stopped_hz)
            yield Band(
                low_hz=float(low_hz),
                high_hz=float(high_hz),
                removed=float(removed),
                allowed=float(allowed),
                guarded=stopped or followed.stopped,
            )

    def _actions(self, followed: Followed) -> Iterator[str]:
        if followed.stopped:
            yield "The guard left this second as it was: it would have become louder."
        for low_hz, high_hz in followed.stopped_hz:
            yield f"The guard left {low_hz:g} to {high_hz:g} Hz as they were."
        found = self._follower.jumps.found
        for jump in found[self._n_jumps :]:
            how = f"gain {jump.gain:+g}, {1e3 * jump.late_s:+.1f} ms late"
            yield f"The coupling of {jump.input} jumped {jump.time_s:.2f} s into the stream: {how}."
        self._n_jumps = len(found)


def frames(stretch: xr.Dataset) -> Iterator[xr.Dataset]:
    """Yield the whole seconds of a stretch in their order, as a stream brings them."""
    n = round(FRAME_S * inputs.sample_rate(stretch))
    stretch = stretch[["strain", "witness"]]
    for first in range(0, stretch.sizes["time"] - n + 1, n):
        yield stretch.isel(time=slice(first, first + n))


def joined(seconds: Sequence[Cleaned]) -> xr.Dataset:
    """Return cleaned seconds as one stretch: `strain`, cleaned, and `subtracted`, each (time).

    Args:
        seconds: In their order, one after the other; at least one.
    """
    columns = {
        n: np.concatenate([getattr(each, n) for each in seconds]) for n in ("strain", "subtracted")
    }
    rate_hz = round(len(seconds[0].strain) / FRAME_S)
    time_s = np.arange(len(columns["strain"])) / rate_hz
    return xr.Dataset(
        {name: ("time", values, {"units": "1"}) for name, values in columns.items()},
        {"time": ("time", time_s, {"units": "s"})},
        {"title": "Cleaned strain", "gps_start_s": seconds[0].gps_start_s, "sample_rate_hz": rate_hz},
    )


def _per_bin(wiener: Wiener, n_samples: int) -> dict[str, NDArray]:
    """Return spectra of what the filters left and of the strain, at the bins of one second."""
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / wiener.sample_rate_hz)
    strain_psd = wiener.noise_psd / np.maximum(1 - wiener.allowed, 1e-9)
    step = round((frequency_hz[1] - frequency_hz[0]) / wiener.frequency_hz[1])
    kernel = np.ones(max(step, 1)) / max(step, 1)
    left, strain = (
        np.interp(frequency_hz, wiener.frequency_hz, np.convolve(each, kernel, mode="same"))
        for each in (wiener.noise_psd, strain_psd)
    )
    inside = (frequency_hz >= BANDS_HZ[0]) & (frequency_hz < BANDS_HZ[-1])
    return {"left": np.maximum(left, 1e-300), "strain": strain, "inside": inside}
