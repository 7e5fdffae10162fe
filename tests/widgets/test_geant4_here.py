"""Geant4 at the press of a button: what comes, what stops it, what goes with a move."""

import numpy as np
import pytest
from distributed import Client
from small_flows import untrained

from physics_twins.calorimeter.model import ShowerFlow, flow_of
from physics_twins.calorimeter.parameters import CALO_CHALLENGE_2, CalorimeterParameters
from physics_twins.calorimeter.projections import profiles
from physics_twins.calorimeter.simulate import simulate
from twin_panels.calorimeter import CalorimeterPanel
from twin_panels.geant4_here import FIRE, N_SHOWERS, STOP

pytest.importorskip("calzone", reason="Geant4 is missing: pip install 'physics-twins[geant4]'")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

TRAINED = CalorimeterParameters(
    **CALO_CHALLENGE_2, energy_gev=1.0, energy_max_gev=20.0, theta_max_deg=30.0
)
SEED = 3


@pytest.fixture(scope="module")
def client():
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=":0") as client:
        yield client


@pytest.fixture(scope="module")
def flow() -> ShowerFlow:
    return flow_of([untrained(1)], TRAINED, absorber_mm=(1.2, 1.6))


@pytest.fixture
def panel(flow: ShowerFlow, client: Client):
    panel = CalorimeterPanel(TRAINED.replace(energy_gev=1.0), flow=flow, client=client, seed=SEED)
    yield panel
    panel.geant4.stop()
    panel.geant4.wait()
    panel.wait()


def band(panel: CalorimeterPanel) -> np.ndarray:
    return np.asarray(panel.profiles.bands["longitudinal", "reference"].data["mean"])


def test_the_band_is_that_of_geant4_at_what_is_shown_until_the_panel_moves(panel):
    button = panel.buttons[FIRE]
    assert len(band(panel)) == 0
    button.click()
    assert button.description == STOP
    panel.geant4.wait()
    assert button.description == FIRE
    assert f"Green: {N_SHOWERS} of {N_SHOWERS} showers of Geant4" in panel.note
    asked = panel.parameters.replace(n_showers=N_SHOWERS, energy_max_gev=0.0, theta_max_deg=0.0)
    known = profiles(simulate(asked.replace(phi_max_deg=0.0), seed=SEED))
    expected = 100 * known["longitudinal"].mean("shower").values
    np.testing.assert_allclose(band(panel), expected, rtol=1e-5)

    sent = []
    panel._canvas.send = lambda content, buffers=None: sent.append(content)
    panel.controls["theta_deg"].value = 20.0
    assert len(sent) == 1
    assert len(band(panel)) == 0
    assert "Green" not in panel.note


@pytest.mark.parametrize("by", ["button", "move"])
def test_it_stops_when_pressed_again_and_when_the_panel_moves(panel, by):
    panel.controls["energy_gev"].value = 20.0
    button = panel.buttons[FIRE]
    button.click()
    if by == "button":
        button.click()
    else:
        panel.controls["energy_gev"].value = 19.0
    assert button.description == FIRE
    panel.geant4.wait()
    assert f"{N_SHOWERS} of {N_SHOWERS}" not in panel.note
    assert panel.error == ""


def test_what_is_missing_is_told_in_a_sentence(panel, monkeypatch):
    def missing(*_):
        raise ModuleNotFoundError("calzone, which holds Geant4, is missing: `pip install it`")

    monkeypatch.setattr("twin_panels.geant4_here.chunk", missing)
    panel.buttons[FIRE].click()
    panel.geant4.wait()
    assert panel.note.endswith(
        "Geant4 is not fired: calzone, which holds Geant4, is missing: `pip install it`."
    )
    assert panel.buttons[FIRE].description == FIRE
