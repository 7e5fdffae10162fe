"""Controls built from a parameter model: every kind of field, refusals, scales."""

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from physics_twins.calorimeter.parameters import CalorimeterParameters
from physics_twins.lattice import LatticeParameters
from physics_twins.parameters import Parameters, field
from physics_twins.pulsar.parameters import ObservationParameters, SearchParameters
from physics_twins.virgo import VirgoParameters
from twin_panels.controls import SHOWN, SLIDER_STEP, Controls
from twin_panels.scales import Scale, scale_of
from twin_panels.symbols import SYMBOLS


class Everything(Parameters):
    """One field of each kind."""

    dm_pc_cm3: float = field(56.77, ge=0, le=3000, unit="pc cm-3", help="Dispersion measure")
    flux_jy: float = field(0.4, ge=0, le=1e4, unit="Jy", logarithmic=True, help="Flux density")
    offset_s: float = field(0.0, unit="s", help="Offset, without limits")
    n_channels: int = field(256, ge=8, le=8192, help="Channels")
    quiet: bool = field(False, help="No interference")
    n_bits: Literal[1, 2, 8] = field(8, help="Bits")
    path: str = field("", help="A <file> & its name")
    limit_s: float | None = field(None, ge=0, unit="s", help="Limit, if any")


NUMBERS = [
    info
    for model in (Everything, ObservationParameters, SearchParameters)
    for info in model.describe().values()
    if info.kind in (int, float) and not info.choices and info.default is not None
]


@pytest.fixture
def controls() -> Controls[Everything]:
    return Controls(Everything())


def test_untouched_controls_stand_for_the_start():
    start = Everything(dm_pc_cm3=12.3456, n_bits=2, limit_s=5.0)
    controls = Controls(start)
    controls["quiet"].value = True
    assert controls.parameters == start.replace(quiet=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dm_pc_cm3", 475.5),
        ("flux_jy", 0.0),
        ("offset_s", -1e6),
        ("n_channels", 1024),
        ("quiet", True),
        ("n_bits", 2),
        ("path", "a file.fil"),
        ("limit_s", 3.5),
    ],
)
def test_a_value_set_in_a_control_is_in_the_parameters(controls, name, value):
    controls[name].value = value
    assert controls.parameters == Everything().replace(**{name: value})


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        (
            "dm_pc_cm3",
            -1.0,
            "dm_pc_cm3 = -1.0 pc cm-3 is outside its range: allowed is 0 to 3000 pc cm-3",
        ),
        ("n_channels", 7, "n_channels = 7 is outside its range"),
        ("limit_s", "soon", "limit_s = 'soon' s has the wrong type"),
    ],
)
def test_a_refused_value_is_told_and_the_last_valid_parameters_stay(controls, name, value, reason):
    controls["path"].value = "kept"
    controls[name].value = value
    assert controls.refusal.startswith(reason)
    assert controls.parameters == Everything(path="kept")
    controls[name].value = Everything.describe()[name].default
    assert controls.refusal == ""


def test_callbacks_hear_of_changes_once_and_of_refusals_never(controls):
    heard = []
    controls.observe(heard.append)
    controls["dm_pc_cm3"].value = 100.0
    controls["dm_pc_cm3"].value = -5.0
    controls["dm_pc_cm3"].value = 100.0
    assert heard == [Everything(dm_pc_cm3=100.0)]


def test_two_fields_that_contradict_each_other_are_refused_and_resolved():
    controls = Controls(ObservationParameters())
    controls["bandwidth_mhz"].value = 3000.0
    assert "reaches below 0 MHz" in controls.refusal
    controls["centre_frequency_mhz"].value = 3000.0
    assert controls.refusal == ""
    assert controls.parameters.bandwidth_mhz == 3000.0


def test_reset_goes_back_in_one_change(controls):
    controls["dm_pc_cm3"].value, controls["n_bits"].value = 100.0, 1
    heard = []
    controls.observe(heard.append)
    controls.reset()
    assert heard == [Everything()]


def test_a_moved_slider_changes_the_value_and_a_typed_value_moves_the_slider(controls):
    dm = controls["dm_pc_cm3"]
    dm.slider.value = 1.0
    assert controls.parameters.dm_pc_cm3 == 3000.0
    dm.entry.value = 0.0
    assert dm.slider.value == 0.0


@pytest.mark.parametrize("name", ["dm_pc_cm3", "flux_jy", "n_channels"])
def test_a_slider_rounded_by_the_browser_changes_nothing(controls, name):
    slider = controls[name].slider
    slider.value = round(slider.value / SLIDER_STEP) * SLIDER_STEP
    assert controls.parameters == Everything()


