"""Simulate an observation: dispersed pulses in noise and interference, every component kept."""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from physics_twins import datasets
from physics_twins.pulsar.digitiser import digitise
from physics_twins.pulsar.interference import broadband, narrowband
from physics_twins.pulsar.ism import (
    channel_smearing,
    dispersion_delay,
    pulse_cumulative,
    scattering_time,
)
from physics_twins.pulsar.parameters import ObservationParameters
from physics_twins.pulsar.receiver import bandpass, noise_sigma_jy, radiometer_noise
from physics_twins.units import round_up

PREVIEW_EVENTS = 2.0  # of each kind of interference, on average, in the window of a preview


def simulate(parameters: ObservationParameters, *, seed: int) -> xr.Dataset:
    """Return an observation and the truth behind it.

    A pulse's arrival time is that of its Gaussian at the centre of the highest channel. Its ideal S/N
    is what a filter matched to it in time and frequency would find on average in white noise without
    interference.

    Args:
        parameters: The pulsar, the telescope and the interference.
        seed: Two calls with one seed give the same observation.

    Returns:
        `data` (time, frequency) in counts; `pulses`, `noise`, `narrowband`, `broadband`
        (time, frequency) in Jy; `bandpass` (frequency); and for each pulse `pulse_time_s`,
        `pulse_fluence_jy_ms` and `pulse_snr_ideal` (pulse). The highest frequency comes first.
    """
    rng_pulsar, rng = np.random.default_rng(seed).spawn(2)
    pulse_time_s, fluence_jy_ms = _pulse_train(parameters, rng_pulsar)
    return _observe(parameters, pulse_time_s, fluence_jy_ms, rng, seed)


def simulate_pulse(
    parameters: ObservationParameters, *, seed: int, max_spectra: int = 512, max_channels: int = 256
) -> xr.Dataset:
    """Return one pulse of median fluence in a short observation that holds its whole sweep.

    For a preview. The observation lasts 1, 2 or 5 times a power of ten of a second and the pulse
    arrives after a tenth of it, so that a figure keeps its axes while a parameter changes a little.
    Where it is longer than `max_spectra`, the sampling time grows to fit; `n_channels` is cut to
    `max_channels`. Interference that occurs at all is made to occur twice on average, since otherwise
    its strength could hardly ever be seen. The attributes of the result say what was simulated.
    """
    n_channels = min(parameters.n_channels, max_channels)
    frequency_mhz = channel_frequencies(parameters.replace(n_channels=n_channels))
    sweep_s = dispersion_delay(frequency_mhz[-1], parameters.dm_pc_cm3, reference_mhz=frequency_mhz[0])
    tail_s = 4 * scattering_time(frequency_mhz[-1], parameters.scattering_ms * 1e-3)
    width_s = 1e-3 * parameters.width_ms
    needed_s = max((sweep_s + tail_s + 3 * width_s) / 0.9, 3 * width_s / 0.1)
    duration_s = round_up(float(max(needed_s, 64e-6 * parameters.sampling_time_us)))
    duration_s = float(np.clip(duration_s, 0.05, 600))
    sampling_us = max(parameters.sampling_time_us, duration_s / max_spectra * 1e6)
    rates = {
        "carrier_rate_hz": parameters.carrier_rate_hz,
        "impulse_rate_hz": parameters.impulse_rate_hz,
    }
    window = parameters.replace(
        n_channels=n_channels,
        sampling_time_us=float(sampling_us),
        duration_s=duration_s,
        **{name: max(rate, PREVIEW_EVENTS / duration_s) for name, rate in rates.items() if rate > 0},
    )
    start_s = np.array([0.1 * duration_s])
    fluence_jy_ms = np.array([parameters.fluence_jy_ms])
    return _observe(window, start_s, fluence_jy_ms, np.random.default_rng(seed), seed)


