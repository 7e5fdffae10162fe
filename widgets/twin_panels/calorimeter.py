"""The calorimeter's panel: one shower, drawn again from the flow as energy and angle change."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np
import xarray as xr
from bokeh.layouts import column, row
from bokeh.models import LayoutDOM

from physics_twins.calorimeter.infer import generate
from physics_twins.calorimeter.model import ShowerFlow, load_flow
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.projections import bands, densities, profiles, projections
from physics_twins.calorimeter.twin_parameters import BeamTimeParameters
from physics_twins.models import ModelError
from physics_twins.twin import TwinState
from twin_panels import batch, measured_showers
from twin_panels.background import Background, sentence
from twin_panels.controls import Controls
from twin_panels.farmed import farmed, growing
from twin_panels.figures import retitle
from twin_panels.geant4_here import FIRE, N_SHOWERS, Geant4Here
from twin_panels.measured_showers import MeasuredShowers
from twin_panels.measuring import MeasuringPanel
from twin_panels.shower_views import Profiles, Views

SEED = 3
SHOWN = ("energy_gev", "theta_deg", "absorber_mm")
MAX_WIDTH = 1200  # screen pixels
# The flow's band: so many showers, and the first of it after so many.
N_BAND, N_PART = 300, 50
# Showers of the reference that are like the one shown: within 20 % in energy, 5 degrees, 0.02 mm.
NEAR = {"energy": np.log(1.2), "theta_deg": 5.0, "absorber_mm": 0.02}
LEAST_NEAR = 20
DEFAULT = CalorimeterParameters(**CALO_CHALLENGE_2, theta_deg=15.0, n_showers=1000)
_ONE: dict[str, Any] = {"energy_max_gev": 0.0, "theta_max_deg": 0.0, "phi_max_deg": 0.0}
_NEXT = (
    "train one with the notebook calorimeter/2_train, or unpack one with twins models import FILE.zip,"
    " and move a slider"
)


@dataclass(frozen=True)
class _Band:
    parameters: CalorimeterParameters
    known: xr.Dataset


class CalorimeterPanel(MeasuringPanel[CalorimeterParameters, MeasuredShowers]):
    """Sliders beside one shower of the flow in three views, with its profiles.

    The shower has one seed: it moves with the sliders as far as the flow is continuous. Bands show
    what showers of this energy, angle and absorber are like: the flow's, drawn beside the kernel's
    work, and Geant4's, fired at the press of a button or taken from a reference's showers nearby. Means
    of a file's showers can lie over them (`take`, or *Load*): energy, angle and absorber are fitted to
    them by hand, and the distance is told.

    Args:
        start: Parameters to begin with.
        flow: What draws; the saved flow by default.
        reference: Showers of Geant4, or of a baseline, in the form of `simulate`; of all energies and
            angles.
        state: The twin's state, whose health is told.
        client: A Dask client whose workers draw the flow's band and fire Geant4; without one a thread
            and processes of this machine do.
        seed: Of the shower shown.
    """

    figure_width = 740
    notebook = "calorimeter/4_infer"
    without = "Let file go"
    use = """from physics_twins import calorimeter, figures
