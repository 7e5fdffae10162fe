"""The strong classical baseline: a Wiener filter of many witnesses, gated by their coherence.

Its inputs are the witnesses, products of those that mix, and the fringe of the scattering bench with
its calibration fitted; `regression` tells which of them enter which bin of frequency.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.signal import windows

from physics_twins.virgo import couplings, eras, inputs, witnesses
from physics_twins.virgo.fringe import Fringe, fitted
from physics_twins.virgo.inputs import Pair
from physics_twins.virgo.parameters import CleaningParameters
from physics_twins.virgo.regression import OVERLAP, Spectra

Series = NDArray[np.floating]
Complex = NDArray[Any]

# Those that are known to mix where nobody has looked for others; see `selection.select`.
PRODUCTS: tuple[Pair, ...] = (
    (witnesses.MAINS.name, witnesses.ANGLE.name),
    (witnesses.BEAM.name, witnesses.ANGLE.name),
)


@dataclass(frozen=True)
class Wiener:
    """Filters from inputs to strain.

    Attributes:
        inputs: Names of the inputs: a channel, two with `*` between them, the `fringe` of one.
        response: Transfer function of each, shape (input, frequency), in strain for the input's unit.
        response_error: Standard deviation of `response`, of real and imaginary part together.
        frequency_hz: Of `response`, shape (frequency,).
        taken: Whether an input was let into a bin, shape (input, frequency).
        solved: As `response`, of each bin alone; what is calibrated rests on it.
        solved_error: Standard deviation of `solved`.
        heard: As `solved`, of all bins in which the inputs that are used are heard at all.
        heard_error: Standard deviation of `heard`; 0 where nothing was heard.
        noise_psd: One-sided, of what the filters left of the strain that they were fitted to, in 1/Hz,
            shape (frequency,).
        allowed: Which part of the strain's power the inputs explained there, shape (frequency,).
        products: Which channels are multiplied.
        fringe: Of the bench, as fitted; None without a bench.
        means: Of the channels in what the filters were fitted to: a fringe knows where its zero is.
        modes: What is not known of filters, by the input: each may be its response plus these, shape
            (frequency, mode), times complex numbers of variance 1; see `relearning`.
        model: Name and version of what told the filters; "" as they were fitted.
    """

    inputs: tuple[str, ...]
    response: Complex
    response_error: Series
    frequency_hz: Series
    taken: NDArray[np.bool_]
    solved: Complex
    solved_error: Series
    heard: Complex
    heard_error: Series
    noise_psd: Series
    allowed: Series
    products: tuple[Pair, ...]
    fringe: Fringe | None
    means: dict[str, float]
    modes: Mapping[str, Complex] = field(default_factory=dict)
    model: str = ""

    @property
    def taps(self) -> Series:
        """The filters as series, centred at lag 0, shape (input, lag)."""
        n_taps = 2 * (len(self.frequency_hz) - 1)
        centred = np.roll(np.fft.irfft(self.response, n_taps, axis=-1), n_taps // 2, axis=-1)
        return centred * windows.tukey(n_taps, 0.5)

    @property
    def calibration(self) -> float:
        """True over recorded motion of the bench; not a number without a bench."""
        return self.fringe.calibration if self.fringe else np.nan

    @property
    def sample_rate_hz(self) -> float:
        """Of the series that the filters are for."""
        return 2 * float(self.frequency_hz[-1])

    @property
    def used(self) -> list[int]:
        """The inputs that any bin let in, by their number."""
        return [n for n, taken in enumerate(self.taken) if taken.any()]


def fit(
    stretch: xr.Dataset,
    settings: CleaningParameters | None = None,
    *,
    channels: Sequence[str] | None = None,
    products: Iterable[Pair] = PRODUCTS,
) -> Wiener:
    """Fit the filters to the first part of a stretch.

    Args:
        stretch: With `strain` (time) and `witness` (channel, time), simulated or recorded.
        settings: How.
        channels: Those that may be used, all by default: `selection` tells which matter, and which
            carry strain and must not be used. Stuck and mostly missing ones are left out.
        products: Which of them are multiplied.
    """
    settings = settings or CleaningParameters()
    rate_hz = inputs.sample_rate(stretch)
    train = training_part(stretch, settings)
    known = inputs.known(train, channels)
    products = tuple(p for p in products if set(p) <= known.series.keys())
    strain = train["strain"].values.astype(float)
    basis = inputs.basis(known.series, products, None, rate_hz)
    split = eras.Split.of(basis, strain, known.whole, rate_hz)
    known = replace(known, whole=split.whole)
    fringe = None
    if witnesses.BENCH.name in known.series:
        both = split.inputs(basis)
        first = _fit(both, strain, known, settings, rate_hz)
        left = strain - _sum(filtered(first, both), len(strain))
        fringe = fitted(left, known.series[witnesses.BENCH.name], rate_hz)
        basis = inputs.basis(known.series, products, fringe, rate_hz)
    found = _fit(split.inputs(basis), strain, known, settings, rate_hz)
    return _of_one_era(replace(found, products=products, fringe=fringe), split)


def _of_one_era(wiener: Wiener, split: eras.Split) -> Wiener:
    """Return filters without those of the era in which an input explained less."""
    rows = {name: wiener.inputs.index(name) for name in wiener.inputs}
    for name, before in split.pairs:
        now, then = (
            share * np.sum(np.abs(wiener.solved[rows[each]] * wiener.taken[rows[each]]) ** 2)
            for each, share in zip((name, before), split.shares(name), strict=True)
        )
        rows[name] = rows[before] if then > now else rows[name]
        del rows[before]
    kept = list(rows.values())
    names = ("response", "response_error", "solved", "solved_error", "heard", "heard_error", "taken")
    return replace(wiener, inputs=tuple(rows), **{n: getattr(wiener, n)[kept] for n in names})


def training_part(stretch: xr.Dataset, settings: CleaningParameters) -> xr.Dataset:
    """Return the part of a stretch that filters are fitted to."""
    return stretch.isel(time=slice(round(settings.train_fraction * stretch.sizes["time"])))


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
    records = {n: stretch["witness"].sel(channel=n).values for n in wiener.means}
    return filtered(wiener, inputs_of(wiener, records))


def inputs_of(wiener: Wiener, records: Mapping[str, NDArray[np.floating]]) -> dict[str, Series]:
    """Return the inputs of filters, by their names.

    Args:
        wiener: From `fit`.
        records: Of its channels, each of shape (time,).
    """
    rate_hz, known = wiener.sample_rate_hz, {}
    for name, mean in wiener.means.items():
        here = inputs.has_data(records[name], rate_hz)
        known[name] = inputs.filled(records[name].astype(float) - mean, here, rate_hz)
    return inputs.basis(known, wiener.products, wiener.fringe, rate_hz)


def filtered(wiener: Wiener, basis: Mapping[str, Series]) -> dict[str, Series]:
    """Return each input that a bin let in behind its filter, by its name.

    Args:
        wiener: From `fit`.
        basis: The inputs, each of shape (time,).
    """
    taps = wiener.taps
    return {wiener.inputs[n]: _filtered(basis[wiener.inputs[n]], taps[n]) for n in wiener.used}


def _sum(parts: Mapping[str, Series], n_samples: int) -> Series:
    return np.sum(list(parts.values()), axis=0) if parts else np.zeros(n_samples)


def _filtered(series: Series, taps: Series) -> Series:
    """Return a series behind a filter; it is mirrored at its ends, since a step would be heard."""
    n_more = len(taps) // 2
    longer = np.pad(series, n_more, mode="reflect", reflect_type="odd")
    return couplings.filtered(longer, taps)[n_more:-n_more]


def _fit(
    basis: dict[str, Series],
    strain: Series,
    known: inputs.Known,
    settings: CleaningParameters,
    sample_rate_hz: float,
) -> Wiener:
    n_part = 2 * round(0.5 * settings.filter_s * sample_rate_hz)
    spectra = Spectra.of(list(basis.values()), strain, known.whole, n_part)
    taken = spectra.let_in(settings.gate)
    left, heard = spectra.left(taken), spectra.let_in(0) & taken.any(axis=0)
    # Of a Hann window, whose squares sum up to three eighths of its length.
    density = 2 * spectra.yy / (spectra.n * OVERLAP) / (sample_rate_hz * 0.375 * n_part)
    solved = spectra.solve(taken)
    frequency_hz = np.fft.rfftfreq(n_part, 1 / sample_rate_hz)
    response, response_error = spectra.smooth(solved, taken, frequency_hz)
    return Wiener(
        inputs=tuple(basis),
        response=response.T,
        response_error=response_error.T,
        solved=solved.T,
        frequency_hz=frequency_hz,
        taken=taken.T,
        solved_error=spectra.error(taken).T,
        heard=spectra.solve(heard).T,
        heard_error=spectra.error(heard).T,
        noise_psd=density * left,
        allowed=1 - left,
        products=(),
        fringe=None,
        means=known.means,
    )
