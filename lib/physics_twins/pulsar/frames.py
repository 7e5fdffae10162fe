"""The empirical generator: one frame of time against frequency, painted and not simulated.

It offers what PulsarRFI_Gen does, frames of eight classes for a classifier of images, and states a
signal's strength as a signal-to-noise ratio. What a telescope really records comes from `simulate`.
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins.data import attributes
from physics_twins.pulsar.classifying.labels import CLASSES, COMPONENTS, components
from physics_twins.pulsar.frame_parameters import FrameParameters
from physics_twins.pulsar.physics.ism import SIGMA_PER_FWHM, dispersion_delay


def frame(parameters: FrameParameters, *, seed: int) -> xr.Dataset:
    """Return a frame with the truth behind it.

    Args:
        parameters: Class, sizes and strengths.
        seed: Seed of the noise.

    Returns:
        `data` (time, frequency), stretched to 0 to 255 where `values` is uint8; `pulse`, `nbrfi`,
        `bbrfi` and `noise` (time, frequency) as they are added, zero where the class has none; `label`
        and `pulse_snr`, that of the whole sweep, with what lies outside the frame. The highest
        frequency comes first.
    """
    rng = np.random.default_rng(seed)
    held = dict(zip(COMPONENTS, components(parameters.label), strict=True))
    painters = {"pulse": _pulse, "nbrfi": _narrowband, "bbrfi": _broadband}
    shape = (parameters.n_time, parameters.n_channels)
    parts = {
        name: painters[name](parameters) if there else np.zeros(shape, np.float32)
        for name, there in held.items()
    }
    noise = _noise(parameters, rng)
    data = sum(parts.values(), noise)
    if parameters.mixing == "images":
        data = _added_images(parameters, [parts[name] for name in COMPONENTS if held[name]], noise, rng)
    if parameters.values == "uint8":
        data = to_uint8(data)
    return _dataset(parameters, seed, data, parts | {"noise": noise})


def to_uint8(data: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Stretch each frame over 0 to 255, shape (..., time, frequency).

    >>> to_uint8(np.array([[-1.0, 0.0], [1.0, 3.0]], dtype=np.float32))
    array([[  0,  64],
           [128, 255]], dtype=uint8)
    """
    low = data.min(axis=(-2, -1), keepdims=True)
    span = data.max(axis=(-2, -1), keepdims=True) - low
    return np.rint((data - low) * (255 / np.where(span > 0, span, 1))).astype(np.uint8)


