"""A telescope's file behind the pulsar's sliders: fitted by hand, handed on to the calibration."""

from html import unescape

import numpy as np
import pytest

from physics_twins import pulsar
from twin_panels.measuring import CALIBRATE
from twin_panels.pulsar import PulsarPanel

QUIET = dict.fromkeys(("carrier_rate_hz", "impulse_rate_hz"), 0.0)
TRUTH = pulsar.ObservationParameters(
    dm_pc_cm3=40.0, fluence_jy_ms=3.0, width_ms=2.0, n_channels=512, n_bits=8, **QUIET
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory):
    """A file of one second with one bright pulse, with channels and spectra to be averaged."""
    made = pulsar.simulate_pulse(TRUTH, seed=2, max_spectra=4000, max_channels=512)
    where = tmp_path_factory.mktemp("recorded") / "one pulse.fil"
    pulsar.write_dataset(made, where)
    return where


@pytest.fixture
def panel(path) -> PulsarPanel:
    shown = PulsarPanel(TRUTH.replace(dm_pc_cm3=45.0, n_channels=64, centre_frequency_mhz=1400.0))
    shown.handover.path.value = str(path)
    shown.handover.buttons["Load"].click()
    return shown


def residual(panel: PulsarPanel) -> float:
    return float(np.max(np.abs(panel.curves.data["residual"])))


def test_the_sliders_are_fitted_to_it_by_hand(panel):
    assert panel.error == ""
    assert "The strongest pulse at DM 45" in panel.handover.shown.value
    assert panel.note.startswith("Recorded: one pulse.fil")
    assert panel.parameters.centre_frequency_mhz == pytest.approx(TRUTH.centre_frequency_mhz)
    assert panel.parameters.bandwidth_mhz == pytest.approx(TRUTH.bandwidth_mhz)
    off = residual(panel)
    panel.controls["dm_pc_cm3"].value = 40.0
    panel.handover.buttons["Load"].click()  # the arrival follows the better DM
    # Of some 400 values of noise the largest is three to four; a DM of 5 too many smears the pulse.
    assert residual(panel) < 0.5 * off
    found, twins = (np.max(panel.curves.data[name]) for name in ("signal", "truth"))
    assert found == pytest.approx(twins, rel=0.15)
    assert [each.label["value"] for each in panel.profile.legend[0].items][1] == "twin's pulse"


def test_it_is_handed_on_and_let_go(panel, path):
    assert not panel.buttons[CALIBRATE].disabled
    panel.buttons[CALIBRATE].click()
    assert panel.handover.here.line.split("run ", 1)[1].startswith("pulsar/5_twin -p dm_pc_cm3=45.0")
    assert f"-p 'observed_path={path}'" in panel.handover.here.line
    panel.buttons[PulsarPanel.without].click()
    assert panel.measured is None
    assert panel.buttons[CALIBRATE].disabled
    assert panel.note.startswith("The pulse at DM 45 ")


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"no telescope", "begin none of SIGPROC"), (b"", "begin none of"), (None, "No such file")],
)
def test_a_wrong_file_is_refused_in_a_sentence_and_the_frame_stays(panel, tmp_path, content, told):
    wrong = tmp_path / "wrong.fil"
    if content is not None:
        wrong.write_bytes(content)
    before = panel.measured
    panel.handover.path.value = str(wrong)
    panel.handover.buttons["Load"].click()
    assert "Not loaded: " in panel.handover.shown.value
    assert told in unescape(panel.handover.shown.value)
    assert panel.measured is before
