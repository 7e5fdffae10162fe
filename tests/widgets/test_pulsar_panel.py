"""The pulsar's panel without a browser: figures follow, errors are told, a batch run is handed over."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from physics_twins.cli.__main__ import app
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.simulate import simulate_pulse
from twin_panels.pulsar import MAX_SPECTRA, PulsarPanel


@pytest.fixture
def panel() -> PulsarPanel:
    return PulsarPanel()


def drawn_image(panel: PulsarPanel) -> np.ndarray:
    return panel.image.source.data["image"][0]


def test_the_first_frame_is_there_at_once(panel):
    assert panel.error == ""
    assert drawn_image(panel).shape == (256, MAX_SPECTRA)
    assert drawn_image(panel).dtype == np.uint8


def test_moving_the_dispersion_measure_changes_all_figures(panel):
    before = drawn_image(panel), panel.curves.data["signal"], panel.track.data["late"]
    panel.controls["dm_pc_cm3"].value = 75.0
    after = drawn_image(panel), panel.curves.data["signal"], panel.track.data["late"]
    assert not any(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert "75 pc cm⁻³" in panel.profile.title.text


def test_the_image_shows_the_pulse_along_the_track_it_draws():
    quiet = ObservationParameters(carrier_rate_hz=0.0, impulse_rate_hz=0.0, fluence_jy_ms=20.0)
    panel = PulsarPanel(quiet)
    image, place = drawn_image(panel), panel.image.source.data
    for row in (0, 128, 255):  # the lowest frequency is the lowest row, the track's last value
        column_ms = place["x"][0] + (image[row].argmax() + 0.5) * place["dw"][0] / image.shape[1]
        channel = len(image) - 1 - row
        assert panel.track.data["early"][channel] < column_ms < panel.track.data["late"][channel]


def test_the_residual_is_noise_alone():
    quiet = ObservationParameters(carrier_rate_hz=0.0, impulse_rate_hz=0.0, fluence_jy_ms=2.0)
    residual = PulsarPanel(quiet).curves.data["residual"]
    # The standard deviation of 420 values scatters by 3.5 %: five of those.
    assert np.std(residual) == pytest.approx(1.0, abs=0.18)


def test_the_title_tells_the_ideal_snr(panel):
    snr = float(simulate_pulse(panel.parameters, seed=1, max_spectra=MAX_SPECTRA)["pulse_snr_ideal"][0])
    assert f"ideal S/N {snr:.3g}" in panel.profile.title.text


def test_a_refused_value_leaves_the_frame_and_is_told(panel):
    before = drawn_image(panel)
    panel.controls["width_ms"].value = 0.0
    assert "width_ms = 0.0 ms is outside its range" in panel.controls.refusal
    assert drawn_image(panel) is before


def test_what_cannot_be_computed_leaves_the_frame_and_is_told_in_a_sentence(panel):
    before = drawn_image(panel)
    panel.controls["bandwidth_mhz"].value = 60.0
    panel.controls["dm_pc_cm3"].value = 3000.0
    frame = drawn_image(panel)
    assert frame is not before
    panel.controls["centre_frequency_mhz"].value = 50.0  # a sweep of hours
    assert panel.error != ""
    assert drawn_image(panel) is frame
    panel.controls["centre_frequency_mhz"].value = 1400.0
    assert panel.error == ""


def test_axes_carry_units(panel):
    labels = [f.xaxis.axis_label for f in (panel.waterfall, panel.residual)]
    labels += [f.yaxis.axis_label for f in (panel.waterfall, panel.profile, panel.residual)]
    units = ("(ms)", "(ms)", "(MHz)", "(σ of the noise)", "(σ)")
    assert [label.endswith(unit) for label, unit in zip(labels, units, strict=True)] == [True] * 5


def test_axes_stay_while_a_parameter_changes_a_little(panel):
    before = panel.waterfall.x_range.end, panel.profile.x_range.end
    panel.controls["dm_pc_cm3"].value = 60.0
    panel.controls["width_ms"].value = 0.9
    assert (panel.waterfall.x_range.end, panel.profile.x_range.end) == before


def test_a_readers_zoom_is_kept_and_reset_gives_it_back(panel):
    time = panel.waterfall.x_range
    time.update(start=10.0, end=20.0)  # what a drag in the browser sends
    panel.controls["dm_pc_cm3"].value = 300.0
    assert (time.start, time.end) == (10.0, 20.0)
    time.update(start=time.reset_start, end=time.reset_end)  # what the reset tool sends
    panel.controls["dm_pc_cm3"].value = 56.77
    assert time.end < 100.0


def test_a_bright_pulse_does_not_pass_for_noise(panel):
    """The profile is in the noise's own standard deviations, so that the truth can stand beside it."""
    data = panel.compute(ObservationParameters(fluence_jy_ms=9.0, n_bits=32))
    truth = data["true_profile"].values
    bright = truth > 0.3 * truth.max()
    seen = (data["profile"].values * truth)[bright].sum() / (truth**2)[bright].sum()
    assert seen == pytest.approx(1, abs=0.03)


def test_one_frame_is_sent_as_one_patch(panel):
    sent = []
    panel._canvas.send = lambda content, buffers=None: sent.append(content)
    panel.controls["dm_pc_cm3"].value = 75.0
    assert len(sent) == 1


