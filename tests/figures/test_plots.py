"""Figures: they draw, their axes carry units, and averaging keeps what matters."""

import importlib.resources
from typing import Any

import holoviews as hv
import numpy as np
import pytest
import xarray as xr
from bokeh.model import Model
from bokeh.models import ColorBar, GlyphRenderer, Legend, LinearAxis, Title

from physics_twins.figures import extension, plots, verbs
from physics_twins.figures.downsample import block_mean, extremes, level
from physics_twins.pulsar.figures import search_plots
from physics_twins.pulsar.figures.search_plots import BOXCAR_LIMIT


@pytest.fixture
def observation() -> xr.Dataset:
    rng = np.random.default_rng(3)
    shape = (1000, 40)
    plane = ("time", "frequency"), rng.random(shape), {"units": "Jy"}
    planes = dict.fromkeys(search_plots.COMPONENTS, plane)
    return xr.Dataset(
        {
            "data": (("time", "frequency"), rng.integers(0, 200, shape), {"units": "counts"}),
            "pulse_time_s": ("pulse", [0.2, 0.6], {"units": "s"}),
            "pulse_snr_ideal": ("pulse", [12.0, 20.0], {"units": "1"}),
        }
        | planes,
        {
            "time": ("time", np.arange(1000) * 1e-3, {"units": "s"}),
            "frequency": ("frequency", np.linspace(1500, 1200, 40), {"units": "MHz"}),
        },
        {"dm_pc_cm3": 56.8},
    )


@pytest.fixture
def result() -> xr.Dataset:
    return xr.Dataset(
        {
            "time_s": ("candidate", [0.2, 0.5, 0.9], {"units": "s"}),
            "dm_pc_cm3": ("candidate", [56.7, 11.0, 80.0], {"units": "pc cm-3"}),
            "snr": ("candidate", [11.0, 30.0, 7.0], {"units": "1"}),
            "label": ("candidate", ["pulse", "nbrfi", "unheard-of"], {"units": "1"}),
        }
    )


@pytest.fixture
def evaluation() -> xr.Dataset:
    return xr.Dataset(
        {
            "pulse_snr_ideal": ("pulse", [12.0, 20.0, 8.0, 9.0]),
            "snr": ("pulse", [11.0, 19.0, np.nan, 6.0]),
            "complete": ("pulse", [True, True, True, False]),
        }
    )


def drawn(figure: object) -> Model:
    return hv.render(figure, backend="bokeh")


def axis_labels(model: Model) -> set[str]:
    return {axis.axis_label for axis in parts_of(model, LinearAxis)}


def titles(model: Model) -> str:
    return " ".join(title.text for title in parts_of(model, Title))


def legend_labels(model: Model) -> set[str]:
    return {item.label.value for legend in parts_of(model, Legend) for item in legend.items}


def parts_of(model: Model, kind: type[Model]) -> list[Any]:
    return [part for part in model.references() if isinstance(part, kind)]


def image_of(model: Model) -> np.ndarray:
    (renderer,) = parts_of(model, GlyphRenderer)
    return renderer.data_source.data["image"][0]


def test_an_image_names_axes_and_colours_with_their_units(observation):
    model = drawn(plots.image(observation))
    assert axis_labels(model) == {"Time (s)", "Frequency (MHz)"}
    assert parts_of(model, ColorBar)[0].title == "Data (counts)"


def test_an_image_averages_to_the_size_asked_for_and_says_so(observation):
    model = drawn(plots.image(observation, max_pixels=(100, 20)))
    assert image_of(model).shape == (20, 100)
    assert "pixels of 10 ms x 15.4 MHz" in titles(
        model
    )  # 2 of 40 channels over 300 MHz between centres


def test_a_narrow_image_tells_the_size_of_its_pixels_on_a_line_of_its_own(observation):
    assert "Data\npixels of" in titles(drawn(plots.image(observation, width=300)))


def test_an_image_puts_the_lowest_frequency_at_the_bottom(observation):
    ramp = xr.zeros_like(observation["data"]) + observation["frequency"]
    image = image_of(drawn(plots.image(observation.assign(data=ramp), max_pixels=(1000, 40))))
    assert image[0, 0] == pytest.approx(1200)
    assert image[-1, 0] == pytest.approx(1500)


def test_a_levelled_image_hides_the_bandpass(observation):
    sloped = observation.assign(data=observation["data"] + 1000.0 * np.arange(40))
    image = image_of(drawn(plots.image(sloped, levelled=True)))
    assert np.abs(np.median(image, axis=1)).max() < 1e-5


def test_a_constant_image_can_be_drawn(observation):
    constant = observation.assign(data=xr.zeros_like(observation["data"]))
    assert (image_of(drawn(plots.image(constant, levelled=True))) == 0).all()


def test_components_show_every_true_component(observation):
    model = drawn(search_plots.components(observation))
    assert all(title in titles(model) for title in search_plots.COMPONENTS.values())