one = parameters.replace(n_showers=1)
shower = calorimeter.generate(calorimeter.load_flow(), one, seed=SEED, member=0)
figures.load_extension()
calorimeter.shower_plots.profiles(calorimeter.features(shower))"""

    def __init__(
        self,
        start: CalorimeterParameters | None = None,
        *,
        flow: ShowerFlow | None = None,
        reference: xr.Dataset | None = None,
        state: TwinState | None = None,
        client: Any = None,
        seed: int = SEED,
    ) -> None:
        self._flow, self._client, self._seed = flow, client, seed
        self._state = state
        self._reference = None if reference is None else profiles(reference)
        self._told: dict[str, str] = {}
        self._background = Background(self._show_band)
        self.geant4 = Geant4Here(self._one, self._show_fired, client=client, seed=seed)
        ranges = found.ranges if (found := self._found()) else {}
        ends = {name: (low, high) for name, (low, high) in ranges.items() if low < high}
        start = (start or _usual(found)).replace(**_ONE)
        super().__init__(start, Controls(start, names=SHOWN, ends=ends))

    def build(self) -> LayoutDOM:
        """Return the views, and the profiles beneath them."""
        self.views = Views()
        self.profiles = Profiles(self.views.depth, self._reference_name())
        for name, where in (
            ("longitudinal", self.profiles.longitudinal),
            ("lateral", self.profiles.lateral),
        ):
            self.comparison.watch(where, self.profiles.curves[name], "place", "percent")
        left = (self.views.top, self.views.side, self.profiles.longitudinal)
        right = (self.views.front, self.profiles.lateral)
        columns = column(*left, sizing_mode="stretch_width", min_width=300), column(*right)
        # One beneath the other where there is no room for both.
        wrapped = {"flex-wrap": "wrap"}
        return row(*columns, sizing_mode="stretch_width", max_width=MAX_WIDTH, styles=wrapped)

    def extras(self) -> dict[str, ipw.Button]:
        """Return the button that fires Geant4 at what is shown, and those of measured showers."""
        return {FIRE: self.geant4.button, **super().extras()}

    def read(self, path: Path) -> tuple[MeasuredShowers, CalorimeterParameters, str]:
        """Return a file's showers, and the parameters in their middle.

        Raises:
            ModelError: There is no flow.
            OSError: The file cannot be read.
            ValueError: It is damaged, of no known format, of other cells, or holds no showers for which
                the flow was trained.
        """
        found = measured_showers.read(path, self._flow or _load())
        names = ("energy_gev", "theta_deg") if found.knows_angles else ("energy_gev",)
        middle = {name: float(f"{found.known[name].median():.3g}") for name in names}
        return found, self.parameters.replace(**middle), found.in_words

    def stands(self) -> None:
        """Tell and draw nothing of a file that is gone."""
        if self.measured is None:
            self._tell_of("measured", "")
            with self._canvas.one_patch():
                self.profiles.show_measured(None)

    def calibrating(self, measured: MeasuredShowers) -> str:
        """Return the command that calibrates on the file, and asks and audits at these parameters.

        Raises:
            ValueError: The file has too few showers.
        """
        now, usual = self.parameters, BeamTimeParameters()
        more: dict[str, Any] = {"audited_gev": now.energy_gev}
        if self._flow and self._flow.address.partition("/")[0] not in ("", usual.model):
            more["model"] = self._flow.address
        if not measured.knows_angles:
            more["observed_theta_deg"] = now.theta_deg
        n = measured.known.sizes["shower"]
        if n < usual.n_measured + 2 * usual.n_watched:
            more |= {"n_measured": n // 2, "n_watched": n // 4}
            usual.replace(**more)
        return batch.run_line("calorimeter/5_twin", usual, observed_path=str(measured.path), **more)

    def compute(self, parameters: CalorimeterParameters) -> xr.Dataset:
        """Return one shower of the flow from three sides, with its profiles.

        Raises:
            ModelError: There is no flow.
            ValueError: The flow was not trained for these parameters.
        """
        flow, parameters = self._flow or _load(), parameters.replace(**_ONE)
        one = generate(flow, parameters.replace(n_showers=1), seed=self._seed, member=0).isel(shower=0)
        self._background.ask(lambda: _bands(flow, parameters, self._seed, self._client))
        deepest = parameters.replace(absorber_mm=flow.ranges["absorber_mm"][1]).depth_mm
        along = profiles(one)
        shown = {name: along[name].variable for name in (*along.data_vars, "radius")}
        return densities(projections(one)).assign(shown).assign_attrs(deepest_mm=deepest)

    def show(self, data: xr.Dataset) -> None:
        """Bring the figures to a new shower."""
        energy_gev, theta_deg = float(data["energy_gev"]), float(data["theta_deg"])
        absorber_mm = data.attrs["absorber_mm"]
        self.geant4.moved()
        self.views.show(data, theta_deg)
        self.profiles.show(data, hold=self.drags)
        self.views.depth.follow(0.0, data.attrs["deepest_mm"])
        self._show_reference(energy_gev, theta_deg, absorber_mm)
        self._show_measured(data)
        part = float(data["longitudinal"].sum())
        retitle(
            self.profiles.longitudinal,
            f"Along the path: {100 * part:.1f} % of {energy_gev:.3g} GeV seen",
        )
        told = ""
        if self._state is not None:
            state = self._state.checked()
            told = f"Twin: {state.health}, last synchronised {state.last_sync:%Y-%m-%d}."
        self._tell_of("state", told)

    def wait(self) -> None:
        """Wait until the flow's band belongs to the shower shown."""
        self._background.wait()

    def _found(self) -> ShowerFlow | None:
        try:
            self._flow = self._flow or _load()
        except ModelError:
            return None
        return self._flow

    def _show_band(self, result: Any) -> None:
        if isinstance(result, _Band):
            with self._canvas.one_patch():
                self.profiles.show_band("flow", bands(result.known))
                self._show_measured(result.known, result.known)
            p, n = result.parameters, result.known.sizes["shower"]
            of = f" of {N_BAND}" if n < N_BAND else ""
            where = f"{p.energy_gev:.3g} GeV, {p.theta_deg:.3g}°, {p.absorber_mm:.3g} mm"
            self._tell_of("band", f"Blue: {n}{of} showers of the flow at {where}.")
        else:
            self._tell_of("band", f"The flow's band is not drawn: {sentence(result)}")

    def _one(self) -> CalorimeterParameters:
        return self.parameters.replace(**_ONE)

    def _show_fired(self, result: xr.Dataset | Exception | None) -> None:
        """Show Geant4's own band here, in place of a reference's from nearby."""
        if isinstance(result, Exception):
            self._tell_of("reference", f"Geant4 is not fired: {sentence(result)}")
            return
        with self._canvas.one_patch():
            self.profiles.show_band("reference", None if result is None else bands(result))
        if result is None:
            self._tell_of("reference", "")
            return
        n, made_by = result.sizes["shower"], str(result.attrs["made_by"]).split(",")[0]
        self._tell_of("reference", f"Green: {n} of {N_SHOWERS} showers of {made_by} here.")

    def _show_reference(self, energy_gev: float, theta_deg: float, absorber_mm: float) -> None:
        if self._reference is None:
            return
        near = _near(self._reference, energy_gev, theta_deg, absorber_mm)
        n, name = near.sizes["shower"], self._reference_name()
        self.profiles.show_band("reference", bands(near) if n >= LEAST_NEAR else None)
        told = f"{n} showers of {name} within 20 %, 5° and 0.02 mm"
        few = "" if n >= LEAST_NEAR else f", too few for a band ({LEAST_NEAR})"
        self._tell_of("reference", f"Green: {told}{few}.")

    def _show_measured(self, shown: xr.Dataset, drawn: xr.Dataset | None = None) -> None:
        """Show the means of measured showers nearby, and tell how far those drawn at one point are.

        Absorbers of measured showers are not known.
        """
        if self.measured is None:
            return
        near = _near(self.measured.known, self.parameters.energy_gev, self.parameters.theta_deg)
        if few := near.sizes["shower"] < LEAST_NEAR:
            self.profiles.show_measured(None)
        else:
            self.profiles.show_measured(measured_showers.means(near), shown)
        told = f", too few for a mean ({LEAST_NEAR})." if few else "."
        if drawn is not None and not few:
            told = f". {measured_showers.distance_in_words(near, drawn)}"
        within = "20 % and 5°" if self.measured.knows_angles else "20 %"
        n, name = near.sizes["shower"], self.measured.path.name
        self._tell_of("measured", f"Points: {n} showers of {name} within {within}{told}")

    def _reference_name(self) -> str:
        known = self._reference
        return "Geant4" if known is None else str(known.attrs.get("made_by", "reference")).split(",")[0]

    def _tell_of(self, what: str, sentence: str) -> None:
        self._told[what] = sentence
        names = ("measured", "band", "reference", "state")
        lines = (self._told.get(name, "") for name in names)
        self._tell(" ".join(filter(None, lines)))


