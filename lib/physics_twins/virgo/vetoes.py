"""Vetoes: the probability that a stretch of time holds a glitch that a channel witnessed, and segments.

Decisions are made on tiles of the auxiliary channels' Q-transforms and never on the strain. The strain
is only learnt from: which channels see something when it has a glitch, more often than by chance (as
hveto asks, Smith et al. 2011, Class. Quantum Grav. 28, 235005), and how surely.
"""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from scipy import optimize, special, stats

from physics_twins.data import fraction, note_path, write_text
from physics_twins.virgo.formats.strain_file import StrainFileError
from physics_twins.virgo.inputs import has_data
from physics_twins.virgo.parameters import VetoParameters
from physics_twins.virgo.qtransform import Tiling, tile_energies, whitened
from physics_twins.virgo.segments import Flag

Series = NDArray[np.floating]
_Finite = Annotated[float, Field(allow_inf_nan=False)]

WINDOW_S = 64.0  # of one transform
EDGE_S = 2.0  # of a window, not used
HEARD_S, LEAST_S = 16.0, 8.0  # what a stream hears at once, and from when on it decides
_GAP_S = 0.1  # between two triggers of one channel
_PAUSE_S = 1.0  # beside what was not recorded
_ENERGIES = (20.0, 30.0, 50.0, 100.0)  # above each of which coincidences are counted
_MAX_BYTES = 1 << 20  # of a veto's file
# Of tiles of strain that are called a glitch while channels are chosen: lines would join all.
_OF_STRAIN = {"energy": 40.0, "beside_energy": 40.0}


def triggers(series: Series, sample_rate_hz: float, settings: VetoParameters) -> xr.Dataset:
    """Return groups of tiles of one series, each with a loud one.

    Less loud tiles belong to a group too: of what is quiet, few tiles are loud, and seldom the middle.

    Args:
        series: Shape (time,); what is not a number, or does not change, was not recorded.
        sample_rate_hz: Of it.
        settings: Quality, frequencies and energy of tiles.

    Returns:
        For each (trigger): `time`, the mean of its tiles' by energy in s since the start, and `spread`,
        their root mean square around it; `frequency` of the loudest in Hz, and its `energy` over the
        median of its row.
    """
    return _as_triggers(_triggers(series, sample_rate_hz, settings))


def _triggers(series: Series, sample_rate_hz: float, settings: VetoParameters) -> NDArray[np.floating]:
    """Return time, spread, frequency and energy of a series' triggers, (trigger, 4)."""
    recorded = has_data(series, sample_rate_hz)
    if not recorded.any() or np.ptp(series[recorded]) == 0:
        return np.zeros((0, 4))
    filled = np.where(recorded, series, np.mean(series[recorded]))
    filled = (filled - filled.mean()) / filled.std()
    duration_s = len(series) / sample_rate_hz
    window_s = min(WINDOW_S, duration_s)
    white = whitened(torch.from_numpy(filled), sample_rate_hz).float()
    n_window = round(window_s * sample_rate_hz)
    step_s = window_s - 2 * EDGE_S
    starts_s = np.append(np.arange(0, duration_s - window_s, step_s), duration_s - window_s)
    windows = torch.stack([white[round(s * sample_rate_hz) :][:n_window] for s in starts_s])
    found, lowest = [], min(settings.energy, settings.beside_energy)
    for quality in (settings.quality, settings.long_quality):
        tiling = _tiling(window_s, sample_rate_hz, quality, settings.low_hz, settings.high_hz)
        found.append(_loud(tile_energies(windows, tiling), tiling, starts_s, lowest))
    tiles = np.concatenate(found)
    inside = (tiles[:, 0] >= EDGE_S) & (tiles[:, 0] < duration_s - EDGE_S)
    tiles = tiles[inside]
    index = np.clip((tiles[:, 0] * sample_rate_hz).astype(int), 0, len(series) - 1)
    tiles = tiles[~_beside_gaps(recorded, sample_rate_hz)[index]]
    groups = _grouped(tiles) if len(tiles) else np.zeros((0, 4))
    return groups[groups[:, 3] > settings.energy]


@lru_cache(maxsize=4)  # a stream asks for the same ones each second
def _tiling(
    window_s: float, sample_rate_hz: float, quality: float, low_hz: float, high_hz: float
) -> Tiling:
    highest_hz = 0.95 * sample_rate_hz / 2 / (1 + np.sqrt(11) / quality)
    return Tiling(window_s, sample_rate_hz, quality, low_hz, min(high_hz, highest_hz))


def _beside_gaps(recorded: NDArray[np.bool_], sample_rate_hz: float) -> NDArray[np.bool_]:
    """Return where a gap is, or is near."""
    edges = np.flatnonzero(np.diff(np.concatenate([[True], recorded, [True]]).astype(int)))
    beside = np.zeros(len(recorded), dtype=bool)
    pause = round(_PAUSE_S * sample_rate_hz)
    for start, stop in edges.reshape(-1, 2):
        beside[max(0, start - pause) : stop + pause] = True
    return beside