def test_a_batch_run_gets_the_same_parameters(panel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    panel.controls["dm_pc_cm3"].value = 475.5
    panel.controls["n_bits"].value = 2
    command = shlex.split(panel.run_as_batch())
    assert command[1:4] == ["run", "pulsar/1_simulate", "--parameters"]
    written = Path(command[4])
    assert written.parent == tmp_path / "parameters"
    assert ObservationParameters.from_json(written.read_text()) == panel.parameters


def test_the_command_shown_runs_the_notebook_with_these_parameters(panel, tmp_path, monkeypatch):
    asked = []

    def run(notebook, values, **_options):
        asked.append((notebook.name, values))
        raise ValueError("enough")

    monkeypatch.setattr("physics_twins.runs.run", run)
    panel.controls["dm_pc_cm3"].value = 475.5
    command = shlex.split(panel.run_as_batch(tmp_path / "my run.json"))
    CliRunner().invoke(app, command[1:])
    assert asked == [("pulsar/1_simulate", panel.parameters.to_papermill())]


def test_a_parameter_file_is_never_overwritten(panel, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"mine\.json exists already"):
        panel.run_as_batch(path)
    assert path.read_text() == "precious"


def test_the_batch_button_shows_the_command_or_why_not(panel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = panel.buttons["Run as batch"]
    run.click()
    (written,) = (tmp_path / "parameters").iterdir()
    assert f"/twins run pulsar/1_simulate --parameters {written}</pre>" in panel.handed_over
    panel.handover.path.value = str(written)
    run.click()
    assert "exists already" in panel.handed_over


def test_the_code_shown_makes_the_same_pulse(panel):
    panel.controls["dm_pc_cm3"].value = 10.0
    names: dict = {}
    exec(panel.as_code(), names)
    assert names["parameters"] == panel.parameters
    assert np.array_equal(names["pulse"]["data"], panel.compute(panel.parameters)["data"])


def test_reset_brings_the_first_frame_back(panel):
    before = drawn_image(panel).copy()
    panel.controls["dm_pc_cm3"].value = 10.0
    panel.buttons["Reset"].click()
    assert np.array_equal(drawn_image(panel), before)


def test_undo_and_redo_bring_frames_back(panel):
    before = drawn_image(panel).copy()
    assert panel.buttons["Undo"].disabled
    panel.controls["dm_pc_cm3"].value = 10.0
    moved = drawn_image(panel).copy()
    panel.buttons["Undo"].click()
    assert np.array_equal(drawn_image(panel), before)
    assert panel.buttons["Undo"].disabled
    panel.buttons["Redo"].click()
    assert np.array_equal(drawn_image(panel), moved)
    assert panel.buttons["Redo"].disabled


def test_reset_can_be_undone(panel):
    panel.controls["dm_pc_cm3"].value = 10.0
    panel.buttons["Reset"].click()
    panel.buttons["Undo"].click()
    assert panel.parameters.dm_pc_cm3 == 10.0


def test_a_loaded_file_is_one_step_and_is_drawn(panel, tmp_path):
    wanted = ObservationParameters(dm_pc_cm3=75.0, width_ms=2.0)
    path = tmp_path / "mine.json"
    path.write_text(wanted.to_json())
    panel.handover.load(path)
    assert panel.parameters == wanted
    assert "75 pc cm⁻³" in panel.profile.title.text
    panel.buttons["Undo"].click()
    assert panel.parameters == ObservationParameters()


def test_the_classifiers_label_follows_in_the_background(panel):
    panel.wait()
    assert panel.note.startswith("Label of the pulse's frame at DM 56.77: ")
    assert "ideal 20" in panel.note
    panel.controls["fluence_jy_ms"].value = 1.0
    panel.wait()
    assert "ideal 51" in panel.note


def test_what_the_classifier_was_not_trained_for_is_told_and_the_frame_is_drawn(panel):
    panel.controls["dm_pc_cm3"].value = 300.0
    panel.wait()
    assert panel.note.startswith("Not labelled: dm_pc_cm3 = 300 pc cm-3 is outside 40 to 72 pc cm-3")
    assert "300 pc cm⁻³" in panel.profile.title.text


def test_the_note_never_speaks_of_another_pulse_than_the_one_drawn(panel):
    panel.controls["dm_pc_cm3"].value = 108.0
    panel.wait()
    assert "dm_pc_cm3 = 108 " in panel.note
    panel.controls["dm_pc_cm3"].value = 475.5
    assert "475.5" in panel.profile.title.text
    assert panel.note == "The pulse at DM 475.5 is being labelled."
    panel.wait()
    assert "dm_pc_cm3 = 475.5 " in panel.note


def test_without_a_classifier_a_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("PHYSICS_TWINS_MODELS", str(tmp_path / "none"))
    monkeypatch.setattr("physics_twins.data.homes", list)
    panel = PulsarPanel()
    panel.wait()
    assert "no model 'pulsar-classifier'" in panel.note
    assert "pulsar/2_train" in panel.note
    assert "twins models import" in panel.note
    assert panel.error == ""


def test_a_page_that_is_loaded_anew_gets_the_frame_of_now(panel):
    panel.controls["dm_pc_cm3"].value = 75.0
    assert "Dedispersed at 75 pc" in str(panel._canvas.get_state()["_whole"])


def test_a_page_without_a_kernel_gets_the_figure_and_its_parameters(panel, monkeypatch):
    panel.controls["dm_pc_cm3"].value = 61.25
    displayed = []
    monkeypatch.setattr("twin_panels.panel.display", lambda data, raw: displayed.append(data))
    panel._ipython_display_()
    shown, live = displayed
    assert "application/vnd.jupyter.widget-view+json" in live
    assert re.search(r"<tr><td>Dispersion measure</td><td>61.25 pc cm⁻³</td></tr>", shown["text/html"])
    assert panel._canvas._whole in shown["text/html"].replace(r"<\/", "</")
