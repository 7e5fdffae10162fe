"""How the field writes the panels' parameters: the symbol of papers beside the plain words."""

# ruff: noqa: RUF001 - Greek letters are meant

from collections.abc import Mapping

SYMBOLS: Mapping[str, str] = {
    # Lorimer & Kramer, Handbook of Pulsar Astronomy (2005)
    "dm_pc_cm3": "DM",
    "scattering_ms": "τ",
    "scattering_index": "α in τ ∝ ν^−α",
    "scintillation_mhz": "Δν_d",
    "scintillation_s": "Δt_d",
    "dm_drift_pc_cm3_per_h": "dDM/dt",
    "distance_kpc": "d",
    "electron_density_cm3": "⟨n_e⟩",
    "fluence_jy_ms": "F",
    "width_ms": "W",
    "period_s": "P",
    "period_derivative": "Ṗ",
    "spectral_index": "γ in F ∝ ν^γ",
    "cone_radius_deg": "ρ",
    "inclination_deg": "α",
    "impact_deg": "β",
    "orbit_axis_ls": "x = a sin i / c",
    "orbit_period_h": "P_b",
    "orbit_eccentricity": "e",
    "periastron_deg": "ω",
    "system_temperature_k": "T_sys",
    "gain_k_per_jy": "G",
    "zenith_opacity": "τ_0",
    "centre_frequency_mhz": "ν_0",
    "bandwidth_mhz": "Δν",
    "sampling_time_us": "t_samp",
    # Gattringer & Lang, Quantum Chromodynamics on the Lattice (2010)
    "n_dimensions": "D",
    "side": "L",
    "n_time": "T",
    "mass2": "m²",
    "quartic": "λ",
    "beta": "β",
    "trajectory_length": "τ",
    # Finn & Chernoff, Phys. Rev. D 47, 2198 (1993)
    "glitch_snr": "ρ",
    "signal_snr": "ρ",
    "mass_1_msun": "m_1",
    "mass_2_msun": "m_2",
    # Particle Data Group, Review of Particle Physics, Passage of Particles through Matter
    "energy_gev": "E",
    "theta_deg": "θ",
    "phi_deg": "φ",
}
