"""The calorimeter's panel: one shower of the flow from three sides, its profiles, and the audit."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, HoverTool, LayoutDOM

from physics_twins.calorimeter import samples
from physics_twins.calorimeter.evaluating.features import features
from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, load_flow
from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.calorimeter.projections import VIEWS, projections
from physics_twins.calorimeter.use_parameters import ShowerViewParameters
from physics_twins.models import ModelError
from physics_twins.units import round_up
from twin_panels.figures import FollowingRange, LiveImage, fill, frame, retitle
from twin_panels.panel import Panel

SEED = 1
# Showers of the band: drawn anew with each move, so no more than a hand can wait for.
N_BAND = 24
TITLES = {"side": "From the side", "top": "From above", "front": "Along the beam"}
PROFILES = {"layer_mev": ("layer", "Depth (mm)"), "ring_mev": ("ring", "Distance from the beam (mm)")}
LOWEST, HIGHEST = -2.0, 4.0  # decades of MeV in the colours
# Showers of Geant4 count as of this energy and angle within so much.
NEAR_ENERGY, NEAR_DEG = 0.15, 5.0
MIN_REFERENCE = 10
# Okabe & Ito 2008, Color Universal Design.
BLUE, VERMILLION = "#0072B2", "#D55E00"


class CalorimeterPanel(Panel[ShowerViewParameters]):
    """Sliders beside one shower, redrawn with the same random numbers while energy or angle moves.

    Args:
        start: Parameters to begin with.
        model: A trained flow, or the name of one.
        seed: Of the shower.
        reference: Showers of Geant4, of any energies and angles; the mean of those near is drawn.
        audits: What `audit_twin` found; the one that was made here is told.
    """

    notebook = "calorimeter/4_infer"
    use = (
        "from physics_twins.calorimeter import infer, samples\n"
        "from physics_twins.calorimeter.model import load_flow\n"
        "from physics_twins.calorimeter.parameters import CalorimeterParameters\n"
        "asked = CalorimeterParameters(**samples.TRAINING).replace(\n"
        "    **parameters.to_papermill(), energy_max_gev=0.0, theta_max_deg=0.0, n_showers=100\n"
        ")\n"
        "showers = infer.generate(load_flow(), asked, seed=1)"
    )

    def __init__(
        self,
        start: ShowerViewParameters | None = None,
        *,
        model: ShowerFlow | str = "calorimeter-flow",
        seed: int = SEED,
        reference: xr.Dataset | None = None,
        audits: Sequence[xr.Dataset] = (),
    ) -> None:
        self._model, self._seed, self._audits = model, seed, tuple(audits)
        self._reference = None if reference is None else features(reference)
        super().__init__(start or ShowerViewParameters())

    def build(self) -> LayoutDOM:
        """Return three views in a row, and two profiles below."""
        self.views, self.images = {}, {}
        for name, (across, up) in VIEWS.items():
            view = frame(x=f"{across.capitalize()} (mm)", y=f"{up.capitalize()} (mm)", height=270)
            view.update(min_width=200, min_border_left=40)
            self.views[name] = view
            self.images[name] = LiveImage(view, low=LOWEST, high=HIGHEST, unit="log10 MeV")
        self.profiles, self.sources, self._heights = {}, {}, {}
        for name, (_, label) in PROFILES.items():
            self._build_profile(name, label)
        views = row(list(self.views.values()), sizing_mode="stretch_width")
        return column(
            views,
            row(list(self.profiles.values()), sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
        )

    def compute(self, parameters: ShowerViewParameters) -> xr.Dataset:
        """Return showers at one energy and angle, the first of them to be looked at.

        Raises:
            ValueError: There is no flow, or it was not trained for this.
        """
        asked = CalorimeterParameters(**samples.TRAINING).replace(
            **parameters.to_papermill(), energy_max_gev=0.0, theta_max_deg=0.0, n_showers=N_BAND
        )
        return generate(self._flow(), asked, seed=self._seed)

    def show(self, data: xr.Dataset) -> None:
        """Bring the figures to other showers."""
        one = data["showers"].isel(shower=0)
        for name, image in projections(one).items():
            self._show_view(name, image)
        numbers = features(data)
        for name in PROFILES:
            self._show_profile(name, numbers)
        response = float(numbers["response"][0])
        retitle(self.views["front"], f"{TITLES['front']}: {response:.1%} seen")
        retitle(self.profiles["layer_mev"], self._audited(data))
        retitle(self.profiles["ring_mev"], f"Mean and 68 % of {data.sizes['shower']} showers")

    def _flow(self) -> ShowerFlow:
        if isinstance(self._model, str):
            try:
                self._model = load_flow(self._model)
            except ModelError as error:
                raise ValueError(
                    f"there is no flow to draw with: {error}. Train one with the notebook"
                    " calorimeter/2_train, or give the panel another name as model"
                ) from None
        return self._model

    def _build_profile(self, name: str, label: str) -> None:
        self._heights[name] = FollowingRange()
        profile = frame(x=label, y="Energy (MeV)", height=250, y_range=self._heights[name].model)
        profile.update(min_width=300)
        columns = ("place", "one", "mean", "low", "high", "geant4")
        source = ColumnDataSource({column: [] for column in columns})
        profile.varea(
            "place", "low", "high", source=source, color=BLUE, alpha=0.25, legend_label="68 %"
        )
        profile.line("place", "mean", source=source, color=BLUE, legend_label="mean")
        profile.line(
            "place", "geant4", source=source, color="gray", line_dash="dashed", legend_label="Geant4"
        )
        points = profile.scatter(
            "place", "one", source=source, color=VERMILLION, size=5, legend_label="this shower"
        )
        tips = [
            (label, "@place{0.0}"),
            ("this shower (MeV)", "@one{0.0}"),
            ("mean (MeV)", "@mean{0.0}"),
        ]
        profile.add_tools(HoverTool(renderers=[points], tooltips=tips, mode="vline"))
        profile.legend.update(location="top_right", click_policy="hide", background_fill_alpha=0.7)
        profile.legend.update(padding=4, spacing=0, label_text_font_size="11px")
        self.profiles[name], self.sources[name] = profile, source

    def _show_view(self, name: str, image: xr.DataArray) -> None:
        across, up = VIEWS[name]
        with np.errstate(divide="ignore"):
            decades = np.log10(image.values)
        edges = []
        for dim in (across, up):
            place = image[dim].values
            half = (place[1] - place[0]) / 2
            edges.append((float(place[0] - half), float(place[-1] + half)))
        self.images[name].show(np.nan_to_num(decades, neginf=LOWEST), x=edges[0], y=edges[1])
        if name != "front":
            retitle(self.views[name], TITLES[name])

    def _show_profile(self, name: str, numbers: xr.Dataset) -> None:
        place, _ = PROFILES[name]
        values = numbers[name].values
        low, high = np.quantile(values, [0.16, 0.84], axis=0)
        columns = {
            "place": numbers[place].values,
            "one": values[0],
            "mean": values.mean(axis=0),
            "low": low,
            "high": high,
            "geant4": self._near(name, numbers),
        }
        fill(self.sources[name], columns)
        self._heights[name].follow(0.0, round_up(1.1 * max(high.max(), values[0].max())))

    def _near(self, name: str, numbers: xr.Dataset) -> np.ndarray:
        """Return the mean profile of Geant4's showers of about this energy and angle."""
        nothing = np.full(numbers[name].shape[1], np.nan)
        if self._reference is None:
            return nothing
        energy, theta = float(numbers["energy_gev"][0]), float(numbers["theta_deg"][0])
        theirs = self._reference["energy_gev"].values
        near = abs(np.log(theirs / energy)) < NEAR_ENERGY
        near &= abs(self._reference["theta_deg"].values - theta) < NEAR_DEG
        if near.sum() < MIN_REFERENCE:
            return nothing
        return (self._reference[name].values[near] * (energy / theirs[near])[:, None]).mean(axis=0)

    def _audited(self, data: xr.Dataset) -> str:
        here = {
            "energy_gev": 0.05 * float(data["energy_gev"][0]),
            "theta_deg": 3.0,
            "absorber_mm": 0.02,
        }
        at = {n: float(data[n][0]) for n in ("energy_gev", "theta_deg")}
        at["absorber_mm"] = float(data.attrs["absorber_mm"])
        for audit in reversed(self._audits):
            if all(abs(float(audit.attrs[n]) - at[n]) <= reach for n, reach in here.items()):
                return f"Audit here: {audit.attrs['verdict']}"
        return "Audit: none at this energy and angle"