def _observe(
    parameters: ObservationParameters,
    pulse_time_s: NDArray[np.float64],
    fluence_jy_ms: NDArray[np.float64],
    rng: np.random.Generator,
    seed: int,
) -> xr.Dataset:
    """Return pulses at given times, seen through noise, interference, bandpass and digitiser."""
    rng_noise, rng_band, rng_narrow, rng_broad = rng.spawn(4)
    sampling_s = parameters.sampling_time_us * 1e-6
    frequency_mhz = channel_frequencies(parameters)
    shape = (max(1, round(parameters.duration_s / sampling_s)), parameters.n_channels)
    sigma_jy = noise_sigma_jy(
        parameters.system_temperature_k,
        parameters.gain_k_per_jy,
        channel_width_mhz=parameters.bandwidth_mhz / parameters.n_channels,
        sampling_s=sampling_s,
    )
    pulses, snr_ideal = _render_pulses(
        parameters, pulse_time_s, fluence_jy_ms, frequency_mhz, shape, sigma_jy
    )
    components = {
        "pulses": pulses,
        "noise": radiometer_noise(shape, sigma_jy, rng_noise),
        "narrowband": narrowband(
            shape,
            sampling_s=sampling_s,
            rate_hz=parameters.carrier_rate_hz,
            flux_jy=parameters.carrier_jy,
            rng=rng_narrow,
        ),
        "broadband": broadband(
            shape,
            sampling_s=sampling_s,
            rate_hz=parameters.impulse_rate_hz,
            flux_jy=parameters.impulse_jy,
            rng=rng_broad,
        ),
    }
    gain = bandpass(frequency_mhz, parameters.bandpass_ripple, rng_band)
    total_jy = np.sum(list(components.values()), axis=0)
    plane = ("time", "frequency")
    return xr.Dataset(
        {"data": (plane, digitise(total_jy, gain, sigma_jy, parameters.n_bits), _unit("counts"))}
        | {name: (plane, flux_jy, _unit("Jy")) for name, flux_jy in components.items()}
        | {
            "bandpass": ("frequency", gain, _unit("1")),
            "pulse_time_s": ("pulse", pulse_time_s, _unit("s")),
            "pulse_fluence_jy_ms": ("pulse", fluence_jy_ms, _unit("Jy ms")),
            "pulse_snr_ideal": ("pulse", snr_ideal, _unit("1")),
        },
        coords={
            "time": ("time", np.arange(shape[0]) * sampling_s, _unit("s")),
            "frequency": ("frequency", frequency_mhz, _unit("MHz")),
        },
        attrs=datasets.attributes(
            parameters,
            seed=seed,
            sampling_time_s=sampling_s,
            noise_sigma_jy=sigma_jy,
            source_name="simulated",
        ),
    )


def channel_frequencies(parameters: ObservationParameters) -> NDArray[np.float64]:
    """Return the channel centres in MHz, the highest first, shape (frequency,)."""
    width_mhz = parameters.bandwidth_mhz / parameters.n_channels
    highest_mhz = parameters.centre_frequency_mhz + (parameters.bandwidth_mhz - width_mhz) / 2
    return highest_mhz - width_mhz * np.arange(parameters.n_channels, dtype=np.float64)


def _unit(units: str) -> dict[str, str]:
    return {"units": units}


def _pulse_train(
    parameters: ObservationParameters, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return times at the highest channel (s) and fluences (Jy ms) of the pulses that begin inside."""
    first_s = rng.uniform(0, parameters.period_s)
    times_s = np.arange(first_s, parameters.duration_s, parameters.period_s)
    scatter = parameters.energy_scatter * rng.standard_normal(len(times_s))
    return times_s, parameters.fluence_jy_ms * np.exp(scatter)


def _render_pulses(
    parameters: ObservationParameters,
    pulse_time_s: NDArray[np.float64],
    fluence_jy_ms: NDArray[np.float64],
    frequency_mhz: NDArray[np.float64],
    shape: tuple[int, int],
    sigma_jy: float,
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the dispersed pulses (time, frequency) in Jy and their ideal S/N (pulse,)."""
    sampling_s = parameters.sampling_time_us * 1e-6
    channel_width_mhz = parameters.bandwidth_mhz / parameters.n_channels
    delay_s = dispersion_delay(frequency_mhz, parameters.dm_pc_cm3, reference_mhz=frequency_mhz[0])
    smear_s = channel_smearing(frequency_mhz, parameters.dm_pc_cm3, channel_width_mhz=channel_width_mhz)
    # Smearing acts as a box; its variance adds to the Gaussian's.
    box_s = smear_s * np.sqrt(8 * np.log(2) / 12)
    width_s = np.hypot(parameters.width_ms * 1e-3, box_s)
    tau_s = scattering_time(frequency_mhz, parameters.scattering_ms * 1e-3)
    before = int(np.ceil(2.5 * width_s.max() / sampling_s)) + 1
    after = int(np.ceil((2.5 * width_s.max() + 8 * tau_s.max()) / sampling_s)) + 1
    edges = np.arange(-before, after + 2) - 0.5
    pulses = np.zeros(shape, dtype=np.float32)
    snr_ideal = np.zeros(len(pulse_time_s))
    for n, (time_s, fluence) in enumerate(zip(pulse_time_s, fluence_jy_ms, strict=True)):
        arrival_s = time_s + delay_s  # (frequency,)
        first = np.rint(arrival_s / sampling_s)
        edge_s = (first + edges[:, None]) * sampling_s - arrival_s  # (window + 1, frequency)
        received = np.diff(pulse_cumulative(edge_s, width_s, tau_s), axis=0)
        flux_jy = fluence * 1e-3 / sampling_s * received  # (window, frequency)
        row = first.astype(int) + np.arange(-before, after + 1)[:, None]
        inside = (row >= 0) & (row < shape[0])
        column = np.broadcast_to(np.arange(shape[1]), row.shape)
        pulses[row[inside], column[inside]] += flux_jy[inside].astype(np.float32)
        snr_ideal[n] = np.sqrt(np.sum(flux_jy[inside] ** 2)) / sigma_jy
    return pulses, snr_ideal
