import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pendulum import PendulumParameters

from physics_twins.parameters import Execution, ParameterError, Parameters, check, field


class ScanParameters(Parameters):
    """One of each kind of field."""

    dm_max_pc_cm3: float = field(
        100.0, ge=1, le=3000, unit="pc cm-3", help="Highest DM", logarithmic=True
    )
    window: Literal["hann", "boxcar"] = field("hann", help="Taper")
    threshold: float = field(6.0, ge=0, help="Lowest S/N", folded=True)


def test_a_value_outside_its_range_is_refused_with_name_value_unit_and_range():
    with pytest.raises(ParameterError) as refusal:
        check([ScanParameters], {"dm_max_pc_cm3": 5000.0})
    message = str(refusal.value)
    assert "\n" not in message
    for part in ("dm_max_pc_cm3", "5000", "pc cm-3", "1 to 3000"):
        assert part in message


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_a_number_that_is_not_finite_is_refused_where_there_is_a_range(number):
    with pytest.raises(ParameterError, match="threshold"):
        check([ScanParameters], {"threshold": number})


def test_an_unknown_name_suggests_the_nearest_one():
    with pytest.raises(ParameterError, match="did you mean 'threshold'"):
        check([ScanParameters], {"treshold": 7.0})


@pytest.mark.parametrize(
    "name", ["seed\nimport os", 'seed"', "seed'", "seed[0]", "seed = 1;", "", "é d"]
)
def test_a_name_that_is_no_declared_identifier_is_refused_in_one_line(name):
    with pytest.raises(ParameterError) as refusal:
        check([Execution], {name: 1})
    assert "\n" not in str(refusal.value)


@given(name=st.text())
def test_no_name_passes_that_is_not_declared(name):
    if name in Execution.model_fields:
        return
    with pytest.raises(ParameterError):
        check([Execution], {name: 1})


@given(
    length_m=st.floats(0.01, 100),
    n_swings=st.integers(1, 1000),
    damped=st.booleans(),
    label=st.text(st.characters(exclude_categories=["Cs"])),
)
def test_parameters_come_back_from_json_unchanged(length_m, n_swings, damped, label):
    before = PendulumParameters(length_m=length_m, n_swings=n_swings, damped=damped, label=label)
    assert PendulumParameters.from_json(before.to_json()) == before


@given(length_m=st.floats(0.01, 100))
def test_text_from_a_command_line_gives_the_same_number(length_m):
    assert check([PendulumParameters], {"length_m": repr(length_m)})["length_m"] == length_m


@pytest.mark.parametrize(
    ("text", "truth"), [("true", True), ("Yes", True), ("0", False), ("no", False)]
)
def test_text_becomes_a_truth_value(text, truth):
    assert check([PendulumParameters], {"damped": text})["damped"] is truth


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_swings", 2.5), ("n_swings", "two"), ("length_m", True), ("damped", 1), ("label", 3)],
)
def test_a_value_of_another_type_is_refused(name, value):
    with pytest.raises(ParameterError, match=name):
        check([PendulumParameters], {name: value})


def test_a_choice_that_is_not_offered_is_refused_with_the_offered_ones():
    with pytest.raises(ParameterError, match="'hann', 'boxcar'"):
        ScanParameters(window="square")


def test_a_parameter_cannot_be_changed_in_place():
    with pytest.raises(ValueError, match="frozen"):
        PendulumParameters().length_m = 3.0


def test_a_changed_copy_is_checked_too():
    with pytest.raises(ParameterError, match="length_m"):
        PendulumParameters().replace(length_m=-1.0)


def test_a_default_outside_its_range_is_refused():
    class Wrong(Parameters):
        energy_gev: float = field(-1.0, ge=0, unit="GeV", help="Energy")

    with pytest.raises(ParameterError, match="energy_gev"):
        Wrong()


def test_a_notebooks_other_variables_are_ignored():
    taken = PendulumParameters.take({"length_m": 4.0, "run": object(), "math": json})
    assert taken == PendulumParameters(length_m=4.0)


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(ParameterError, match="JSON"):
        PendulumParameters.from_json(text)


def test_a_dataset_attribute_is_never_a_truth_value():
    assert PendulumParameters(damped=True).to_attributes()["damped"] is not True
    assert PendulumParameters(damped=True).to_attributes()["damped"] == 1


def test_the_description_has_all_that_a_slider_needs():
    described = ScanParameters.describe()["dm_max_pc_cm3"]
    facts = (
        described.minimum,
        described.maximum,
        described.unit,
        described.logarithmic,
        described.kind,
    )
    assert facts == (1, 3000, "pc cm-3", True, float)
    assert ScanParameters.describe()["threshold"].folded
    assert ScanParameters.describe()["window"].choices == ("hann", "boxcar")
