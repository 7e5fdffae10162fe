"""Energy scattered into cells: a gamma process around the mean shape, in compiled code.

Grindhammer & Peters (hep-ex/0001020, section 5) draw the energy of each step from a gamma
distribution, whose variance is proportional to its mean, and share it among spots. Here the energy
of every small part of a shower is drawn so: sums of such parts are again gamma distributed, so that
nothing depends on how finely a shower is divided. Where a slice's energy is given the parts are
scaled to it.
"""

# ruff: noqa: NPY002 (compiled code has a generator of its own, which is seeded for every shower)

import math

import numba
import numpy as np

# A slice with a smaller energy, as a logarithm, in units of the grain counts as empty.
_EMPTY = -14.0
_MOST_SPOTS = 8


@numba.njit(cache=True, nogil=True)
def normals(seeds, n):  # pragma: no cover
    """Return n standard normal numbers for each shower, shape (shower, n)."""
    found = np.empty((len(seeds), n))
    for shower in range(len(seeds)):
        np.random.seed(seeds[shower])
        for i in range(n):
            found[shower, i] = np.random.normal()
    return found


@numba.njit(cache=True, nogil=True)
def gammas(seeds, mean, grain):  # pragma: no cover
    """Return numbers with the given means and variance = grain * mean, of the shape of `mean`."""
    found = np.empty_like(mean)
    for shower in range(len(seeds)):
        np.random.seed(seeds[shower] ^ 0x5BD1E995)
        for i in range(mean.shape[1]):
            shape = mean[shower, i] / grain
            found[shower, i] = grain * _gamma(shape, math.exp(_EMPTY * shape))
    return found


@numba.njit(cache=True, nogil=True)
def _gamma(shape, empty):  # pragma: no cover
    """Return a gamma distributed number; `empty` is about the probability of what counts as 0."""
    if shape >= 1.0:
        return np.random.gamma(shape)
    # Marsaglia & Tsang: Gamma(a) = Gamma(a + 1) u^(1 / a); most parts are empty and end here.
    u = np.random.random()
    if u <= empty:
        return 0.0
    return np.random.gamma(shape + 1.0) * math.exp(math.log(u) / shape)


@numba.njit(cache=True, nogil=True)
def scatter(  # pragma: no cover
    seeds,
    slices,
    edges,
    shares,
    grains,
    faintest,
    radii,
    n_angles,
    angles,
    entry,
    detector,
    cells,
    seen,
):
    """Scatter the energies of slices into cells.

    Args:
        seeds: One whole number for each shower.
        slices: Energy of each slice in MeV, shape (shower, slice).
        edges: Edges of the slices along the particle's path in mm, shape (shower, slice + 1).
        shares: Share of each slice between two radii, shape (shower, slice, ring).
        grains: Variance over mean of cells in MeV, shape (ring,).
        faintest: A part with less energy in MeV is empty.
        radii: Edges of the rings in mm, shape (ring + 1,).
        n_angles: Number of parts of each ring.
        angles: Cosine and sine of theta and of phi, shape (shower, 4).
        entry: Where particles cross the face in mm, shape (shower, 2).
        detector: Pitch of layers, thickness of sensors (0 where all counts), width of a cell, step of
            depth (0 for cartesian cells); all in mm.
        cells: Where energies are added, shape (shower, 3 axes).
        seen: Where the energies of layers are added, shape (shower, layer).
    """
    # Slices are steps of depth and parts are cells: where in it a part has its energy does not matter.
    parts_are_cells = detector[3] > 0 and detector[1] == 0
    parts = np.empty((len(grains), n_angles))
    for shower in range(len(seeds)):
        np.random.seed(seeds[shower] ^ 0x1B873593)
        for k in range(slices.shape[1]):
            energy = slices[shower, k]
            if energy <= 0.0:
                continue
            _fill(parts, energy, shares[shower, k], grains, faintest)
            for ring in range(len(grains)):
                for sector in range(n_angles):
                    part = parts[ring, sector]
                    if part <= 0.0:
                        continue
                    if parts_are_cells:
                        if ring < cells.shape[3]:
                            cells[shower, k, sector, ring] += part
                        continue
                    n = min(_MOST_SPOTS, 1 + int(part / grains[ring]))
                    for _ in range(n):
                        radius = math.sqrt(_between(radii[ring] ** 2, radii[ring + 1] ** 2))
                        phi = 2 * math.pi * (sector + np.random.random()) / n_angles
                        along = _between(edges[shower, k], edges[shower, k + 1])
                        place = (along, radius, phi)
                        here = (angles[shower], entry[shower], detector)
                        _add(part / n, place, here, cells[shower], seen[shower])


@numba.njit(cache=True, nogil=True)
def _between(low, high):  # pragma: no cover
    return low + (high - low) * np.random.random()


@numba.njit(cache=True, nogil=True)
def _fill(parts, energy, shares, grains, faintest):  # pragma: no cover
    """Share the energy of a slice among its parts."""
    n_rings, n_angles = parts.shape
    total = 0.0
    for ring in range(n_rings):
        shape = energy * shares[ring] / (n_angles * grains[ring])
        empty = (faintest / grains[ring]) ** shape
        for sector in range(n_angles):
            parts[ring, sector] = grains[ring] * _gamma(shape, empty)
            total += parts[ring, sector]
    if total > 0.0:
        parts *= energy / total
        return
    # Too little for more than one part.
    left = np.random.random() * shares.sum()
    chosen = 0
    while chosen < n_rings - 1 and left > shares[chosen]:
        left -= shares[chosen]
        chosen += 1
    parts[chosen, int(n_angles * np.random.random())] = energy


@numba.njit(cache=True, nogil=True)
def _add(energy, place, here, cells, seen):  # pragma: no cover
    """Add one spot to its cell, moved along z into the sensor where only sensors count."""
    along, radius, phi = place
    angles, entry, detector = here
    pitch, sensor, cell, step = detector
    cos_theta, sin_theta, cos_phi, sin_phi = angles
    down, aside = radius * math.cos(phi), radius * math.sin(phi)
    height = along * cos_theta - down * sin_theta
    layer = min(max(math.floor(height / pitch), 0), seen.shape[0] - 1)
    if sensor > 0:
        height = (layer + 1) * pitch - sensor * np.random.random()
        along = (height + down * sin_theta) / cos_theta
        seen[layer] += energy
    if step > 0:
        i = math.floor(along / step)
        j = min(int(phi * cells.shape[1] / (2 * math.pi)), cells.shape[1] - 1)
        k = int(radius / cell)
    else:
        across = down * cos_theta + along * sin_theta
        x = entry[0] + across * cos_phi - aside * sin_phi
        y = entry[1] + across * sin_phi + aside * cos_phi
        i = math.floor(x / cell + cells.shape[0] / 2)
        j = math.floor(y / cell + cells.shape[1] / 2)
        k = layer
    if 0 <= i < cells.shape[0] and 0 <= j < cells.shape[1] and 0 <= k < cells.shape[2]:
        cells[i, j, k] += energy