def test_whole_numbers_stay_whole_when_slid(controls):
    controls["n_channels"].slider.value = 0.4567
    assert type(controls.parameters.n_channels) is int


def test_at_most_six_controls_are_open_and_the_others_in_one_fold():
    *open_rows, _, fold = Controls(ObservationParameters()).widget.children
    described = ObservationParameters.describe()
    assert len(open_rows) == SHOWN
    folded = [w for w in fold.children[0].children[1].children if "twin-control" in w._dom_classes]
    assert len(folded) == len(described) - SHOWN
    assert fold.selected_index is None


def test_folded_controls_stand_under_what_their_model_is_about():
    *_, fold = Controls(ObservationParameters()).widget.children
    heading = fold.children[0].children[1].children[0].value
    assert 'role="heading"' in heading
    assert "The ionised gas between the pulsar and us<" in heading
    *_, fold = Controls(Everything()).widget.children  # one model alone needs no heading
    assert all("twin-control" in each._dom_classes for each in fold.children[0].children[1].children)


def test_only_the_named_parameters_get_a_control_and_the_others_stay_as_they_are():
    start = Everything(n_bits=2, offset_s=3.0)
    controls = Controls(start, names=("flux_jy", "quiet"))
    assert len(controls.widget.children) == 3  # two, and the line of refusals
    controls["quiet"].value = True
    assert controls.parameters == start.replace(quiet=True)
    controls.set(Everything(offset_s=5.0))
    assert controls.parameters == Everything(offset_s=5.0)


def test_a_slider_can_end_before_its_parameters_range_does():
    controls = Controls(Everything(), ends={"dm_pc_cm3": (50.0, 60.0)})
    dm = controls["dm_pc_cm3"]
    for position, value in ((0.0, 50.0), (0.5, 55.0), (1.0, 60.0)):
        dm.slider.value = position
        assert controls.parameters.dm_pc_cm3 == value
    dm.entry.value = 475.5
    assert controls.parameters.dm_pc_cm3 == 475.5
    assert dm.slider.value == 1.0


def test_name_and_range_are_in_the_tooltip_and_help_is_shown_as_text(controls):
    assert controls["dm_pc_cm3"].entry.tooltip == "Dispersion measure (dm_pc_cm3: 0 to 3000 pc cm-3)"
    label = controls["path"].widget.children[0].value
    assert "A &lt;file&gt; &amp; its name" in label


@pytest.mark.parametrize("info", NUMBERS, ids=lambda info: info.name)
def test_a_slider_reaches_its_ends_and_its_default_is_within_reach(info):
    scale = scale_of(info)
    assert scale.value(0.0) == scale.low
    assert scale.value(1.0) == scale.high
    assert scale.position(info.default) <= 0.6
    if info.default > scale.low:
        assert scale.position(info.default) >= 0.01


@pytest.mark.parametrize("info", NUMBERS, ids=lambda info: info.name)
@given(position=st.floats(0, 1))
def test_position_and_value_are_inverse_to_three_digits(info, position):
    scale = scale_of(info)
    value = scale.value(position)
    assert scale.low <= value <= scale.high
    assert scale.value(scale.position(value)) == pytest.approx(value, rel=0.011, abs=1e-12)


def test_far_out_equal_distances_are_equal_factors():
    scale = Scale(0.0, 1e6, knee=1.0)
    first, second, third = (scale.value(p) for p in (0.7, 0.8, 0.9))
    assert second / first == pytest.approx(third / second, rel=0.02)  # three digits


def found_by(controls: Controls[ObservationParameters], text: str) -> list[str]:
    search, grouped = controls.widget.children[-1].children[0].children
    search.value = text
    shown = grouped.children
    return [name for name in controls.about if controls[name].widget in shown]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("eccentr", ["orbit_eccentricity"]),
        ("p_b", ["orbit_period_h"]),
        ("bits per", ["n_bits"]),
        ("nothing of this kind", []),
    ],
)
def test_a_folded_parameter_is_found_by_word_symbol_or_name(text, names):
    controls = Controls(ObservationParameters())
    assert found_by(controls, text) == names
    assert len(found_by(controls, "")) > 30


def test_a_label_has_the_symbol_of_the_field_beside_the_words():
    widget: Any = Controls(ObservationParameters())["scattering_index"].widget
    label = widget.children[0].value
    assert "thin screen" in label
    assert f"<i>{SYMBOLS['scattering_index']}</i>" in label


def test_every_symbol_is_of_a_parameter_that_some_panel_has():
    models = (ObservationParameters, LatticeParameters, VirgoParameters, CalorimeterParameters)
    assert set(SYMBOLS) <= {name for model in models for name in model.describe()}
