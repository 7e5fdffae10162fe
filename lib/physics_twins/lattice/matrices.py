"""Small complex matrices in compiled code: products, exponentials, and SU(2) inside SU(N).

The number of colours comes as a tuple `colours` of that length: compiled code knows it, and unrolls.
"""

import math
from typing import Any

import numba


@numba.njit(cache=True, nogil=True)
def product(a: Any, b: Any, out: Any, colours: Any) -> None:
    """Write a b into `out`, which must be another array."""
    for i in range(len(colours)):
        for j in range(len(colours)):
            total = 0j
            for k in range(len(colours)):
                total += a[i, k] * b[k, j]
            out[i, j] = total


@numba.njit(cache=True, nogil=True)
def product_dagger(a: Any, b: Any, out: Any, colours: Any) -> None:
    """Write a times the adjoint of b into `out`, which must be another array."""
    for i in range(len(colours)):
        for j in range(len(colours)):
            total = 0j
            for k in range(len(colours)):
                total += a[i, k] * b[j, k].conjugate()
            out[i, j] = total


@numba.njit(cache=True, nogil=True)
def dagger_product(a: Any, b: Any, out: Any, colours: Any) -> None:
    """Write the adjoint of a times b into `out`, which must be another array."""
    for i in range(len(colours)):
        for j in range(len(colours)):
            total = 0j
            for k in range(len(colours)):
                total += a[k, i].conjugate() * b[k, j]
            out[i, j] = total


@numba.njit(cache=True, nogil=True)
def make_unitary(u: Any, colours: Any) -> None:
    """Bring a matrix that is nearly in SU(2) or SU(3) back into it, row by row."""
    n = len(colours)
    for i in range(n - 1):
        for j in range(i):
            overlap = 0j
            for k in range(n):
                overlap += u[j, k].conjugate() * u[i, k]
            for k in range(n):
                u[i, k] -= overlap * u[j, k]
        norm = 0.0
        for k in range(n):
            norm += u[i, k].real ** 2 + u[i, k].imag ** 2
        for k in range(n):
            u[i, k] /= math.sqrt(norm)
    if n == 2:
        u[1, 0], u[1, 1] = -u[0, 1].conjugate(), u[0, 0].conjugate()
    else:
        for k in range(n):
            a, b = (k + 1) % 3, (k + 2) % 3
            u[n - 1, k] = (u[0, a] * u[1, b] - u[0, b] * u[1, a]).conjugate()


@numba.njit(cache=True, nogil=True)
def exponential(a: Any, out: Any, scratch: Any, colours: Any) -> None:
    """Write exp(a) of a small matrix into `out`, by its series to the twelfth power."""
    n = len(colours)
    out[:] = 0
    for i in range(n):
        out[i, i] = 1
    for power in range(12, 0, -1):
        product(a, out, scratch, colours)
        for i in range(n):
            for j in range(n):
                out[i, j] = scratch[i, j] / power
            out[i, i] += 1


@numba.njit(cache=True, nogil=True)
def random_algebra(out: Any, rng: Any, colours: Any) -> None:
    """Write i times the sum of normal numbers times generators, with tr(t_a t_b) = 1/2, into `out`."""
    n, mean = len(colours), 0.0
    for i in range(n):
        for j in range(i):
            out[j, i] = complex(rng.normal(0.0, 0.5), rng.normal(0.0, 0.5))
            out[i, j] = -out[j, i].conjugate()
        diagonal = rng.normal(0.0, math.sqrt(0.5))
        mean += diagonal / n
        out[i, i] = complex(0.0, diagonal)
    for i in range(n):
        out[i, i] -= complex(0.0, mean)


@numba.njit(cache=True, nogil=True)
def subgroup(w: Any, i: int, j: int, q: Any) -> float:
    """Write into `q` the SU(2) part of rows and columns i, j as a unit quaternion; return its length.

    The quaternion (q0, q) stands for q0 + i q sigma. Its matrix V has the largest Re tr(V+ w) in SU(2).
    """
    q[0] = 0.5 * (w[i, i].real + w[j, j].real)
    q[1] = 0.5 * (w[i, j].imag + w[j, i].imag)
    q[2] = 0.5 * (w[i, j].real - w[j, i].real)
    q[3] = 0.5 * (w[i, i].imag - w[j, j].imag)
    size = math.sqrt(q[0] ** 2 + q[1] ** 2 + q[2] ** 2 + q[3] ** 2)
    for k in range(4):
        q[k] = q[k] / size if size > 0 else 1.0 * (k == 0)
    return size


@numba.njit(cache=True, nogil=True)
def times_conjugate(a: Any, b: Any, out: Any) -> None:
    """Write the quaternion a times the conjugate of b into `out`, which must be another array."""
    out[0] = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3]
    out[1] = a[1] * b[0] - a[0] * b[1] + a[2] * b[3] - a[3] * b[2]
    out[2] = a[2] * b[0] - a[0] * b[2] + a[3] * b[1] - a[1] * b[3]
    out[3] = a[3] * b[0] - a[0] * b[3] + a[1] * b[2] - a[2] * b[1]


@numba.njit(cache=True, nogil=True)
def rotate(q: Any, m: Any, i: int, j: int, colours: Any) -> None:
    """Multiply rows i and j of a matrix by the SU(2) matrix of a quaternion, from the left."""
    a, b = complex(q[0], q[3]), complex(q[2], q[1])
    for k in range(len(colours)):
        up, down = m[i, k], m[j, k]
        m[i, k] = a * up + b * down
        m[j, k] = a.conjugate() * down - b.conjugate() * up


@numba.njit(cache=True, nogil=True)
def heat_bath(weight: float, q: Any, rng: Any) -> None:
    """Write a quaternion drawn with weight exp(weight q0) into `q` (Kennedy and Pendleton 1985)."""
    while weight < 1:  # that method would refuse nearly all
        norm = 0.0
        for k in range(4):
            q[k] = rng.normal(0.0, 1.0)
            norm += q[k] ** 2
        for k in range(4):
            q[k] /= math.sqrt(norm)
        if rng.random() < math.exp(weight * (q[0] - 1)):
            return
    while True:
        first, second = math.log(1 - rng.random()), math.log(1 - rng.random())
        part = math.cos(2 * math.pi * rng.random()) ** 2
        below = -(first * part + second) / weight
        if rng.random() ** 2 <= 1 - 0.5 * below and below <= 2:
            break
    q[0] = 1 - below
    point_on_sphere(math.sqrt(max(0.0, 1 - q[0] ** 2)), q, rng)


@numba.njit(cache=True, nogil=True)
def point_on_sphere(radius: float, q: Any, rng: Any) -> None:
    """Write a vector of a length and any direction into the last three of `q`."""
    height = 2 * rng.random() - 1
    across, turn = radius * math.sqrt(1 - height * height), 2 * math.pi * rng.random()
    q[1], q[2], q[3] = across * math.cos(turn), across * math.sin(turn), radius * height
