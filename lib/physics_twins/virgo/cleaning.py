"""The strong classical baseline: a Wiener filter of many witnesses, gated by their coherence.

Its inputs are the witnesses, products of those that are known to mix, and the fringe of the scattering
bench with its calibration fitted. In each bin of frequency, witnesses enter one by one, the one first
that explains most of what is left, as long as its coherence with that is beyond chance: a witness that
has nothing to say would only add its noise.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import signal
from scipy.ndimage import convolve1d
from scipy.optimize import minimize_scalar
from scipy.signal import windows

from physics_twins.virgo import couplings, witnesses
from physics_twins.virgo.parameters import CleaningParameters

Series = NDArray[np.floating]
Spectra = NDArray[Any]  # complex

PRODUCTS = (
    (witnesses.MAINS.name, witnesses.ANGLE.name),
    (witnesses.BEAM.name, witnesses.ANGLE.name),
)
CALIBRATIONS = (0.9, 1.1)  # where that of the bench is sought
_FRINGE_HZ, _FRINGE_RATE_HZ, _CALIBRATION_STEP = (11.0, 50.0), 128, 1e-3
_BENCH_HZ = 5.0
_SMOOTH_BINS = 5  # over so many bins coherence is averaged before it is compared with chance
_NEIGHBOURS = 2  # bins on both sides over which a transfer function is averaged
_HEARD = 1e-10  # below this part of its greatest power, an input's bin is leakage of a window
_STUCK_S = 0.1  # a channel that does not change for so long has no data
_MOST_MISSING = 0.5  # a channel that lacks more of the stretch is left out


@dataclass(frozen=True)
class Wiener:
    """Filters from inputs to strain.

    Attributes:
        inputs: Names of the inputs: a channel, two with `*` between them, `sin` or `cos` of one.
        response: Transfer function of each, shape (input, frequency), in strain for the input's unit.
        frequency_hz: Of `response`, shape (frequency,).
        taken: Whether an input was let into a bin, shape (input, frequency).
        calibration: True over recorded motion of the bench, as fitted; not a number without a bench.
        means: Of the channels in what the filters were fitted to: a fringe knows where its zero is.
    """

    inputs: tuple[str, ...]
    response: Spectra
    frequency_hz: Series
    taken: NDArray[np.bool_]
    calibration: float
    means: dict[str, float]

    @property
    def taps(self) -> Series:
        """The filters as series, centred at lag 0, shape (input, lag)."""
        n_taps = 2 * (len(self.frequency_hz) - 1)
        centred = np.roll(np.fft.irfft(self.response, n_taps, axis=-1), n_taps // 2, axis=-1)
        return centred * windows.tukey(n_taps, 0.5)


def fit(
    stretch: xr.Dataset, settings: CleaningParameters | None = None, *, channels: Sequence[str] = ()
) -> Wiener:
    """Fit the filters to the first part of a stretch.

    Args:
        stretch: With `strain` (time) and `witness` (channel, time), simulated or recorded.
        settings: How.
        channels: Those that may be used; by default all but those that carry strain by their name
            (`CAL_`). Channels that are stuck, or missing for most of the time, are left out.
    """
    settings = settings or CleaningParameters()
    rate_hz = _rate(stretch)
    train = stretch.isel(time=slice(round(settings.train_fraction * stretch.sizes["time"])))
    names = list(channels) or [n for n in map(str, train["channel"].values) if not n.startswith("CAL_")]
    records = {n: train["witness"].sel(channel=n).values for n in names}
    present = {n: has_data(record, rate_hz) for n, record in records.items()}
    present = {n: here for n, here in present.items() if here.mean() > _MOST_MISSING}
    means = {n: float(records[n][here].mean(dtype=float)) for n, here in present.items()}
    inputs = {n: filled(records[n] - means[n], here, rate_hz) for n, here in present.items()}
    whole = np.all(list(present.values()), axis=0)
    strain = train["strain"].values.astype(float)
    basis = inputs | {f"{a}*{b}": inputs[a] * inputs[b] for a, b in PRODUCTS if {a, b} <= set(inputs)}
    calibration = np.nan
    if witnesses.BENCH.name in inputs:
        first = _fit(basis, strain, whole, settings, rate_hz)
        left = strain - _sum(_predicted(first, basis), len(strain))
        calibration = fitted_calibration(left, inputs[witnesses.BENCH.name], rate_hz)
        basis |= _fringes(inputs[witnesses.BENCH.name], calibration, rate_hz)
    found = _fit(basis, strain, whole, settings, rate_hz)
    return replace(found, calibration=calibration, means=means)


def subtract(wiener: Wiener, stretch: xr.Dataset) -> Series:
    """Return what the filters take away from a strain, shape (time,); cleaned is strain less it.

    Args:
        wiener: From `fit`.
        stretch: With the channels that it was fitted to.
    """
    return _sum(parts_of(wiener, stretch), stretch.sizes["time"])


def parts_of(wiener: Wiener, stretch: xr.Dataset) -> dict[str, Series]:
    """Return each input behind its filter, by the input's name; those that no bin let in are left out.

    Args:
        wiener: From `fit`.
        stretch: With the channels that it was fitted to.
    """
    rate_hz = _rate(stretch)
    records = {n: stretch["witness"].sel(channel=n).values - mean for n, mean in wiener.means.items()}
    known = {n: filled(r, has_data(r, rate_hz), rate_hz) for n, r in records.items()}
    basis = known | {f"{a}*{b}": known[a] * known[b] for a, b in PRODUCTS if {a, b} <= set(known)}
    if np.isfinite(wiener.calibration):
        basis |= _fringes(known[witnesses.BENCH.name], wiener.calibration, rate_hz)
    return _predicted(wiener, basis)


def _predicted(wiener: Wiener, basis: dict[str, Series]) -> dict[str, Series]:
    pairs = zip(wiener.inputs, wiener.taps, wiener.taken, strict=True)
    return {name: _filtered(basis[name], taps) for name, taps, taken in pairs if taken.any()}


def _sum(parts: dict[str, Series], n_samples: int) -> Series:
    return np.sum(list(parts.values()), axis=0) if parts else np.zeros(n_samples)


def _filtered(series: Series, taps: Series) -> Series:
    """Return a series behind a filter; it is mirrored at its ends, since a step would be heard."""
    n_more = len(taps) // 2
    longer = np.pad(series, n_more, mode="reflect", reflect_type="odd")
    return couplings.filtered(longer, taps)[n_more:-n_more]


def has_data(record: NDArray[np.floating], sample_rate_hz: float) -> NDArray[np.bool_]:
    """Return where a record holds data: it is a number, and has changed within a tenth of a second.

    Args:
        record: Of one channel, shape (time,).
        sample_rate_hz: Of it.
    """
    n_stuck = max(2, round(_STUCK_S * sample_rate_hz))
    same = np.concatenate([[False], np.diff(record) == 0])
    run = np.convolve(same, np.ones(n_stuck))[: len(same)] > n_stuck - 0.5
    stuck = np.convolve(run[::-1], np.ones(n_stuck + 1))[: len(same)][::-1] > 0.5
    return np.isfinite(record) & ~stuck


def filled(record: Series, here: NDArray[np.bool_], sample_rate_hz: float) -> Series:
    """Return a record with zeros where it holds no data.

    The edges of a gap are faded over a tenth of a second: a step would be heard at all frequencies.

    Args:
        record: Of one channel about its mean, shape (time,).
        here: Where it holds data, shape (time,).
        sample_rate_hz: Of it.
    """
    if here.all():
        return record.astype(float)
    n_fade = 2 * max(2, round(_STUCK_S * sample_rate_hz)) + 1
    near_gap = np.convolve(~here, np.ones(n_fade), mode="same") > 0.5
    fade = np.convolve(~near_gap, windows.hann(n_fade) * 2 / (n_fade - 1), mode="same")
    return np.where(here, record, 0).astype(float) * np.clip(fade, 0, 1)


def fitted_calibration(strain: Series, position_um: Series, sample_rate_hz: float) -> float:
    """Return the calibration of a bench's motion with which its fringe explains most of a strain.

    Args:
        strain: What other witnesses leave, shape (time,).
        position_um: As recorded, shape (time,).
        sample_rate_hz: Of both.
    """
    every = round(sample_rate_hz / _FRINGE_RATE_HZ)
    band = signal.butter(4, _FRINGE_HZ, "bandpass", fs=sample_rate_hz, output="sos")
    left = signal.sosfiltfilt(band, strain)[::every]
    position_um = position_um[::every]
    n_part = 2 * _FRINGE_RATE_HZ

    def explained(calibration: float) -> float:
        pair = _fringes(position_um, calibration, _FRINGE_RATE_HZ)
        spectra = _Spectra.of(list(pair.values()), left, np.ones(len(left), bool), n_part)
        inside = slice(round(2 * _FRINGE_HZ[0]), round(2 * _FRINGE_HZ[1]))
        return float(np.mean(np.log1p(-spectra.coherence()[inside])))

    grid = np.arange(*CALIBRATIONS, _CALIBRATION_STEP)
    best = grid[np.argmin([explained(each) for each in grid])]
    near = (best - _CALIBRATION_STEP, best + _CALIBRATION_STEP)
    return _lowest(explained, near)


def _lowest(cost: Callable[[float], float], bounds: tuple[float, float]) -> float:
    """Return where a function of one number is lowest."""
    found: Any = minimize_scalar(cost, bounds=bounds, method="bounded", options={"xatol": 1e-6})
    return float(found.x)


def _fringes(position_um: Series, calibration: float, sample_rate_hz: float) -> dict[str, Series]:
    """Return sine and cosine of the fringe's phase: a sum of both has any phase.

    A bench is heavy: what is recorded of its motion above `_BENCH_HZ` is the sensor's noise.
    """
    name = witnesses.BENCH.name
    low = signal.butter(4, _BENCH_HZ, fs=sample_rate_hz, output="sos")
    position_um = signal.sosfiltfilt(low, position_um)
    return {
        f"sin {name}": couplings.fringe(position_um, calibration),
        f"cos {name}": couplings.fringe(position_um, calibration, np.pi / 2),
    }


def _rate(stretch: xr.Dataset) -> float:
    time_s = stretch["time"].values
    return float(round((len(time_s) - 1) / (time_s[-1] - time_s[0])))


def _fit(
    basis: dict[str, Series],
    strain: Series,
    whole: NDArray[np.bool_],
    settings: CleaningParameters,
    sample_rate_hz: float,
) -> Wiener:
    n_part = 2 * round(0.5 * settings.filter_s * sample_rate_hz)
    spectra = _Spectra.of(list(basis.values()), strain, whole, n_part)
    taken = spectra.let_in(settings.gate)
    return Wiener(
        tuple(basis),
        spectra.smooth(spectra.solve(taken), taken).T,
        np.fft.rfftfreq(n_part, 1 / sample_rate_hz),
        taken.T,
        np.nan,
        {},
    )


@dataclass(frozen=True)
class _Spectra:
    """Mean cross spectra of inputs x and strain y; inputs are scaled to 1 in each bin."""

    xx: Spectra  # (frequency, input, input)
    xy: Spectra  # (frequency, input)
    yy: Series  # (frequency,)
    scale: Series  # (frequency, input)
    n: float  # independent parts

    @staticmethod
    def of(inputs: list[Series], strain: Series, whole: NDArray[np.bool_], n_part: int) -> "_Spectra":
        xx, xy, yy, n = 0, 0, 0, 0
        for part in _parts([*inputs, strain], whole, n_part):
            x, y = part[:-1].T, part[-1]
            xx = xx + x[:, :, None].conj() * x[:, None, :]
            xy = xy + x.conj() * y[:, None]
            yy = yy + np.abs(y) ** 2
            n += 1
        xx, xy, yy = np.asarray(xx), np.asarray(xy), np.asarray(yy)
        scale = np.sqrt(np.maximum(np.einsum("fii->fi", xx).real, 1e-300))
        yy = np.maximum(yy, 1e-300)
        xx = xx / (scale[:, :, None] * scale[:, None, :])
        return _Spectra(xx, xy / (scale * np.sqrt(yy)[:, None]), yy, scale, n / 1.056)

    def solve(self, taken: NDArray[np.bool_]) -> Spectra:
        """Return transfer functions of the inputs taken, zero elsewhere, shape (frequency, input)."""
        weights = np.linalg.solve(self._of_taken(taken), (self.xy * taken)[..., None])[..., 0]
        return weights * taken * np.sqrt(self.yy)[:, None] / self.scale

    def smooth(self, response: Spectra, taken: NDArray[np.bool_]) -> Spectra:
        """Return transfer functions averaged over neighbouring bins, each by its input's power there.

        They go on beyond the bins that an input was let into, since filters have no edges; a line that
        its witness has is subtracted with what was found at the line.
        """
        kernel, power = windows.hann(2 * _NEIGHBOURS + 3)[1:-1], self.scale**2 * taken
        total = convolve1d(power, kernel, axis=0, mode="constant")
        found = convolve1d(response * power, kernel, axis=0, mode="constant")
        return np.divide(found, total, out=np.zeros_like(found), where=total > 0)

    def coherence(self) -> Series:
        """Return the multiple coherence of all inputs with the strain, shape (frequency,)."""
        weights = np.linalg.solve(self._of_taken(np.ones(self.xy.shape, bool)), self.xy[..., None])
        return np.clip(np.sum(self.xy.conj() * weights[..., 0], axis=1).real, 0, 1 - 1e-9)

    def let_in(self, gate: float) -> NDArray[np.bool_]:
        """Return which inputs enter which bins, shape (frequency, input)."""
        heard = self.scale**2 > _HEARD * (self.scale**2).max(axis=0)
        if gate == 0:
            return heard
        taken = np.zeros(heard.shape, bool)
        for _ in range(len(self.scale[0])):
            partial = self._partial_coherence(taken) * self.n
            near = signal.oaconvolve(partial, np.ones((_SMOOTH_BINS, 1)) / _SMOOTH_BINS, "same", axes=0)
            strength = np.where(
                taken | ~heard, 0, np.maximum(partial, near * gate / _smooth_gate(gate))
            )
            best = strength.argmax(axis=1)
            bins = np.flatnonzero(strength.max(axis=1) > gate)
            if not len(bins):
                break
            taken[bins, best[bins]] = True
        return taken

    def _partial_coherence(self, taken: NDArray[np.bool_]) -> Series:
        """Return the coherence of each input's rest with the strain's rest, given those taken."""
        inverse = np.linalg.inv(self._of_taken(taken))
        mine = self.xx * taken[:, :, None]  # rows of those taken
        solved = inverse @ mine * taken[:, :, None]
        weights = np.einsum("fij,fj->fi", inverse, self.xy * taken) * taken
        left = self.xy - np.einsum("fij,fj->fi", self.xx, weights)
        rest = 1 - np.einsum("fij,fij->fj", mine.conj(), solved).real
        unexplained = 1 - np.sum((self.xy * taken).conj() * weights, axis=1).real
        return np.abs(left) ** 2 / np.maximum(rest * unexplained[:, None], 1e-9)

    def _of_taken(self, taken: NDArray[np.bool_]) -> Spectra:
        """Return the matrix of those taken, that of the others 1, with a hair of ridge."""
        both = taken[:, :, None] & taken[:, None, :]
        return (
            np.where(both, self.xx, 0) + np.eye(taken.shape[1]) * np.where(taken, 1e-9, 1)[:, None, :]
        )


def _smooth_gate(gate: float) -> float:
    """Return the gate of a mean over neighbouring bins that chance passes about as seldom."""
    return 1 + gate / 3


def _parts(series: list[Series], whole: NDArray[np.bool_], n_part: int) -> Iterator[Spectra]:
    """Yield the spectra of windowed parts, less their trends, that overlap by half and lack no data."""
    window = windows.hann(n_part, sym=False)
    for first in range(0, len(whole) - n_part + 1, n_part // 2):
        inside = slice(first, first + n_part)
        if whole[inside].all():
            part = signal.detrend(np.stack([each[inside] for each in series]))
            yield np.fft.rfft(part * window)
