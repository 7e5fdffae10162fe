"""Judges of Virgo's glitches: a classifier trained on drawn ones alone, and the real ones of LIGO."""

from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from scipy import signal
from torch import Tensor, nn

import _virgo_cleaning
from _table import Figure, Skipped, this_machine
from physics_twins import virgo
from physics_twins.data import auc, bootstrap, find_data_file, fraction, mean
from physics_twins.virgo import generation, glitches, reconstruction, vetoes, witnesses
from physics_twins.virgo.parameters import GLITCH_FAMILIES
from physics_twins.virgo.sensitivity import noise_asd

Series = NDArray[np.floating]

RATE_HZ = 4096
WINDOW_S = 4.0
N_SAMPLES = int(WINDOW_S * RATE_HZ)
DETECTOR = "virgo_o4"
CLASSES = ("blip", "tomte", "light_modulation", "scattered_light", "whistle", "koi_fish")
REAL_CLASSES = CLASSES[:5]  # of the thirty real ones, with the names of the file in their order
TILING = virgo.Tiling(WINDOW_S, RATE_HZ, quality=6.0, low_hz=12.0, high_hz=1200.0)


def light_modulation(time_s: Series, rng: np.random.Generator) -> Series:
    """Light modulation, of LIGO: a loud core from 20 to 45 Hz that rings on, often after another."""
    core = glitches.burst(time_s, rng.uniform(24, 42), rng.uniform(1.8, 3.5), rng.uniform(0, 2 * np.pi))
    rest = glitches.burst(time_s, rng.uniform(20, 34), rng.uniform(8, 20), rng.uniform(0, 2 * np.pi))
    before_s = rng.uniform(0.4, 0.8)
    first = glitches.burst(
        time_s + before_s, rng.uniform(40, 160), rng.uniform(2, 8), rng.uniform(0, 2 * np.pi)
    )
    return core + rng.uniform(0.05, 0.25) * rest + rng.choice([0, 1]) * rng.uniform(0.02, 0.2) * first


glitches.FAMILIES["light_modulation"] = light_modulation  # the simulator does not draw it


