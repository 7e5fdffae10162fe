"""The empirical generator of frames."""

import numpy as np
import pytest

from physics_twins.parameters import ParameterError
from physics_twins.pulsar.classifying.labels import CLASSES, COMPONENTS, components, label_of
from physics_twins.pulsar.frame_parameters import FrameParameters
from physics_twins.pulsar.frames import frame, frame_frequencies, frame_set, to_uint8
from physics_twins.pulsar.physics.ism import dispersion_delay

NARROW = FrameParameters(dm_pc_cm3=5.0, pulse_snr=20.0)  # its sweep fits into the frame


def test_every_class_is_found_again_from_its_components():
    assert [label_of(*components(name)) for name in CLASSES] == list(CLASSES)


@pytest.mark.parametrize("label", CLASSES)
def test_a_frame_holds_the_components_of_its_class_and_no_others(label):
    painted = frame(NARROW.replace(label=label), seed=1)
    assert [bool(painted[name].any()) for name in COMPONENTS] == list(components(label))
    total = sum(painted[name] for name in (*COMPONENTS, "noise"))
    np.testing.assert_allclose(painted["data"], total, atol=1e-5)


def test_the_whole_sweep_has_the_stated_snr():
    painted = frame(NARROW, seed=1)
    assert float(np.sqrt((painted["pulse"] ** 2).sum())) == pytest.approx(20, rel=0.01)
    assert float(painted["pulse_snr"]) == pytest.approx(20, rel=1e-6)


def test_a_pulse_is_late_by_the_dispersion_law():
    painted = frame(NARROW, seed=1)
    frequency_mhz = frame_frequencies(NARROW)
    arrival_s = painted["time"].values[painted["pulse"].values.argmax(axis=0)]
    delay_s = dispersion_delay(frequency_mhz, 5.0, reference_mhz=frequency_mhz[0])
    # Half a sample of rounding at either end.
    np.testing.assert_allclose(arrival_s - arrival_s[0], delay_s, atol=102.4e-6)


def test_a_frame_of_bytes_reaches_from_0_to_255():
    for mixing in ("signals", "images"):
        painted = frame(NARROW.replace(label="pulse+nbrfi", values="uint8", mixing=mixing), seed=1)
        assert painted["data"].dtype == np.uint8
        assert (int(painted["data"].min()), int(painted["data"].max())) == (0, 255)


def test_other_sizes_and_bands_are_drawn():
    small = FrameParameters(n_time=64, n_channels=32, f_hi_mhz=800.0, f_lo_mhz=700.0)
    painted = frame(small, seed=1)
    assert painted["data"].shape == (64, 32)
    assert painted["frequency"].values[0] > painted["frequency"].values[-1] > 700


def test_a_band_upside_down_is_refused():
    with pytest.raises(ParameterError, match="f_lo_mhz = 1600 MHz must be below f_hi_mhz = 1530 MHz"):
        FrameParameters(f_lo_mhz=1600.0)


def test_a_constant_frame_is_stretched_without_dividing_by_zero():
    assert not to_uint8(np.ones((4, 4), np.float32)).any()


def test_a_set_holds_every_class_equally_often_and_depends_on_its_seed():
    first, again, other = (frame_set(16, seed=seed, shrink=4) for seed in (1, 1, 2))
    assert (np.bincount(first["label"]) == 2).all()
    assert first["data"].shape == (16, 64, 64)
    assert first.equals(again)
    assert not first.equals(other)
