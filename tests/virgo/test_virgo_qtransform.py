"""The Q-transform against gwpy's tiles, a direct sum, and the laws of Gaussian noise."""

import numpy as np
import pytest
import torch
from real_files import real_file

from physics_twins.virgo.qtransform import Tiling, image, loudest, tile_energies, whitened

TILING = Tiling(4.0, 256.0, quality=8.0, low_hz=10.0, high_hz=70.0)


def series() -> torch.Tensor:
    n = np.arange(1024)
    burst = 3 * np.exp(-(((n - 400) / 20) ** 2)) * np.cos(0.8 * n)
    return torch.from_numpy((n * n * 7919 % 1013) / 1013 - 0.5 + burst)


def test_frequencies_of_the_rows_are_gwpys():
    # gwpy 4.1.0, QPlane(8, (10, 70), 4, 256).
    assert TILING.frequencies_hz.tolist() == [
        *(10.5, 12.0, 13.5, 15.25, 17.25, 19.5, 22.0, 24.75),
        *(28.0, 31.75, 35.75, 40.25, 45.5, 51.5, 58.25, 65.75),
    ]


# gwpy 4.1.0, QPlane(8, (10, 70), 4, 256).transform(fft of `series`, norm=False): row, number of
# tiles, energies of tiles 3, 11, 20, 25 and 33.
GWPY = [
    (0, 64, [1.8446007081e-10, 9.4145833236e-09, 4.0187932830e-10, 1.6412512184e-10, 1.9466295895e-09]),
    (
        5,
        128,
        [1.2617003594e-09, 5.4223059629e-10, 2.4788332716e-09, 2.8589393605e-10, 3.1332011655e-10],
    ),
    (
        9,
        256,
        [2.3871565927e-09, 5.3839330545e-10, 1.9293143801e-09, 6.7642889594e-09, 1.5899223402e-09],
    ),
    (
        15,
        512,
        [8.5342446935e-10, 1.3483875804e-09, 1.5972982667e-10, 5.4907596937e-09, 2.1777259587e-09],
    ),
]


@pytest.mark.parametrize(("row", "n_tiles", "energies"), GWPY)
def test_energies_of_tiles_are_gwpys(row, n_tiles, energies):
    ours = tile_energies(series(), TILING, normalised=False)[row]
    assert ours.shape == (n_tiles,)
    np.testing.assert_allclose(ours[[3, 11, 20, 25, 33]], energies, rtol=1e-9)


def test_the_loudest_tile_is_gwpys():
    peak = loudest(tile_energies(series(), TILING), TILING)
    # Of the same transform with norm="median", in single precision there.
    assert [float(each) for each in peak] == pytest.approx([762.0531, 1.5625, 31.75], rel=1e-6)


def test_an_energy_is_the_squared_projection_on_a_windowed_wave():
    row, tile = 7, 90
    frequency_hz, n_tiles = TILING.frequencies_hz[row], TILING.n_tiles[row]
    narrow = 8.0 / np.sqrt(11)
    spectrum = np.fft.rfft(series().numpy()) * 2 / 1024
    total, norm = 0j, np.sqrt(315 * narrow / (128 * frequency_hz)) / (4 * 256)
    for k in range(513):  # one bin above, as Omega counts
        away = ((k - 1) / 4 - frequency_hz) * narrow / frequency_hz
        if abs(away) < 1:
            weight = (1 - away**2) ** 2 * norm
            total += spectrum[k] * weight * np.exp(2j * np.pi * k * tile / n_tiles)
    ours = tile_energies(series(), TILING, normalised=False)[row][tile]
    assert float(ours) == pytest.approx(abs(total) ** 2, rel=1e-9)


def test_channels_of_a_batch_are_transformed_as_if_alone():
    both = torch.stack([series(), series().flip(0)])
    together = tile_energies(both, TILING)
    alone = tile_energies(both[1], TILING)
    for row, energies in enumerate(together):
        torch.testing.assert_close(energies[1], alone[row], rtol=1e-9, atol=0)


def test_energies_in_white_noise_are_exponential():
    tiling = Tiling(64.0, 512.0, low_hz=20.0, high_hz=150.0)
    noise = torch.from_numpy(np.random.default_rng(1).standard_normal(64 * 512))
    over = torch.cat(tile_energies(noise, tiling))
    # Of an exponential distribution with median 1, a part 2^-4 lies above 4.  Tiles overlap: about
    # one in three is independent.
    share, n_independent = float((over > 4).double().mean()), len(over) / 3
    assert share == pytest.approx(1 / 16, abs=5 * np.sqrt(1 / 16 / n_independent))


def test_a_series_twice_as_strong_has_four_times_the_energy_and_the_same_normalised():
    twice, once = (tile_energies(a * series(), TILING, normalised=False) for a in (2, 1))
    torch.testing.assert_close(twice[3], 4 * once[3])
    torch.testing.assert_close(
        tile_energies(2 * series(), TILING)[3], tile_energies(series(), TILING)[3]
    )


def test_a_picture_holds_energies_of_tiles_and_nothing_else():
    energies = tile_energies(series(), TILING)
    picture = image(energies, TILING, n_times=100, n_frequencies=40)
    assert picture.shape == (40, 100)
    assert bool(torch.isin(picture, torch.cat(energies)).all())


def test_what_cannot_be_tiled_is_refused():
    with pytest.raises(ValueError, match="high_hz = 120 Hz must lie between"):
        Tiling(4.0, 256.0, low_hz=10.0, high_hz=120.0)
    with pytest.raises(ValueError, match="series has 1000 samples, the tiling is for 1024"):
        tile_energies(torch.zeros(1000), TILING)


def test_whitened_noise_has_variance_one():
    rng = np.random.default_rng(2)
    reddened = np.convolve(rng.standard_normal(64 * 256), 0.8 ** np.arange(40), mode="same")
    white = whitened(torch.from_numpy(reddened), 256.0)[512:-512]
    # Each line of the spectrum is a median of 63 parts and scatters by 20 %; its inverse is biased by
    # some per cent.
    assert float(white.var()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("detector", ["H-H1", "L-L1"])
def test_the_first_gravitational_wave_is_where_it_was_found(detector):
    import h5py

    path = real_file(f"virgo/{detector}_LOSC_4_V2-1126259446-32.hdf5")
    with h5py.File(path) as file:
        strain, start_s = file["strain/Strain"][:], float(file["meta/GPSstart"][()])
    white = whitened(torch.from_numpy(1e21 * strain), 4096.0, part_s=4.0)[12 * 4096 : 20 * 4096]
    tiling = Tiling(8.0, 4096.0, quality=8.0, low_hz=20.0, high_hz=500.0)
    peak = loudest(tile_energies(white, tiling), tiling)
    # Abbott et al. 2016, Phys. Rev. Lett. 116, 061102: 1126259462.4, and a chirp, 35 to 250 Hz. gwpy
    # has the loudest tile at .42 for this quality, at 136 (H1) and 154 Hz (L1) after its own whitening.
    assert start_s + 12 + float(peak.time_s) == pytest.approx(1126259462.42, abs=0.01)
    assert 100 < float(peak.frequency_hz) < 200
    assert float(peak.energy) > 40