def whitened_glitch(family: str, snr: float, rng: np.random.Generator) -> Series:
    """A drawn glitch in units of white noise of variance 1, centred on one of its loud times."""
    strain = glitches.draw(family, snr, DETECTOR, RATE_HZ, rng)
    frequency_hz = np.fft.rfftfreq(len(strain), 1 / RATE_HZ)
    asd = noise_asd(np.maximum(frequency_hz, 10.0), DETECTOR)
    white = np.fft.irfft(np.fft.rfft(strain) / asd, len(strain)) / np.sqrt(RATE_HZ / 2)
    middle = rng.choice(len(white), p=white**2 / np.sum(white**2))
    return np.roll(white, len(white) // 2 - middle)[(len(white) - N_SAMPLES) // 2 :][:N_SAMPLES]


def drawn(n_each: int, seed: int) -> tuple[Tensor, Tensor]:
    """Glitches of all classes in white noise, (glitch, time), and the numbers of their classes."""
    rng, rows = np.random.default_rng(seed), []
    for family in CLASSES:
        low, high = {"light_modulation": (40, 300), "koi_fish": (20, 300)}.get(family, (7, 60))
        snrs = np.exp(rng.uniform(np.log(low), np.log(high), n_each))
        rows += [whitened_glitch(family, snr, rng) + rng.standard_normal(N_SAMPLES) for snr in snrs]
    labels = torch.arange(len(CLASSES)).repeat_interleave(n_each)
    return torch.from_numpy(np.array(rows)).float(), labels


def real() -> dict[str, tuple[Series, Series, Series]]:
    """Of each real glitch: 14 s of whitened strain, the published reconstruction, and its S/N."""
    path = find_data_file("virgo/o3a_glitches.npz")
    if path is None:
        raise Skipped("o3a_glitches.npz is not in the folder PHYSICS_TWINS_DATA")
    names = "Blip", "Tomte", "Light_Modulation", "Scattered_Light", "Whistle"
    found = {}
    with np.load(path, allow_pickle=False) as file:
        for family, name in zip(REAL_CLASSES, names, strict=True):
            for site in ("H1", "L1"):
                stem = f"O3a__{site}__{name}__"
                parts = (file[f"{stem}{each}"].astype(float) for each in ("h", "g", "snr"))
                found[f"{site} {family}"] = tuple(parts)
    return found


def pictures(series: Tensor, tiling: virgo.Tiling = TILING) -> Tensor:
    """Loudest tiles of the pixels around the middle, in 2 s and in 0.5 s: (glitch, 2, row, 64)."""
    views = []
    energies = virgo.tile_energies(series, tiling)
    for n_times in (128, 512):
        rows = []
        for row in energies:
            n_tiles = row.shape[-1]
            if n_tiles >= n_times:
                rows.append(row.unflatten(-1, (n_times, n_tiles // n_times)).amax(dim=-1))
            else:
                rows.append(row.repeat_interleave(n_times // n_tiles, dim=-1))
        middle = slice(n_times // 2 - 32, n_times // 2 + 32)
        views.append(torch.stack(rows, dim=-2)[..., middle])
    return torch.log1p(torch.stack(views, dim=1))


class Classifier(nn.Module):
    """Three convolutions, and the mean and the largest of what they find."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        widths = (2, 16, 32, 48)
        layers = []
        for before, after in pairwise(widths):
            layers += [
                nn.Conv2d(before, after, 3, padding=1),
                nn.BatchNorm2d(after),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        self.layers, self.head = nn.Sequential(*layers), nn.Linear(2 * widths[-1], n_classes)

    def forward(self, images: Tensor) -> Tensor:
        found = self.layers(images)
        return self.head(torch.cat([found.mean(dim=(-2, -1)), found.amax(dim=(-2, -1))], dim=-1))


def trained(images: Tensor, labels: Tensor, *, seed: int, n_epochs: int = 8) -> Classifier:
    """A classifier, trained by Adam with a rate that falls."""
    torch.manual_seed(seed)
    model = Classifier(int(labels.max()) + 1).train()
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-3)
    batches = n_epochs * (len(images) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=batches)
    for _ in range(n_epochs):
        for chosen in torch.randperm(len(images)).split(64):
            if len(chosen) < 64:
                continue
            loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


@cache
def named(n_each: int = 500) -> tuple[float, dict[str, list[list[str]]]]:
    """Share of fresh drawn glitches named right, and what each real one is named, by each training."""
    torch.set_num_threads(1)
    right, names = [], {}
    parts = {}
    for each, (strain, _, _) in real().items():
        part = torch.from_numpy(strain[:, 5 * RATE_HZ : 9 * RATE_HZ])
        parts[each] = pictures((part / part.std(dim=-1, keepdim=True)).float())
    for seed in REAL_SEEDS:
        series, labels = drawn(n_each, seed)
        images = torch.cat([pictures(part) for part in series.split(200)])
        model = trained(images, labels, seed=seed)
        fresh, truth = drawn(50, seed + 1000)
        with torch.no_grad():
            right.append(float((model(pictures(fresh)).argmax(dim=-1) == truth).float().mean()))
            for each, image in parts.items():
                told = [CLASSES[int(n)] for n in model(image).argmax(dim=-1)]
                names.setdefault(each, []).append(told)
    return float(np.mean(right)), names


REAL_SEEDS = (1, 2, 3)


def real_glitches(site: str = "") -> Figure:
    """Real glitches named right by classifiers trained on drawn ones alone, on average of them.

    The ranges of drawn parameters were set beside Hanford's (H1); Livingston's (L1) are held out. The
    error is the binomial one of the glitches.
    """
    names = {each: found for each, found in named()[1].items() if each.startswith(site)}
    right = [
        each.split()[1] == name for each, found in names.items() for told in found for name in told
    ]
    n_real = len(right) // len(REAL_SEEDS)
    value, error = fraction(np.mean(right) * n_real, n_real)
    return Figure(float(value), float(error), "", 0.6, this_machine(), REAL_SEEDS)


def real_mismatch() -> Figure:
    """Median mismatch of real glitches, reconstructed from strain alone, with the published ones."""
    torch.set_num_threads(1)
    rate_hz, same = 1024, partial(noise_asd, detector=DETECTOR)
    found = []
    for strain, published, _ in real().values():
        for each, theirs in zip(strain, published, strict=True):
            white = signal.decimate(each / each[2 * RATE_HZ : 5 * RATE_HZ].std(), 4)
            window = 2.0 * white[5 * rate_hz : 9 * rate_hz]  # of variance 1 at the lower rate
            ours = reconstruction.reconstruct(window, same, DETECTOR, rate_hz, families=REAL_CLASSES)
            middle = ours.strain[rate_hz : 3 * rate_hz]
            found.append(reconstruction.mismatch(middle, signal.decimate(theirs, 4)))
    value, error = bootstrap(np.median, np.array(found), seed=0)
    return Figure(float(value), float(error), "", None, this_machine())


# The loudest pixel of gwpy 4.1.0's `q_transform`, whose scan chooses Q = 5.66 and which interpolates.
GW150914_HZ = {"H-H1": 134.0, "L-L1": 170.0}
GW150914_S = 1126259462.42


@cache
def gw150914() -> dict[str, tuple[float, float]]:
    """Frequency in Hz and GPS time of the loudest of very fine tiles of four qualities, by site."""
    torch.set_num_threads(1)
    found = {}
    for site in GW150914_HZ:
        path = find_data_file(f"virgo/{site}_LOSC_4_V2-1126259446-32.hdf5")
        if path is None:
            raise Skipped(f"{site}'s strain is not in the folder PHYSICS_TWINS_DATA")
        strain = virgo.files.read(path, "strain")
        start_s, rate_hz = (float(strain.attrs[n]) for n in ("gps_start_s", "sample_rate_hz"))
        white = virgo.whitened(torch.from_numpy(1e21 * strain.values), rate_hz)
        peaks = []
        for quality in 4 * 2 ** (np.arange(4) / 2):
            tiling = virgo.Tiling(32.0, rate_hz, quality, 20.0, 500.0, mismatch=0.002)
            peak = virgo.loudest(virgo.tile_energies(white, tiling), tiling, from_s=15.5, to_s=17.5)
            peaks.append(tuple(float(each) for each in peak))
        _, time_s, frequency_hz = max(peaks)
        found[site] = (frequency_hz, start_s + time_s)
    return found


def gw150914_frequency() -> Figure:
    """Larger of both sites' deviations of the peak's frequency from gwpy's."""
    apart = [abs(gw150914()[site][0] / hz - 1) for site, hz in GW150914_HZ.items()]
    return Figure(max(apart), None, "", 0.01, this_machine())


def gw150914_time() -> Figure:
    """Larger of both sites' distances of the peak from GPS 1126259462.42 s."""
    apart = [abs(time_s - GW150914_S) for _, time_s in gw150914().values()]
    return Figure(1e3 * max(apart), None, "ms", 5.0, this_machine())


# Not used while widths and the threshold were chosen.
VETO_TRAIN_SEEDS, VETO_CHOICE_SEEDS = tuple(range(401, 406)), tuple(range(421, 431))
VETO_SEEDS = tuple(range(1571, 1591))
VETO_DEADTIME = 1e-3


def _with_glitches(seed: int) -> xr.Dataset:
    values: dict[str, Any] = virgo.HARD
    return virgo.simulate(virgo.VirgoParameters(**values), seed=seed)


def _left(seed: int) -> xr.Dataset:
    """Return a stretch to learn from, with the strain that our own subtraction leaves."""
    made = _with_glitches(seed)
    settings = virgo.CleaningParameters(train_fraction=0.5)
    selected = virgo.select(made, settings, unsafe=_virgo_cleaning.unsafe())
    filters = virgo.fit(made, settings, channels=selected.channels, products=selected.products)
    return made.assign(strain=made["strain"] - virgo.follow(filters, made))


def _times(stretch: xr.Dataset, *, witnessed: bool) -> Series:
    """Return when glitches happened, in the part that vetoes speak of."""
    times_s = stretch["glitch_time"].values
    inside = (times_s >= vetoes.EDGE_S) & (times_s < stretch.attrs["duration_s"] - vetoes.EDGE_S)
    return times_s[inside & ((stretch["glitch_channel"].values != "") == witnessed)]


def _streamed(veto: vetoes.Veto, stretch: xr.Dataset) -> xr.Dataset:
    """Return the segments that a stream decides on second by second, as `vetoes.decide` has them."""
    rate_hz = float(stretch.attrs["sample_rate_hz"])
    watcher, age_s, rows = vetoes.Watcher(veto, 0.0, rate_hz), 4, []
    records = stretch["witness"].sel(channel=list(veto.channels)).values
    seconds = records.reshape(len(records), -1, round(rate_hz)).swapaxes(0, 1)
    for n, second in enumerate(seconds, start=1):
        watcher.push(second)
        rows += [(n - age_s + a, n - age_s + b, p) for a, b, p, _ in watcher.spans(age_s) or ()]
    start, stop, probability = np.array(rows).reshape(-1, 3).T
    names = {"start": start, "stop": stop, "probability": probability}
    kept = {n: stretch.attrs[n] for n in ("gps_start_s", "duration_s")}
    return xr.Dataset({n: ("segment", values) for n, values in names.items()}, attrs=kept)


def _decided(
    veto: vetoes.Veto, seeds: tuple[int, ...]
) -> tuple[list[xr.Dataset], list[Series], list[Series]]:
    found, seen, unseen = [], [], []
    for seed in seeds:
        stretch = _with_glitches(seed)
        found.append(_streamed(veto, stretch))
        seen.append(_times(stretch, witnessed=True))
        unseen.append(_times(stretch, witnessed=False))
    return found, seen, unseen


def _energy_inside(decided: list[xr.Dataset], threshold: float) -> list[float]:
    """Return of each witnessed glitch the part of its power in the strain that is vetoed."""
    shares = []
    for seed, each in zip(VETO_SEEDS, decided, strict=True):
        stretch = _with_glitches(seed)
        power, time_s = stretch["witnessed_glitches"].values ** 2, stretch["time"].values
        vetoed_s = np.zeros(len(power), bool)
        for a, b in vetoes.flag(each, threshold).active - float(each.attrs["gps_start_s"]):
            vetoed_s |= (time_s >= a) & (time_s < b)
        for at_s in _times(stretch, witnessed=True):
            near = np.abs(time_s - at_s) < 4.0
            shares.append(float(power[near & vetoed_s].sum() / power[near].sum()))
    return shares


def by_chance(
    decided: list[xr.Dataset], glitch_s: list[Series], threshold: float, *, n_slides: int = 100
) -> Series:
    """Return the efficiency of the same segments when they are moved in time, evenly: (slide,)."""
    found = []
    for part in np.arange(1, n_slides + 1) / (n_slides + 1):
        durations_s = [each.attrs["duration_s"] for each in decided]
        moved = [(g + part * d) % d for d, g in zip(durations_s, glitch_s, strict=True)]
        found.append(vetoes.account(decided, moved, threshold)["efficiency"])
    return np.array(found)


@cache
def vetoed() -> dict[str, Any]:
    """What segments catch on held-out stretches of the hard set, at the threshold chosen before."""
    torch.set_num_threads(1)
    veto = vetoes.learn([_left(seed) for seed in VETO_TRAIN_SEEDS])
    decided, seen, _ = _decided(veto, VETO_CHOICE_SEEDS)
    curve = vetoes.roc(decided, seen)
    efficiency = np.where(curve["deadtime"] <= VETO_DEADTIME, curve["efficiency"], -1.0)
    threshold = float(curve["threshold"][efficiency.argmax()])  # the highest that catches as many
    decided, seen, unseen = _decided(veto, VETO_SEEDS)
    witnessed = vetoes.account(decided, seen, threshold)
    other = vetoes.account(decided, unseen, threshold)
    counts = {name: sum(map(len, each)) for name, each in (("seen", seen), ("unseen", unseen))}
    chance = by_chance(decided, seen, threshold)
    return {
        "veto": veto, "threshold": threshold, "witnessed": witnessed, "other": other, "chance": chance,
        "roc": vetoes.roc(decided, seen), "inside": _energy_inside(decided, threshold), **counts,
    }  # fmt: skip


def veto_efficiency(which: str) -> Figure:
    """Glitches in vetoed segments: witnessed ones, or others, which chance alone should catch."""
    found = vetoed()
    counted = found["seen" if which == "witnessed" else "unseen"]
    share = found[which]["efficiency"]
    value, error = fraction(share * counted, counted)
    reference = 0.9 if which == "witnessed" else found[which]["deadtime"]
    return Figure(float(value), float(error), "", reference, this_machine(), VETO_SEEDS)


def veto_energy_inside() -> Figure:
    """Part of a witnessed glitch's power in the strain that lies in vetoed time, on average."""
    value, error = mean(vetoed()["inside"])
    return Figure(value, error, "", None, this_machine(), VETO_SEEDS)


def veto_deadtime() -> Figure:
    """Part of the time in vetoed segments; the error is of what they catch when moved in time."""
    found = vetoed()
    spread = float(found["chance"].std(ddof=1) / np.sqrt(len(found["chance"])))
    return Figure(found["witnessed"]["deadtime"], spread, "", VETO_DEADTIME, this_machine(), VETO_SEEDS)


RECONSTRUCTION_SEEDS = tuple(range(641, 646))


@cache
def _wiener(channel: witnesses.Channel, snr: float = 30.0) -> NDArray[Any]:
    """The simple baseline: a stationary Wiener filter from a whitened witness to the strain, by bin.

    It has the mean spectra of drawn glitches, of one S/N in the witness.
    """
    rng, pairs = np.random.default_rng(0), []
    for family in GLITCH_FAMILIES * 100:
        shape = glitches.draw(family, 1.0, DETECTOR, SLOW_HZ, rng)
        pair = [
            reconstruction.whitened(shape, density, DETECTOR, SLOW_HZ)
            for density in (partial(noise_asd, detector=DETECTOR), channel.asd)
        ]
        pairs.append(np.fft.rfft(pair))
    strain, witness = np.swapaxes(pairs, 0, 1)
    noise = 4 * SLOW_HZ / snr**2
    return np.mean(witness.conj() * strain, axis=0) / (np.mean(np.abs(witness) ** 2, axis=0) + noise)


@cache
def reconstructed() -> dict[str, list[float]]:
    """Mismatches of witnessed glitches with the truth, the Wiener filter's, and their families."""
    torch.set_num_threads(1)
    rate_hz, found = 1024, {"ours": [], "wiener": [], "family": [], "named": []}
    channels = {each.name: each for each in witnesses.VIBRATION}
    values: dict[str, Any] = virgo.EASY | {"duration_s": 256.0, "glitch_rate_hz": 0.05}
    asked = virgo.VirgoParameters(**values)
    for seed in RECONSTRUCTION_SEEDS:
        stretch = virgo.simulate(asked, seed=seed)
        frequency_hz = np.fft.rfftfreq(stretch.sizes["time"], 1 / rate_hz)
        over = (frequency_hz >= 8) / noise_asd(np.maximum(frequency_hz, 0.1), DETECTOR)
        truth = np.fft.irfft(np.fft.rfft(stretch["witnessed_glitches"].values) * over)
        for name, channel in channels.items():
            witness = stretch["witness"].sel(channel=name).values.astype(float)
            white = virgo.whitened(torch.from_numpy(witness / witness.std()), rate_hz).numpy()
            heard = vetoes.triggers(witness, rate_hz, virgo.VetoParameters())["time"].values
            own = stretch["glitch_channel"].values == name
            for time_s, family in zip(
                stretch["glitch_time"].values[own], stretch["glitch_family"].values[own], strict=True
            ):
                if not 4 < time_s < asked.duration_s - 4 or not len(heard):
                    continue
                middle = round(float(heard[np.abs(heard - time_s).argmin()]) * rate_hz)
                window = slice(middle - 2 * rate_hz, middle + 2 * rate_hz)
                ours = reconstruction.reconstruct(white[window], channel.asd, DETECTOR, rate_hz)
                simple = np.fft.irfft(_wiener(channel) * np.fft.rfft(white[window]))
                found["ours"].append(reconstruction.mismatch(ours.strain, truth[window]))
                found["wiener"].append(reconstruction.mismatch(simple, truth[window]))
                found["family"].append(str(family))
                found["named"].append(ours.family)
    return found


def reconstruction_mismatch(which: str) -> Figure:
    """Median mismatch of reconstructed glitches, whitened by the detector's noise, with the truth."""
    value, error = bootstrap(np.median, np.array(reconstructed()[which]), seed=0)
    reference = 0.02 if which == "ours" else None
    return Figure(float(value), float(error), "", reference, this_machine(), RECONSTRUCTION_SEEDS)


GENERATOR_SEED, JUDGE_SEED = 1, 2
JUDGED_SEEDS = (30, 40)  # of what the judge learns from, and of what it judges
N_LEARNT = 2000
SLOW_HZ = 1024
SLOW_TILING = virgo.Tiling(4.0, SLOW_HZ, quality=6.0, low_hz=12.0, high_hz=300.0)


@cache
def generator() -> generation.Generator:
    """The generator, learnt from drawn glitches of the five families."""
    options = {"detector": DETECTOR, "sample_rate_hz": SLOW_HZ, "seed": GENERATOR_SEED}
    return generation.learn({n: generation.drawn(n, N_LEARNT, **options) for n in GLITCH_FAMILIES})


def _heard(glitches_made: Series, rng: np.random.Generator) -> Tensor:
    """Glitches of norm 1 as they are heard: with the simulator's S/N, in white noise."""
    snr = 15.0 * np.exp(0.5 * rng.standard_normal((len(glitches_made), 1)))
    return torch.from_numpy(snr * glitches_made + rng.standard_normal(glitches_made.shape)).float()


def _stretched(drawn_ones: Series, by: float) -> Series:
    """Glitches that last longer by a part, and lie lower: damage that a judge must see."""
    n = drawn_ones.shape[1]
    at = (np.arange(n) - n // 2) / (1 + by) + n // 2
    return np.array([np.interp(at, np.arange(n), each) for each in drawn_ones])


@cache
def judged(which: str) -> dict[str, tuple[float, float]]:
    """Areas under the curve of a judge that tells drawn glitches from others, all and by family.

    Args:
        which: The others: `generated`, `drawn` again, or `stretched` drawn ones, by a tenth.
    """
    torch.set_num_threads(1)
    rng = np.random.default_rng(JUDGE_SEED)
    parts: dict[str, list[Tensor]] = {"train": [], "test": []}
    for part, n, seed in zip(("train", "test"), (600, 400), JUDGED_SEEDS, strict=True):
        for name in GLITCH_FAMILIES:
            options = {"detector": DETECTOR, "sample_rate_hz": SLOW_HZ}
            ours = generation.drawn(name, n, seed=seed, **options)
            if which == "generated":
                other = generator().sample(name, n, seed=seed)
            else:
                other = generation.drawn(name, n, seed=seed + 5, **options)
                other = _stretched(other, 0.1) if which == "stretched" else other
            parts[part] += [pictures(_heard(each, rng), SLOW_TILING) for each in (ours, other)]
    labels = torch.tensor([0, 1] * len(GLITCH_FAMILIES)).repeat_interleave(600)
    model = trained(torch.cat(parts["train"]), labels, seed=JUDGE_SEED, n_epochs=12)
    with torch.no_grad():
        scores = [(each @ torch.tensor([-1.0, 1.0])).numpy() for each in map(model, parts["test"])]
    found = {"all": auc(np.concatenate(scores[1::2]), np.concatenate(scores[::2]))}
    for number, name in enumerate(GLITCH_FAMILIES):
        found[name] = auc(scores[2 * number + 1], scores[2 * number])
    return found


def glitch_auc(which: str, family: str = "all") -> Figure:
    """How well a judge tells drawn glitches from others in the detector's noise: 0.5 is not at all."""
    value, error = judged(which)[family]
    reference = {"generated": 0.65, "drawn": 0.5, "stretched": 1.0}[which]
    seeds = (GENERATOR_SEED, JUDGE_SEED, *JUDGED_SEEDS)
    return Figure(float(value), float(error), "", reference, this_machine(), seeds)


@cache
def nearest(which: str) -> Figure:
    """Median overlap with the nearest learnt glitch, mean of families: copies would have 1.

    Args:
        which: `generated` glitches, or `drawn` anew, which are no copies.
    """
    found = []
    for family in GLITCH_FAMILIES:
        options = {"detector": DETECTOR, "sample_rate_hz": SLOW_HZ}
        learnt = generation.drawn(family, N_LEARNT, seed=GENERATOR_SEED, **options)
        if which == "generated":
            some = generator().sample(family, 200, seed=JUDGED_SEEDS[0])
        else:
            some = generation.drawn(family, 200, seed=JUDGED_SEEDS[0], **options)
        found.append(float(np.median((some @ learnt.T).max(axis=1))))
    return Figure(float(np.mean(found)), None, "", None, this_machine(), JUDGED_SEEDS)


BENCHMARKS = {
    "veto_efficiency": lambda: veto_efficiency("witnessed"),
    "veto_unwitnessed": lambda: veto_efficiency("other"),
    "veto_deadtime": veto_deadtime,
    "veto_energy_inside": veto_energy_inside,
    "reconstruction_mismatch": lambda: reconstruction_mismatch("ours"),
    "reconstruction_wiener": lambda: reconstruction_mismatch("wiener"),
    "real_glitches": real_glitches,
    "real_glitches_held_out": lambda: real_glitches("L1"),
    "real_glitches_mismatch": real_mismatch,
    "glitch_auc": lambda: glitch_auc("generated"),
    **{f"glitch_auc_{name}": partial(glitch_auc, "generated", family=name) for name in GLITCH_FAMILIES},
    "glitch_nearest": lambda: nearest("generated"),
    "glitch_nearest_drawn": lambda: nearest("drawn"),
    "glitch_auc_null": lambda: glitch_auc("drawn"),
    "glitch_auc_damaged": lambda: glitch_auc("stretched"),
    "gw150914_frequency": gw150914_frequency,
    "gw150914_time": gw150914_time,
}
