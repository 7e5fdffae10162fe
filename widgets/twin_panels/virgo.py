"""Virgo's panel: the spectrum before and after cleaning, a glitch in tiles, the certificate."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LayoutDOM
from numpy.typing import NDArray
from scipy import signal

from physics_twins import virgo
from physics_twins.figures.style import BLUE, GREEN, GREY, ORANGE
from physics_twins.virgo.parameters import LASTING_FAULTS
from physics_twins.virgo.witnesses import VIBRATION
from twin_panels.background import Background, sentence
from twin_panels.controls import Controls
from twin_panels.farmed import farmed
from twin_panels.figures import (
    LINE_WIDTH,
    FollowingRange,
    LiveImage,
    fill,
    frame,
    place_legend,
    retitle,
)
from twin_panels.panel import Panel

SEED = 7  # its preview has glitches of both kinds, witnessed and not
PREVIEW_S, RATE_HZ, PREVIEW_GLITCHES = 64.0, 1024, 6
FITTED = 0.75  # of the stretch; what is shown is the rest
PART_S = 4.0  # of a spectrum, and of the tiles
WHITENED_S = 16.0  # around a glitch
SHOWN_HZ = (10.0, 450.0)
TICKS_HZ = [10, 20, 50, 100, 200, 400]
FREQUENCY = "Frequency (Hz)"
STRENGTHS = tuple(coupling.name for coupling in virgo.COUPLINGS)
FIRST = (
    *("seismic", "sidebands", "fringe", "jitter"),
    *("witness_off", "glitch_family", "glitch_snr"),
)
OF_A_PREVIEW = ("duration_s", "sample_rate_hz")


@dataclass(frozen=True)
class Cleaned:
    """What a subtraction made of the part of a stretch that its filters had not seen.

    Attributes:
        spectrum: Amplitude spectral density of what is left, 1/sqrt(Hz), shape (frequency,).
        told: The certificate of the second shown and what the channels saw of the glitch, in words.
    """

    spectrum: NDArray[np.floating]
    told: str


class VirgoPanel(Panel[virgo.VirgoParameters]):
    """Sliders of couplings, faults and glitches beside spectra and a glitch in time and frequency.

    Before and the oracle's follow a hand at once; the classical subtraction is fitted anew beside, and
    comes when it is done. Spectra are those of the last quarter of a minute, which it has not seen.
    """

    notebook = "virgo/1_simulate"
    use = """from physics_twins import figures, virgo