def shrunk(data: NDArray[np.float32], shrink: int) -> NDArray[np.float32]:
    """Return frames with so many samples along time and frequency averaged into one.

    >>> shrunk(np.array([[1.0, 3.0], [5.0, 7.0]], dtype=np.float32), 2)
    array([[4.]], dtype=float32)
    """
    if shrink == 1:
        return data
    n_time, n_channels = (n // shrink for n in data.shape[-2:])
    cut = data[..., : n_time * shrink, : n_channels * shrink]
    parts = cut.reshape(*data.shape[:-2], n_time, shrink, n_channels, shrink)
    return parts.mean(axis=(-3, -1))


def frame_frequencies(parameters: FrameParameters) -> NDArray[np.float64]:
    """Return the channel centres in MHz, the highest first, shape (frequency,)."""
    width_mhz = (parameters.f_hi_mhz - parameters.f_lo_mhz) / parameters.n_channels
    return parameters.f_hi_mhz - width_mhz * (np.arange(parameters.n_channels, dtype=np.float64) + 0.5)


def pulse_amplitude(parameters: FrameParameters) -> float:
    """Return the pulse's height in a channel: as stated, or what gives the whole sweep its S/N.

    The S/N of a filter matched to it is the root of the summed squares over the noise; a Gaussian's
    squares sum to sigma times the root of pi, in samples.
    """
    if not parameters.pulse_snr:
        return parameters.pulse_amplitude
    sum_of_squares = parameters.n_channels * _sum_of_squares(_sigma_samples(parameters))
    return parameters.pulse_snr * parameters.noise_amplitude / float(np.sqrt(sum_of_squares))


def frame_set(
    n_frames: int,
    *,
    seed: int,
    snr: tuple[float, float] = (6.0, 60.0),
    frame: FrameParameters | None = None,
    shrink: int = 1,
) -> xr.Dataset:
    """Return frames of all classes for training a classifier of images.

    Classes come in turn. S/N (log-uniform), DM (40 to 72), width (0.3 to 3 ms), positions and sizes are
    random; the S/N holds for every component, the pulse's for its whole sweep, of which a frame
    may show only a part: it enters so that some of it crosses the frame.

    Args:
        n_frames: How many.
        seed: Seed of everything random.
        snr: Lowest and highest S/N of a component.
        frame: Sizes of frame and band; 256 x 256 at Effelsberg by default.
        shrink: How many samples along time and frequency are averaged into one.

    Returns:
        `data` (frame, time, frequency), uint8, and `label` (frame), numbers of `CLASSES`.
    """
    frame = frame or FrameParameters()
    rng = np.random.default_rng(seed)
    size = (n_frames, frame.n_time // shrink, frame.n_channels // shrink)
    data = np.empty(size, np.uint8)
    label = np.arange(n_frames) % len(CLASSES)
    for n in range(n_frames):
        parameters = random_frame(frame, CLASSES[label[n]], snr, rng)
        held = components(parameters.label)
        painted = _noise(parameters, rng)
        for there, paint in zip(held, (_pulse, _narrowband, _broadband), strict=True):
            painted = painted + paint(parameters) if there else painted
        data[n] = to_uint8(shrunk(painted, shrink))
    return xr.Dataset(
        {
            "data": (("frame", "time", "frequency"), data, {"units": "counts"}),
            "label": ("frame", label, {"units": "1", "flag_meanings": " ".join(CLASSES)}),
        },
        attrs=attributes(frame, seed=seed, title="Frames of eight classes"),
    )


def random_frame(
    frame: FrameParameters, label: str, snr: tuple[float, float], rng: np.random.Generator
) -> FrameParameters:
    """Return a frame of a class with random sizes, positions and strengths, as in `frame_set`."""
    dm_pc_cm3 = rng.uniform(40, 72)
    frequency_mhz = frame_frequencies(frame)
    sweep_s = dispersion_delay(frequency_mhz[-1], dm_pc_cm3, reference_mhz=frequency_mhz[0])
    sweep = float(sweep_s) / (frame.n_time * frame.sampling_time_us * 1e-6)
    nbrfi_size, bbrfi_size = rng.uniform(0.004, 0.08, 2)
    strengths = np.exp(rng.uniform(np.log(snr[0]), np.log(snr[1]), 3)) * frame.noise_amplitude
    return frame.replace(
        label=label,
        dm_pc_cm3=dm_pc_cm3,
        pulse_width_ms=float(np.exp(rng.uniform(np.log(0.3), np.log(3)))),
        pulse_position=float(rng.uniform(-0.9 * sweep, 0.95)),
        pulse_snr=float(strengths[0]) / frame.noise_amplitude,
        nbrfi_size=float(nbrfi_size),
        nbrfi_position=float(rng.uniform(0.02, 0.98)),
        nbrfi_amplitude=float(strengths[1] / np.sqrt(_area(frame, nbrfi_size, frame.n_channels))),
        bbrfi_size=float(bbrfi_size),
        bbrfi_position=float(rng.uniform(0.02, 0.98)),
        bbrfi_amplitude=float(strengths[2] / np.sqrt(_area(frame, bbrfi_size, frame.n_time))),
    )


def _area(frame: FrameParameters, size: float, n_across: int) -> float:
    """Return the summed squares of interference of unit height."""
    other = frame.n_time * frame.n_channels / n_across
    if frame.rfi_shape == "box":
        return max(1.0, size * n_across) * other
    return _sum_of_squares(size * n_across * SIGMA_PER_FWHM) * other


def _sum_of_squares(sigma_samples: float) -> float:
    """Return the sum of squares of a sampled Gaussian of unit height."""
    return float(np.sqrt(np.pi) * max(sigma_samples, 0.3))


def _sigma_samples(parameters: FrameParameters) -> float:
    return parameters.pulse_width_ms * SIGMA_PER_FWHM * 1e3 / parameters.sampling_time_us


def _pulse(parameters: FrameParameters) -> NDArray[np.float32]:
    """Return a dispersed Gaussian pulse of the same height in all channels, (time, frequency)."""
    frequency_mhz = frame_frequencies(parameters)
    delay_s = dispersion_delay(
        frequency_mhz, parameters.dm_pc_cm3, reference_mhz=float(frequency_mhz[0])
    )
    arrival = (
        parameters.pulse_position * parameters.n_time + delay_s * 1e6 / parameters.sampling_time_us
    )
    time = np.arange(parameters.n_time)[:, None]
    # Narrower than 0.3 samples, a Gaussian would fall between two samples.
    x = (time - arrival) / max(_sigma_samples(parameters), 0.3)
    return (pulse_amplitude(parameters) * np.exp(-0.5 * x**2)).astype(np.float32)


def _narrowband(parameters: FrameParameters) -> NDArray[np.float32]:
    """Return interference that fills a few channels all the time."""
    profile = _profile(
        parameters.n_channels, parameters.nbrfi_position, parameters.nbrfi_size, parameters.rfi_shape
    )
    row = parameters.nbrfi_amplitude * profile
    return np.tile(row.astype(np.float32), (parameters.n_time, 1))


def _broadband(parameters: FrameParameters) -> NDArray[np.float32]:
    """Return interference that fills all channels for a while."""
    profile = _profile(
        parameters.n_time, parameters.bbrfi_position, parameters.bbrfi_size, parameters.rfi_shape
    )
    column = parameters.bbrfi_amplitude * profile
    return np.tile(column.astype(np.float32)[:, None], (1, parameters.n_channels))


def _profile(n: int, position: float, size: float, shape: str) -> NDArray[np.float64]:
    """Return a bump of unit height over `n` samples; at least one sample belongs to it."""
    x = np.arange(n) - position * (n - 1)
    if shape == "box":
        return (np.abs(x) <= max(0.5, size * n / 2)).astype(float)
    return np.exp(-0.5 * (x / max(0.3, size * n * SIGMA_PER_FWHM)) ** 2)


def _noise(parameters: FrameParameters, rng: np.random.Generator) -> NDArray[np.float32]:
    shape = (parameters.n_time, parameters.n_channels)
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(parameters.noise_amplitude)


def _added_images(
    parameters: FrameParameters,
    signals: list[NDArray[np.float32]],
    noise: NDArray[np.float32],
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Return what PulsarRFI_Gen mixes: noisy images of each component, as bytes, added and rescaled."""
    if not signals:
        return to_uint8(noise).astype(np.float32)
    noises = [noise] + [_noise(parameters, rng) for _ in signals[1:]]
    images = [to_uint8(s + n).astype(np.float32) for s, n in zip(signals, noises, strict=True)]
    total = np.sum(images, axis=0)
    return np.rint(total * (255 / total.max())).astype(np.float32)


def _dataset(
    parameters: FrameParameters,
    seed: int,
    data: NDArray[np.float32] | NDArray[np.uint8],
    parts: dict[str, NDArray[np.float32]],
) -> xr.Dataset:
    plane, pulse = ("time", "frequency"), "pulse" in parameters.label
    snr = pulse_amplitude(parameters) if pulse else 0.0
    if snr and parameters.noise_amplitude:
        squares = parameters.n_channels * _sum_of_squares(_sigma_samples(parameters))
        snr *= float(np.sqrt(squares)) / parameters.noise_amplitude
    units = "counts" if parameters.values == "uint8" or parameters.mixing == "images" else "1"
    time_s = np.arange(parameters.n_time) * parameters.sampling_time_us * 1e-6
    return xr.Dataset(
        {"data": (plane, data, {"units": units})}
        | {name: (plane, part, {"units": "1"}) for name, part in parts.items()}
        | {
            "label": ((), parameters.label, {"units": "1"}),
            "pulse_snr": ((), snr, {"units": "1"}),
        },
        coords={
            "time": ("time", time_s, {"units": "s"}),
            "frequency": ("frequency", frame_frequencies(parameters), {"units": "MHz"}),
        },
        attrs=attributes(parameters, seed=seed, title="A painted frame"),
    )