def _loud(
    energies: list[torch.Tensor], tiling: Tiling, starts_s: Series, energy: float
) -> NDArray[np.floating]:
    """Return time, frequency, energy and length of tiles above an energy, (tile, 4)."""
    found = []
    for row, each in enumerate(energies):
        step_s = tiling.duration_s / each.shape[-1]
        inner = slice(round(EDGE_S / step_s), each.shape[-1] - round(EDGE_S / step_s))
        window, tile = np.nonzero(each[:, inner].numpy() > energy)
        times = starts_s[window] + (tile + inner.start) * step_s
        loud = each[:, inner].numpy()[window, tile]
        frequency_hz = np.full(len(loud), tiling.frequencies_hz[row])
        found.append(np.stack([times, frequency_hz, loud, np.full(len(loud), step_s)], axis=1))
    return np.concatenate(found)


def _grouped(tiles: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return time, spread, frequency and energy of tiles that follow each other, (trigger, 4)."""
    tiles = tiles[np.argsort(tiles[:, 0])]
    time_s, frequency_hz, energy, step_s = tiles.T
    reach = np.maximum.accumulate(time_s + step_s / 2)
    firsts = np.flatnonzero(np.append(True, time_s[1:] - step_s[1:] / 2 > reach[:-1] + _GAP_S))
    counts = np.diff(np.append(firsts, len(tiles)))
    weight = energy * step_s  # tiles of low frequencies are longer, and fewer
    total = np.add.reduceat(weight, firsts)
    mean_s = np.add.reduceat(weight * time_s, firsts) / total
    apart = (time_s - np.repeat(mean_s, counts)) ** 2 + step_s**2 / 12
    spread_s = np.sqrt(np.add.reduceat(weight * apart, firsts) / total)
    loudest = [
        first + energy[first : first + n].argmax() for first, n in zip(firsts, counts, strict=True)
    ]
    return np.stack([mean_s, spread_s, frequency_hz[loudest], energy[loudest]], axis=1)


def _as_triggers(rows: NDArray[np.floating]) -> xr.Dataset:
    names = {"time": "s", "spread": "s", "frequency": "Hz", "energy": "1"}
    return xr.Dataset(
        {n: ("trigger", rows[:, i], {"units": u}) for i, (n, u) in enumerate(names.items())}
    )


def channel_triggers(
    stretch: xr.Dataset, settings: VetoParameters, *, channels: Sequence[str] | None = None
) -> xr.Dataset:
    """Return the triggers of all channels that carry no strain, or of some, each with its `channel`."""
    rate_hz = float(stretch.attrs["sample_rate_hz"])
    safe = [str(n) for n in stretch["channel"].values if not str(n).startswith("CAL_")]
    rows: list[NDArray[np.floating]] = [np.zeros((0, 4))]
    names: list[str] = []
    for name in safe if channels is None else [n for n in channels if n in safe]:
        series = stretch["witness"].sel(channel=name).values.astype(float)
        rows.append(_triggers(series, rate_hz, settings))
        names += [name] * len(rows[-1])
    return _as_triggers(np.concatenate(rows)).assign(channel=("trigger", np.array(names, dtype=str)))


class Veto(BaseModel):
    """What has been learnt of channels: which tell of glitches, and how surely.

    Attributes:
        channels: Those that coincide with glitches of the strain more often than by chance.
        significance: Of each, -log10 of the probability that chance does the same, at the energy above
            which that is smallest; that several were tried is taken off.
        use: Of each, the part of its triggers above that energy that coincide.
        weights: Of the probability: its logit is the first, plus the second times log(energy / 16). The
            third is the part of witnessed glitches that the strain shows.
        settings: With which it was learnt.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    channels: tuple[str, ...]
    significance: tuple[_Finite, ...]
    use: tuple[_Finite, ...]
    weights: tuple[_Finite, _Finite, _Finite]
    settings: VetoParameters

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Return the veto in a file that `write` has written.

        Raises:
            FileNotFoundError: There is no such file.
            StrainFileError: It is damaged; the message names file and field.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"there is no file of a veto {path}")
        note_path(path)
        try:
            with path.open("rb") as file:
                return cls.model_validate_json(file.read(_MAX_BYTES))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "file"
            raise StrainFileError(f"{path}: {field}: {first['msg']}") from None

    def write(self, path: str | Path) -> Path:
        """Write it as JSON in one step; return the path."""
        write_text(Path(path), self.model_dump_json(indent=2) + "\n")
        return Path(path)

    def probability(self, energy: Series) -> Series:
        """Return the probability that a trigger of this energy in these channels is a glitch's."""
        return special.expit(self.weights[0] + self.weights[1] * np.log(energy / _REFERENCE_ENERGY))


