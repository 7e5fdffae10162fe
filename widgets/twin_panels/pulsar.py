"""The pulsar's panel: one pulse sweeping through the band, and what dedispersion makes of it."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from bokeh.layouts import column
from bokeh.models import BasicTicker, ColumnDataSource, HoverTool, LayoutDOM, Span

from physics_twins.data import in_print, round_up
from physics_twins.figures.style import BLUE, VERMILLION
from physics_twins.models import ModelError
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.physics.ism import dispersion_delay
from physics_twins.pulsar.searching.cleaning import normalise
from physics_twins.pulsar.searching.dedispersion import dedispersed
from physics_twins.pulsar.simulate import simulate_pulse
from twin_panels import batch, recording
from twin_panels.background import Background, sentence
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
from twin_panels.measuring import MeasuringPanel

# No more than a laptop's screen shows beside the controls: Bokeh skips pixels rather than average them.
MAX_SPECTRA = 420
SEED = 28  # its preview shows both kinds of interference
AFTER = "Time after arrival at the top of the band (ms)"
SIGMA = "σ of the noise"
TRUE_PULSE = "true pulse"
_NEXT = (
    "train one with the notebook pulsar/2_train, or unpack one with twins models import FILE.zip,"
    " and move a slider"
)


class PulsarPanel(MeasuringPanel[ObservationParameters, recording.Recording]):
    """Sliders beside one pulse in time and frequency, its dedispersed profile and the residual.

    The true pulse is drawn into both figures. Time counts from the pulse's arrival at the highest
    frequency. A telescope's file can stand behind the sliders (`take`, or *Load*): the pulse of the
    twin is then fitted to it by hand.

    Args:
        start: Parameters to begin with.
        client: A Dask client whose workers label the pulse; without one a thread does.
        seed: Of the noise and interference shown.
    """

    notebook = "pulsar/1_simulate"
    without = "Simulate again"
    use = f"""from physics_twins import figures, pulsar