from twin_panels.virgo import preview
stretch = preview(parameters, SEED)
figures.load_extension()
strain, limit = stretch["strain"].values, stretch["known"].values
parts = {"before": strain, "by the oracle": strain - limit}
virgo.plots.spectra(stretch, parts, title="Before and after")"""

    def __init__(
        self,
        start: virgo.VirgoParameters | None = None,
        *,
        client: Any = None,
        seed: int = SEED,
        model: str = "virgo-filters",
    ) -> None:
        """Show the first frame.

        Args:
            start: Parameters to begin with; `duration_s` and `sample_rate_hz` are those of a preview.
            client: A Dask client whose workers fit the subtraction; without one a thread does.
            seed: Of noise, couplings and glitches.
            model: What tells the filters better than they are fitted; "" for nothing.
        """
        self._client, self._seed, self._model = client, seed, model
        self._background = Background(self._show_cleaned)
        start = start or virgo.VirgoParameters()
        names = [name for name in start.describe() if name not in (*FIRST, *OF_A_PREVIEW)]
        super().__init__(start, Controls(start, names=[*FIRST, *names]))

    def build(self) -> LayoutDOM:
        """Return the three figures, one above the other."""
        self._build_spectra()
        self._time = FollowingRange()
        self.tiles = frame(
            x="Time (s)", y=FREQUENCY, height=260, x_range=self._time.model, y_axis_type="log"
        )
        self.tiles.yaxis.ticker = FixedTicker(ticks=TICKS_HZ)
        self.image = LiveImage(self.tiles, low=0, high=25, unit="Energy over median")
        return column(self.spectra, self.left, self.tiles, sizing_mode="stretch_width")

    def compute(self, parameters: virgo.VirgoParameters) -> xr.Dataset:
        """Return the stretch's spectra, those that the oracle leaves, and tiles around a glitch."""
        stretch, strain, known = _summed(parameters, self._seed)
        seed, client, model = self._seed, self._client, self._model
        self._background.ask(lambda: _cleaned(parameters, seed, client, model))
        frequency_hz, (before, oracle) = _spectrum(np.stack([strain, strain - known]))
        noise = virgo.noise_asd(frequency_hz, parameters.detector)
        columns = {"before": before, "oracle": oracle, "noise": noise}
        at_s = _shown_s(stretch)
        with _one_thread():
            energies, tiling = _tiles(strain, at_s)
        return xr.Dataset(
            {name: ("frequency", values, {"units": "Hz-1/2"}) for name, values in columns.items()}
            | {"energy": (("row", "time"), energies.numpy(), {"units": "1"})},
            coords={"frequency": ("frequency", frequency_hz, {"units": "Hz"})},
            attrs={
                "at_s": at_s,
                "glitch": _glitch(stretch, at_s),
                "rows_hz": (tiling.low_hz, tiling.high_hz),
            },
        )

    def show(self, data: xr.Dataset) -> None:
        """Bring the figures to a new stretch; what is cleaned comes later."""
        columns = {name: data[name].values for name in ("frequency", "before", "oracle", "noise")}
        nothing = np.full(len(columns["frequency"]), np.nan)
        fill(self.curves, columns | {"after": nothing} | _over_noise(columns | {"after": nothing}))
        self._make_room()
        start_s = data.attrs["at_s"] - PART_S / 2
        self.image.show(data["energy"].values, x=(start_s, start_s + PART_S), y=data.attrs["rows_hz"])
        self._time.follow(start_s, start_s + PART_S)
        retitle(self.tiles, data.attrs["glitch"])
        self._tell("The subtraction is being fitted.")

    def wait(self) -> None:
        """Wait until what is cleaned belongs to the stretch shown."""
        self._background.wait()

    def _show_cleaned(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._tell(f"Not cleaned: {sentence(result)}")
            return
        with self._canvas.one_patch():
            columns = {str(name): np.asarray(each) for name, each in self.curves.data.items()}
            columns["after"] = result.spectrum
            fill(self.curves, columns | _over_noise(columns))
            self._make_room()
            self.comparison.follow(self.parameters)
        self._tell(result.told)

    def _make_room(self) -> None:
        """Let the axes of densities hold all that is drawn, in whole decades."""
        shown = {str(name): np.asarray(each, float) for name, each in self.curves.data.items()}
        lowest = float(shown["noise"].min())
        spectra = np.concatenate([shown["before"], shown["after"]])
        self._density.follow(0.3 * lowest, max(3e3 * lowest, _decade(spectra)), hold=self.drags)
        left = np.concatenate([shown["after_left"], shown["oracle_left"]])
        self._ratio.follow(0.3, max(30.0, _decade(left)), hold=self.drags)

    def _build_spectra(self) -> None:
        self._density, self._ratio = FollowingRange(), FollowingRange()
        log = {"x_axis_type": "log", "x_range": SHOWN_HZ}
        self.spectra = frame(
            x="",
            y="Strain (1/√Hz)",
            height=300,
            y_axis_type="log",
            y_range=self._density.model,
            **log,
        )
        self.left = frame(
            x=FREQUENCY,
            y="Over noise",
            height=160,
            y_axis_type="log",
            y_range=self._ratio.model,
            **log,
        )
        names = ("frequency", "before", "after", "oracle", "noise", "after_left", "oracle_left")
        self.curves = ColumnDataSource({name: [] for name in names})
        drawn = {"source": self.curves, "line_width": LINE_WIDTH}
        for name, words, colour in (
            ("before", "before", GREY),
            ("after", "cleaned", BLUE),
            ("oracle", "by the oracle", ORANGE),
            ("noise", "the detector's noise", GREEN),
        ):
            dash = "dashed" if name == "noise" else "solid"
            curve = self.spectra.line(
                "frequency", name, color=colour, legend_label=words, line_dash=dash, **drawn
            )
            tips = [(FREQUENCY, "@frequency{0.0}"), (words, f"@{name}{{0.00e+0}}")]
            if name == "before":
                self.spectra.add_tools(HoverTool(renderers=[curve], tooltips=tips, mode="vline"))
        place_legend(self.spectra)
        self.comparison.watch(self.spectra, self.curves, "frequency", "before")
        self.comparison.watch(self.spectra, self.curves, "frequency", "after", self.left)
        for name, colour in (("after_left", BLUE), ("oracle_left", ORANGE)):
            self.left.line("frequency", name, color=colour, **drawn)
        self.left.toolbar_location = None
        self.left.yaxis.ticker = FixedTicker(ticks=[1, 3, 10, 100, 1000])
        for figure in (self.spectra, self.left):
            figure.xaxis.ticker = FixedTicker(ticks=TICKS_HZ)
        retitle(self.spectra, "The last quarter of a minute, which the filters have not seen")
        retitle(self.left, "What is left over the detector's noise: 1 is perfect")


def preview(parameters: virgo.VirgoParameters, seed: int) -> xr.Dataset:
    """Return a stretch of a minute with some glitches.

    Args:
        parameters: Of the stretch; times of faults are cut to a quarter of it.
        seed: Of the stretch.

    Returns:
        What `simulate` returns, and `known` (time), what the oracle knows of the couplings' parts.
    """
    stretch, strain, known = _summed(parameters, seed)
    strengths = {name: float(getattr(parameters, name)) for name in STRENGTHS}
    factors = xr.DataArray([*strengths.values()], {"coupling": [*strengths]}, "coupling")
    if parameters.n_unsafe:
        return stretch.assign(known=("time", known))
    parts = {name: stretch[name] * factor for name, factor in strengths.items()}
    parts["strain"] = stretch["strain"].copy(data=strain)
    more = {"response": factors * stretch["response"], "known": ("time", known)}
    return stretch.assign(parts | more).assign_attrs(strengths)


def _summed(parameters: virgo.VirgoParameters, seed: int) -> tuple[xr.Dataset, Any, Any]:
    """Return a stretch whose couplings may be those of strength 1, its strain, what is known of it.

    The parts that couplings make are proportional to their strengths: only where something else
    changes is a stretch simulated anew.
    """
    plain = dict.fromkeys(STRENGTHS, 1.0) | {"duration_s": PREVIEW_S, "sample_rate_hz": RATE_HZ}
    plain |= {name: min(getattr(parameters, name), PREVIEW_S / 4) for name in LASTING_FAULTS}
    if parameters.glitch_rate_hz:
        plain |= {"glitch_rate_hz": PREVIEW_GLITCHES / PREVIEW_S}
    strengths = {name: float(getattr(parameters, name)) for name in STRENGTHS}
    if parameters.n_unsafe:  # such channels contain the strain, so they need its true sum
        stretch = virgo.simulate(parameters.replace(**plain | strengths), seed=seed)
        return stretch, stretch["strain"].values, virgo.oracle(stretch)
    stretch = _simulated(parameters.replace(**plain).to_json(), seed)
    strain = np.zeros(stretch.sizes["time"])
    for name in virgo.COMPONENTS:
        strain += strengths.get(name, 1.0) * stretch[name].values
    known = np.einsum("c,ct->t", [*strengths.values()], stretch["known"].values)  # in one thread
    return stretch, strain, known


@lru_cache(maxsize=4)
def _simulated(parameters: str, seed: int) -> xr.Dataset:
    """Return a stretch, and of each coupling what the oracle knows of it, `known` (coupling, time)."""
    stretch = virgo.simulate(virgo.VirgoParameters.from_json(parameters), seed=seed)
    alone = [
        stretch.assign(response=stretch["response"].where(stretch["coupling"] == name, 0.0))
        for name in STRENGTHS
    ]
    known = np.array([virgo.oracle(each) for each in alone])
    return stretch.assign(known=(("coupling", "time"), known))


def _cleaned(
    parameters: virgo.VirgoParameters, seed: int, client: Any, model: str
) -> Iterator[Cleaned | None]:
    """Yield what the subtraction makes of a stretch."""
    call = partial(_clean, preview(parameters, seed), model)
    yield from farmed(client, [call]) if client else [call()]


def _clean(stretch: xr.Dataset, model: str) -> Cleaned:
    filters = virgo.fit(stretch, virgo.CleaningParameters(train_fraction=FITTED))
    stream = virgo.Stream(virgo.refined(filters, model))
    came = [cleaned for each in virgo.frames(stretch) if (cleaned := stream.push(each))]
    came += stream.finish()
    at_gps_s = stretch.attrs["gps_start_s"] + np.floor(_shown_s(stretch))
    shown = min(came, key=lambda each: abs(each.gps_start_s - at_gps_s))
    strain = np.concatenate([each.strain for each in came])
    return Cleaned(_spectrum(strain)[1], f"{shown.certificate.in_words()} {_veto(stretch)}")


def _veto(stretch: xr.Dataset) -> str:
    """Return what the channels saw of the glitch that is shown, and what a veto would take."""
    at_s, settings = _shown_s(stretch), virgo.VetoParameters()
    names = [channel.name for channel in VIBRATION]
    seen = virgo.vetoes.channel_triggers(stretch, settings, channels=names)
    near = np.abs(seen["time"].values - at_s) < 0.5
    if not near.any():
        return "No channel saw the glitch that is shown: no veto can know of it."
    loudest = int(np.where(near, seen["energy"].values, 0).argmax())
    half_s = settings.half_width_s + settings.widening * float(seen["spread"][loudest])
    return (
        f"{seen['channel'].values[loudest]} saw the glitch, with an energy of"
        f" {float(seen['energy'][loudest]):.0f}: a veto takes {2e3 * half_s:.0f} ms."
    )


def _shown_s(stretch: xr.Dataset) -> float:
    """Return the time of the loudest glitch that the filters have not seen, else the middle of that."""
    first_s, last_s = FITTED * PREVIEW_S, PREVIEW_S - PART_S / 2
    times_s, snr = stretch["glitch_time"].values, stretch["glitch_snr"].values
    inside = (times_s > first_s + PART_S / 2) & (times_s < last_s)
    return float(times_s[inside][snr[inside].argmax()]) if inside.any() else (first_s + last_s) / 2


def _glitch(stretch: xr.Dataset, at_s: float) -> str:
    same = np.flatnonzero(stretch["glitch_time"].values == at_s)
    if not len(same):
        return "No glitch in what is shown"
    family = str(stretch["glitch_family"].values[same[0]]).replace("_", " ")
    return f"A {family} of S/N {float(stretch['glitch_snr'][same[0]]):.3g}, as recorded"


def _spectrum(strain: NDArray[np.floating]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return frequencies in Hz, and of the part that is judged densities (..., frequency) in 1/√Hz."""
    judged = strain[..., round(FITTED * PREVIEW_S * RATE_HZ) :]
    frequency_hz, psd = signal.welch(judged, RATE_HZ, nperseg=round(PART_S * RATE_HZ))
    shown = (frequency_hz >= SHOWN_HZ[0]) & (frequency_hz <= SHOWN_HZ[1])
    return frequency_hz[shown], np.sqrt(psd[..., shown])


def _decade(values: NDArray[Any]) -> float:
    """Return the power of ten above the highest value."""
    return float(10 ** np.ceil(np.log10(1.05 * np.nanmax(values))))


def _over_noise(columns: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{name}_left": columns[name] / columns["noise"] for name in ("after", "oracle")}


def _tiles(strain: NDArray[np.floating], at_s: float) -> tuple[torch.Tensor, virgo.Tiling]:
    """Return the picture of the tiles around a time, and their tiling."""
    first_s = min(max(at_s - WHITENED_S / 2, 0), PREVIEW_S - WHITENED_S)
    around = strain[round(first_s * RATE_HZ) : round((first_s + WHITENED_S) * RATE_HZ)]
    white = virgo.whitened(torch.from_numpy(np.ascontiguousarray(around)), float(RATE_HZ))
    first = round((at_s - PART_S / 2 - first_s) * RATE_HZ)
    return virgo.picture(white[first : first + round(PART_S * RATE_HZ)], float(RATE_HZ))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let PyTorch compute in this thread alone: others would wait for more, and keep a core busy."""
    former = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(former)