_REFERENCE_ENERGY = 16.0


def learn(stretches: Sequence[xr.Dataset], settings: VetoParameters | None = None) -> Veto:
    """Learn from strain and channels, without any truth, which channels witness glitches.

    Args:
        stretches: With `witness`, and `strain`, best cleaned: what couplings hide teaches nothing.
        settings: Of tiles and choice.

    Returns:
        A veto without channels, which vetoes nothing, where none coincides with the strain's glitches
        more often than by chance.
    """
    settings = settings or VetoParameters()
    rows, coincident, expected = [], [], []
    loud = settings.model_copy(update=_OF_STRAIN | {"long_quality": settings.quality})
    for stretch in stretches:
        found = channel_triggers(stretch, settings)
        rate_hz = float(stretch.attrs["sample_rate_hz"])
        strain = triggers(stretch["strain"].values, rate_hz, loud)
        within_s = settings.coincidence_s + settings.widening * found["spread"].values
        apart = np.abs(found["time"].values[:, None] - strain["time"].values)
        near = apart.min(axis=1, initial=np.inf) <= within_s
        covered = 2 * within_s * strain.sizes["trigger"] * rate_hz / stretch.sizes["time"]
        rows.append(found)
        coincident.append(near)
        expected.append(np.minimum(covered, 0.5))
    channel = np.concatenate([each["channel"].values for each in rows])
    energy = np.concatenate([each["energy"].values for each in rows])
    hits, chance = np.concatenate(coincident), np.concatenate(expected)
    names, chosen = sorted(set(channel.tolist())), {}
    for name in names:
        tried = []
        for lowest in _ENERGIES:
            own = (channel == name) & (energy >= lowest)
            surprise = -stats.poisson.logsf(hits[own].sum() - 1, chance[own].sum()) / np.log(10)
            share = float(hits[own].mean() if own.any() else 0)
            tried.append((float(surprise - np.log10(len(_ENERGIES))), share))
        if max(tried)[0] > settings.significance:
            chosen[name] = max(tried)
    used = np.isin(channel, list(chosen))
    weights = _logistic(np.log(energy[used] / _REFERENCE_ENERGY), hits[used], chance[used])
    significance, use = (tuple(each[n] for each in chosen.values()) for n in (0, 1))
    facts = {"significance": significance, "use": use, "weights": weights, "settings": settings}
    return Veto(channels=tuple(chosen), **facts)


def _logistic(x: Series, hits: NDArray[np.bool_], chance: Series) -> tuple[float, float, float]:
    """Return intercept, slope and ceiling of a logistic regression.

    A trigger coincides by chance, or because it is a glitch's that the strain shows, which only a part
    of them do, the ceiling. A weak prior keeps all finite.
    """

    def loss(weights: Series) -> float:
        seen = special.expit(weights[2]) * special.expit(weights[0] + weights[1] * x)
        share = chance + (1 - chance) * seen
        likelihood = np.where(hits, np.log(share), np.log1p(-share))
        return float(-np.sum(likelihood) + 0.5 * np.sum((weights / 5) ** 2))

    found = optimize.minimize(loss, np.array([-2.0, 3.0, 0.0]), method="L-BFGS-B").x
    return float(found[0]), float(found[1]), float(special.expit(found[2]))


def decide(veto: Veto, stretch: xr.Dataset) -> xr.Dataset:
    """Return segments that may hold a witnessed glitch, from the channels alone.

    Args:
        veto: From `learn`.
        stretch: With `witness`; the strain is not looked at.

    Returns:
        For each (segment): `start` and `stop` in s since the start of the stretch, `probability`, and
        `channel`; segments may overlap.

    Raises:
        ValueError: The stretch lacks a channel of the veto.
    """
    if missing := set(veto.channels) - {str(name) for name in stretch["channel"].values}:
        raise ValueError(f"the veto's channel {min(missing)} is not in the stretch")
    found = channel_triggers(stretch, veto.settings, channels=veto.channels)
    half_s = veto.settings.half_width_s + veto.settings.widening * found["spread"].values
    second = {"units": "s"}
    return xr.Dataset(
        {
            "start": ("segment", found["time"].values - half_s, second),
            "stop": ("segment", found["time"].values + half_s, second),
            "probability": ("segment", veto.probability(found["energy"].values), {"units": "1"}),
            "channel": ("segment", found["channel"].values),
        },
        attrs={n: stretch.attrs[n] for n in ("gps_start_s", "duration_s")},
    )