def _load() -> ShowerFlow:
    try:
        return load_flow()
    except ModelError as error:
        raise ModelError(f"{error}; {_NEXT}") from None


def _usual(flow: ShowerFlow | None) -> CalorimeterParameters:
    """Return what is shown at first: the usual particle, or the nearest that a flow was trained for."""
    if flow is None:
        return DEFAULT
    inside = {
        name: float(np.clip(getattr(DEFAULT, name), low, high))
        for name, (low, high) in flow.ranges.items()
    }
    return flow.parameters.replace(n_showers=DEFAULT.n_showers, **_ONE, **inside)


def _bands(
    flow: ShowerFlow, parameters: CalorimeterParameters, seed: int, client: Any
) -> Iterator[_Band | None]:
    """Yield the flow's band, of more showers each time."""
    asked = parameters.replace(n_showers=N_PART)
    calls = [partial(_drawn, flow, asked, seed + 1 + n) for n in range(N_BAND // N_PART)]
    drawn = farmed(client, calls) if client else (call() for call in calls)
    for known in growing(drawn, "shower"):
        yield None if known is None else _Band(parameters, known)


def _drawn(flow: ShowerFlow, parameters: CalorimeterParameters, seed: int) -> xr.Dataset:
    return profiles(generate(flow, parameters, seed=seed))


def _near(
    known: xr.Dataset, energy_gev: float, theta_deg: float, absorber_mm: float | None = None
) -> xr.Dataset:
    """Return those of known showers whose particle and absorber are like these, as far as is known."""
    away = {
        "energy": np.log(known["energy_gev"].values / energy_gev),
        "theta_deg": np.nan_to_num(known["theta_deg"].values - theta_deg),
    }
    if absorber_mm is not None:
        away["absorber_mm"] = np.asarray(known.attrs.get("absorber_mm", np.inf) - absorber_mm)
    near = np.logical_and.reduce(
        np.broadcast_arrays(*(np.abs(each) <= NEAR[name] for name, each in away.items()))
    )
    return known.isel(shower=near)