def test_a_series_is_drawn_with_its_references(observation):
    profile = observation["data"].mean("frequency").assign_attrs(units="sigma", long_name="Signal")
    figure = plots.series(
        profile, references={"truth": profile * 0, "6.5 σ": 6.5}, marks=observation["pulse_time_s"]
    )
    model = drawn(figure)
    assert axis_labels(model) == {"Time (s)", "Signal (σ)"}
    assert legend_labels(model) == {"Signal", "truth", "6.5 σ", "Pulse time"}


def test_a_title_with_braces_is_shown_as_it_is(observation):
    assert "file {1}" in titles(drawn(plots.image(observation, title="file {1}")))


def test_candidates_are_told_apart_and_the_truth_is_beside_them(observation, result):
    model = drawn(search_plots.candidates(result, observation))
    assert legend_labels(model) == {"true pulse", "pulse", "narrow-band interference", "unheard-of"}
    assert axis_labels(model) == {"Time (s)", "DM (pc cm⁻³)", "S/N"}


def test_no_candidates_at_all_can_be_drawn(result):
    assert "none" in titles(drawn(search_plots.candidates(result.isel(candidate=[]))))


def test_recovered_pulses_stand_beside_ideal_and_boxcar_limit(evaluation):
    model = drawn(search_plots.recovered_against_ideal(evaluation))
    lines = [r.data_source.data for r in parts_of(model, GlyphRenderer) if len(r.data_source.data) == 2]
    slopes = {float(d["snr"][1] / d["ideal"][1]) for d in lines if d["ideal"][0] == 0}
    assert sorted(slopes) == pytest.approx([BOXCAR_LIMIT, 1.0])
    assert "2 of 3 pulses found" in titles(model)
    assert "missed" in legend_labels(model)


def test_an_evaluation_without_pulses_can_be_drawn(evaluation):
    assert "0 of 0" in titles(drawn(search_plots.recovered_against_ideal(evaluation.isel(pulse=[]))))


def test_the_block_mean_keeps_the_mean():
    array = xr.DataArray(np.random.default_rng(1).random((120, 60)), dims=("time", "frequency"))
    small = block_mean(array, (30, 20))
    assert small.shape == (30, 20)
    assert float(small.mean()) == pytest.approx(float(array.mean()), rel=1e-12)


def test_the_block_mean_never_exceeds_the_size():
    for n in (1, 7, 99, 100, 101, 199, 1001):
        assert block_mean(xr.DataArray(np.ones(n), dims="time"), (100,)).sizes["time"] <= 100


def test_extremes_keep_a_single_high_sample():
    array = xr.DataArray(np.zeros(100_000), {"time": np.arange(100_000)})
    array[31_415] = 5.0
    place, value = extremes(array, 4000)
    assert len(value) <= 4000
    assert place[value.argmax()] == 31_415
    assert (np.diff(place) >= 0).all()


def test_levelling_measures_rows_in_their_own_noise():
    rng = np.random.default_rng(2)
    rows = rng.standard_normal((4000, 3)) * [1.0, 50.0, 0.0] + [7.0, -3.0, 4.0]
    levelled = level(xr.DataArray(rows, dims=("time", "frequency")), "time")
    # The MAD of 4000 values scatters by 1.8 %: five of those.
    np.testing.assert_allclose(levelled.std("time"), [1, 1, 0], atol=0.09)


def test_the_delay_that_is_taken_out_of_panels_script_is_still_in_it():
    script = importlib.resources.files("panel") / "_templates" / "autoload_panel_js.js"
    assert extension._WAITS in script.read_text()


def test_curves_have_their_bands_and_limits():
    place = ("place", [0.0, 1.0, 2.0], {"units": "mm", "long_name": "Depth"})
    means = xr.DataArray(
        [[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]],
        {"who": ["ours", "limit"], "place": place},
        ("who", "place"),
        name="energy",
        attrs={"units": "MeV"},
    )
    figure = plots.curves(means, 0 * means + 0.1, limits={"most": 4.0})
    assert len(figure.traverse(lambda part: part, [hv.Spread])) == 2
    model = drawn(figure)
    assert axis_labels(model) == {"Depth (mm)", "Energy (MeV)"}
    assert legend_labels(model) == {"ours", "limit", "most"}


def test_a_table_has_a_column_for_each_and_the_unit_beside_the_number():
    told = xr.Dataset(
        {
            "value": (("who", "metric"), [[0.9312, np.nan], [1.0, np.nan]]),
            "error": (("who", "metric"), [[0.0123, np.nan], [np.nan, np.nan]]),
        },
        {
            "who": ["ours", "limit"],
            "title": ("metric", ["DM", "Number"]),
            "unit": ("metric", ["pc cm-3", "1"]),
        },
    )
    rows = verbs.table(told)
    assert list(rows.columns) == ["ours", "limit"]
    assert rows.loc["DM"].tolist() == [
        "0.931\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.012 pc cm⁻³",
        "1 pc cm⁻³",
    ]
    assert rows.loc["Number"].tolist() == ["", ""]


def test_a_figure_asks_no_other_host_for_styles():
    hv.extension("bokeh", inline=True, logo=False)
    shown, _ = hv.renderer("bokeh").components(hv.Curve([0.0, 1.0]) + hv.Curve([1.0, 0.0]))
    assert "Title" in str(shown)
    assert "cdn." not in str(shown)