pulse = pulsar.simulate_pulse(parameters, seed=SEED, max_spectra={MAX_SPECTRA})
figures.load_extension()
figures.image(pulse, levelled=True, title="The panel's pulse")"""

    def __init__(
        self,
        start: ObservationParameters | None = None,
        *,
        client: Any = None,
        seed: int = SEED,
    ) -> None:
        self._client, self._seed = client, seed
        self._background = Background(self._tell_label)
        super().__init__(start or ObservationParameters())

    def build(self) -> LayoutDOM:
        """Return the three figures, one above the other."""
        self._build_waterfall()
        self._build_profile()
        return column(self.waterfall, self.profile, self.residual, sizing_mode="stretch_width")

    def compute(self, parameters: ObservationParameters) -> xr.Dataset:
        """Return one pulse with its dedispersed profile, and the profile of the true pulse alone."""
        observation = simulate_pulse(parameters, seed=self._seed, max_spectra=MAX_SPECTRA)
        dm_pc_cm3, client, seed = parameters.dm_pc_cm3, self._client, self._seed
        if self.measured:
            return self.measured.beside(observation, dm_pc_cm3)
        needs = "" if client else "physics_twins.pulsar.preview_label"
        self._background.ask(lambda: _labels(parameters, seed, client), needs=needs)
        profiles = {
            "profile": dedispersed(observation, dm_pc_cm3).variable,
            "true_profile": dedispersed(observation, dm_pc_cm3, variable="pulses").variable,
        }
        return observation[["data", "pulse_time_s", "pulse_snr_ideal"]].assign(profiles)

    def show(self, data: xr.Dataset) -> None:
        """Bring the figures to a new pulse."""
        time_ms = 1e3 * (data["time"].values - float(data["pulse_time_s"][0]))
        self._show_waterfall(data, time_ms)
        self._show_profile(data, time_ms)
        if self.measured:
            name, at_s = self.measured.path.name, self.measured.arrival_s
            self._tell(f"Recorded: {name}, {at_s:.4f} s after its start. Red: the twin's pulse.")
        else:
            self._tell(f"The pulse at DM {data.attrs['dm_pc_cm3']:.4g} is being labelled.")

    def read(self, path: Path) -> tuple[recording.Recording, ObservationParameters, str]:
        """Return a telescope file's strongest pulse at the DM of now, and the parameters in its band.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is damaged, of no known format, or of a band that no parameter allows.
        """
        now = self.parameters
        duration_s = simulate_pulse(now, seed=self._seed, max_spectra=8, max_channels=8).attrs[
            "duration_s"
        ]
        options = {"duration_s": duration_s, "max_spectra": MAX_SPECTRA}
        found, band = recording.read(path, now, **options)
        told = f"The strongest pulse at DM {now.dm_pc_cm3:g}: move the sliders until red lies on it."
        return found, band, told

    def stands(self) -> None:
        """Call the red curve the twin's while a recording stands behind it, and label nothing."""
        self._background.ask(lambda: iter(()))
        legend: Any = self.profile.legend[0]
        legend.items[1].label = {"value": "twin's pulse" if self.measured else TRUE_PULSE}

    def calibrating(self, measured: recording.Recording) -> str:
        """Return the command that calibrates on the recording, from these parameters."""
        path = str(measured.path)
        return batch.run_line("pulsar/5_twin", self.parameters, observed_path=path)

    def wait(self) -> None:
        """Wait until the label belongs to the pulse shown."""
        self._background.wait()

    def _tell_label(self, result: Any) -> None:
        if isinstance(result, Exception):
            self._tell(f"Not labelled: {sentence(result)}")
        else:
            self._tell(result)

    def _build_waterfall(self) -> None:
        self._time, self._band = FollowingRange(), FollowingRange()
        self.waterfall = frame(
            x=AFTER,
            y="Frequency (MHz)",
            height=390,
            x_range=self._time.model,
            y_range=self._band.model,
        )
        self.image = LiveImage(self.waterfall, low=-2, high=5, unit=SIGMA)
        self.track = ColumnDataSource({"early": [], "late": [], "frequency": []})
        for edge in ("early", "late"):
            self.waterfall.line(
                edge,
                "frequency",
                source=self.track,
                color="white",
                alpha=0.7,
                line_dash="dashed",
            )
            self.comparison.watch(self.waterfall, self.track, edge, "frequency")

    def _build_profile(self) -> None:
        self._near, self._height, self._scatter = FollowingRange(), FollowingRange(), FollowingRange()
        self.profile = frame(
            x="",
            y=f"Signal ({SIGMA})",
            height=220,
            x_range=self._near.model,
            y_range=self._height.model,
        )
        self.residual = frame(
            x=AFTER,
            y="Residual (σ)",
            height=130,
            x_range=self._near.model,
            y_range=self._scatter.model,
        )
        self.curves = ColumnDataSource({"time": [], "signal": [], "truth": [], "residual": []})
        lines = {"source": self.curves, "line_width": LINE_WIDTH}
        signal = self.profile.step(
            "time", "signal", mode="center", color=BLUE, legend_label="dedispersed", **lines
        )
        self.profile.line("time", "truth", color=VERMILLION, legend_label=TRUE_PULSE, **lines)
        place_legend(self.profile)
        self.profile.xaxis.major_label_text_font_size = "0px"
        self.residual.toolbar_location = None
        self.residual.yaxis.ticker = BasicTicker(desired_num_ticks=3)
        noise = self.residual.step("time", "residual", mode="center", color=BLUE, **lines)
        self.residual.add_layout(Span(location=0, dimension="width", line_color=VERMILLION))
        self.comparison.watch(self.profile, self.curves, "time", "signal", self.residual)
        for where, renderer, name in (
            (self.profile, signal, "signal"),
            (self.residual, noise, "residual"),
        ):
            tips = [
                ("Time (ms)", "@time{0.00}"),
                (f"{name} (σ)", f"@{name}{{0.0}}"),
                ("truth (σ)", "@truth{0.0}"),
            ]
            where.add_tools(HoverTool(renderers=[renderer], tooltips=tips, mode="vline"))

    def _show_waterfall(self, data: xr.Dataset, time_ms: np.ndarray) -> None:
        frequency_mhz = data["frequency"].values
        half_mhz, step_ms = (
            abs(frequency_mhz[0] - frequency_mhz[1]) / 2,
            1e3 * data.attrs["sampling_time_s"],
        )
        edges_ms = time_ms[0] - step_ms / 2, time_ms[-1] + step_ms / 2
        edges_mhz = frequency_mhz[-1] - half_mhz, frequency_mhz[0] + half_mhz
        self.image.show(normalise(data["data"].values)[::-1], x=edges_ms, y=edges_mhz)
        self._time.follow(*edges_ms, hold=self.drags)
        self._band.follow(*edges_mhz, hold=self.drags)
        dm_pc_cm3 = data.attrs["dm_pc_cm3"]
        delay_ms = 1e3 * dispersion_delay(frequency_mhz, dm_pc_cm3, reference_mhz=frequency_mhz[0])
        aside_ms = max(2 * data.attrs["width_ms"], 0.02 * (edges_ms[1] - edges_ms[0]))
        track = {"early": delay_ms - aside_ms, "late": delay_ms + aside_ms, "frequency": frequency_mhz}
        fill(self.track, track)
        retitle(
            self.waterfall,
            f"Pulse between the dashes, {delay_ms[-1]:.4g} ms from top to bottom",
        )

    def _show_profile(self, data: xr.Dataset, time_ms: np.ndarray) -> None:
        signal, truth = data["profile"].values, data["true_profile"].values
        curves = {"time": time_ms, "signal": signal, "truth": truth, "residual": signal - truth}
        fill(self.curves, curves)
        bright_ms = np.abs(time_ms[truth > 0.01 * max(truth.max(), 1e-6)])
        step_ms = 1e3 * data.attrs["sampling_time_s"]
        reach_ms = round_up(max(2 * bright_ms.max(initial=0), 10 * step_ms))
        low_ms = max(-reach_ms, float(time_ms[0]))
        self._near.follow(low_ms, reach_ms, hold=self.drags)
        near = (time_ms >= self._near.model.start) & (time_ms <= self._near.model.end)
        lowest, highest = float(signal[near].min()), float(max(signal[near].max(), truth.max()))
        off = round_up(max(1.05 * float(np.abs(signal - truth)[near].max()), 5.0))
        self._height.follow(
            -round_up(max(-1.1 * lowest, 5.0)), round_up(max(1.1 * highest, 10.0)), hold=self.drags
        )
        self._scatter.follow(-off, off, hold=self.drags)
        retitle(
            self.profile,
            f"Dedispersed at {data.attrs['dm_pc_cm3']:.5g} {in_print('pc cm-3')}:"
            f" ideal S/N {float(data['pulse_snr_ideal'][0]):.3g}",
        )


def _labels(parameters: ObservationParameters, seed: int, client: Any) -> Iterator[str | None]:
    """Yield what the classifier says of the pulse."""
    call = partial(_label, parameters, seed)
    yield from farmed(client, [call]) if client else [call()]


def _label(parameters: ObservationParameters, seed: int) -> str:
    from physics_twins.pulsar.preview_label import label_pulse  # imports torch

    try:
        found = label_pulse(parameters, seed=seed)
    except ModelError as error:
        raise ModelError(f"{error}; {_NEXT}") from None
    return (
        f"Label of the pulse's frame at DM {parameters.dm_pc_cm3:.4g}: {found.label}"
        f" (probability {found.probability:.2f}); with a pulse {found.p_pulse:.2f};"
        f" S/N found {found.snr:.3g}, ideal {found.snr_ideal:.3g}. By {found.model}, in a recording of"
        " its own with this interference."
    )