def flag(decided: xr.Dataset, threshold: float, *, ifo: str = "V1") -> Flag:
    """Return segments above a probability as a flag, in GPS times, for `segments.write_flags`."""
    begin_s, duration_s = (float(decided.attrs[n]) for n in ("gps_start_s", "duration_s"))
    kept = decided["probability"].values >= threshold
    spans = np.stack([decided[n].values[kept].clip(0, duration_s) for n in ("start", "stop")], axis=1)
    known = np.array([[EDGE_S, duration_s - EDGE_S]])
    return Flag(ifo, "PT-WITNESSED_GLITCH", 1, begin_s + spans, begin_s + known)


def account(
    decided: Sequence[xr.Dataset], glitch_s: Sequence[Series], threshold: float
) -> dict[str, float]:
    """Return what vetoed segments of several stretches caught and cost, at one threshold.

    Args:
        decided: From `decide`, one for each stretch.
        glitch_s: When glitches happened, s since the start of each stretch.
        threshold: Least probability.

    Returns:
        `efficiency`, the part of the glitches inside a segment; `deadtime`, the part of the time
        inside, which is also the efficiency that segments thrown at random have on average; `used`, the
        part of the segments that caught one. Not a number without glitches, or without segments.
    """
    caught, used, vetoed_s, whole_s = [], [], 0.0, 0.0
    for each, times_s in zip(decided, glitch_s, strict=True):
        spans = flag(each, threshold).active - float(each.attrs["gps_start_s"])
        inside = (times_s >= spans[:, :1]) & (times_s < spans[:, 1:])  # (segment, glitch)
        caught.append(inside.any(axis=0))
        used.append(inside.any(axis=1))
        vetoed_s += float(np.sum(spans[:, 1] - spans[:, 0]))
        whole_s += float(each.attrs["duration_s"])
    shares = (np.concatenate(each) for each in (caught, used))
    efficiency, use = (float(each.mean()) if len(each) else float("nan") for each in shares)
    return {"efficiency": efficiency, "deadtime": vetoed_s / whole_s, "used": use}


def roc(decided: Sequence[xr.Dataset], glitch_s: Sequence[Series]) -> xr.Dataset:
    """Return efficiency with its error, deadtime and use at thresholds of probability: (threshold).

    Args:
        decided: From `decide`, one for each stretch.
        glitch_s: When glitches happened, s since the start of each stretch.
    """
    thresholds = np.unique(np.concatenate([each["probability"].values for each in decided]))[::-1]
    thresholds = thresholds[np.unique(np.linspace(0, len(thresholds) - 1, 200).round().astype(int))]
    points = [account(decided, glitch_s, float(each)) for each in thresholds]
    names = ("efficiency", "deadtime", "used")
    columns = {n: np.array([p[n] for p in points]) for n in names}
    n_glitches = sum(map(len, glitch_s))
    columns["efficiency_error"] = fraction(columns["efficiency"] * n_glitches, n_glitches)[1]
    return xr.Dataset(
        {n: ("threshold", values, {"units": "1"}) for n, values in columns.items()},
        coords={"threshold": ("threshold", thresholds, {"units": "1"})},
    )


class Watcher:
    """Decides second by second, from the seconds before and those that a stream has ahead."""

    def __init__(self, veto: Veto, threshold: float, sample_rate_hz: float) -> None:
        """Begin with nothing heard.

        Args:
            veto: From `learn`.
            threshold: Least probability of what is vetoed, see `roc`.
            sample_rate_hz: Of the channels.
        """
        self.veto, self._threshold, self._rate_hz = veto, threshold, sample_rate_hz
        self._heard: list[NDArray[np.floating]] = []

    def push(self, records: NDArray[np.floating]) -> None:
        """Take in a second of the veto's channels, in their order, shape (channel, time)."""
        self._heard = [*self._heard[1 - round(HEARD_S) :], records]

    def spans(self, age_s: float) -> list[tuple[float, float, float, str]] | None:
        """Return what is vetoed of the second that began so long before the end of the last one.

        Args:
            age_s: At least `EDGE_S` and a second.

        Returns:
            Start and stop in s since that second began, probability and channel of each segment; None
            while too little was heard.
        """
        length_s = float(len(self._heard))
        if length_s < LEAST_S or length_s - age_s < 0:
            return None
        witness = (("channel", "time"), np.concatenate(self._heard, axis=1))
        attrs = {"sample_rate_hz": self._rate_hz, "duration_s": length_s, "gps_start_s": 0.0}
        heard = xr.Dataset({"witness": witness}, {"channel": list(self.veto.channels)}, attrs)
        decided = decide(self.veto, heard)
        begin_s = length_s - age_s
        columns = (decided[n].values for n in ("start", "stop", "probability", "channel"))
        return [
            (max(0.0, float(a) - begin_s), min(1.0, float(b) - begin_s), float(p), str(name))
            for a, b, p, name in zip(*columns, strict=True)
            if p >= self._threshold and a < begin_s + 1 and b > begin_s
        ]
