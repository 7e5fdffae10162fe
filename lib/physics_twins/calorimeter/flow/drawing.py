"""Draw showers from the flow's weights: one division of energy after the other, in compiled code.

Nothing is computed for empty parts, so that a shower costs time in proportion to the cells it fills.
Each shower has random numbers of its own: a counter goes through splitmix64 (Steele et al. 2014,
OOPSLA, 453). What the networks see is what `neighbours` and `network` say; tests hold the two together.
"""

import math

import numba
import numpy as np

from physics_twins.calorimeter.flow import neighbours, splits
from physics_twins.calorimeter.flow import network as networks

_LAYERS, _ANGLES, _RINGS = neighbours.N_LAYERS, neighbours.N_ANGLES, neighbours.N_RINGS
_LEVELS = neighbours.N_LEVELS
_THRESHOLD = splits.THRESHOLD_MEV
_K, _OUTPUTS = splits.N_COMPONENTS, splits.N_OUTPUTS
_MIN_SCALE, _MAX_SCALE, _MAX_LOGIT = splits.MIN_LOG_SCALE, splits.MAX_LOG_SCALE, splits.MAX_LOGIT
_TOTAL_K = networks.N_TOTAL_COMPONENTS
_WINDOW = networks.N_WINDOW
_RING_INPUTS, _ANGLE_INPUTS = neighbours.N_RING_INPUTS, neighbours.N_ANGLE_INPUTS
# Empty layers before the first, empty rings inside the first and outside the last.
_BEFORE, _INSIDE, _OUTSIDE = 3, 2, 3
_PARTS = 2 * _ANGLES - 1  # of a ring: itself, 2 halves, ... 16 cells, one after the other
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_OPTIONS = {"cache": True, "nogil": True, "fastmath": True, "error_model": "numpy"}


@numba.njit(**_OPTIONS)
def draw(weights, conditions, incident_mev, seeds, cells, log_prob):  # pragma: no cover
    """Fill showers, and the logarithm of the probability with which each was drawn.

    Args:
        weights: From `weights.pack`.
        conditions: Shape (shower, 3), float32, see `network.conditions`.
        incident_mev: Shape (shower,), float64.
        seeds: Shape (shower,), uint64.
        cells: In MeV, shape (shower, layer, angle, ring), float32; all zero at the start.
        log_prob: Shape (shower,), float64; that of `network.ShowerNetwork`, all parts together.
    """
    state = np.empty(1, np.uint64)
    layers = np.empty(_LAYERS)
    for shower in range(len(seeds)):
        state[0] = seeds[shower]
        known = conditions[shower]
        visible, found = _total(weights, known, incident_mev[shower], state)
        found += _layers(weights, known, visible, layers, state)
        found += _cells(weights, known, layers, cells[shower], state)
        log_prob[shower] = found


@numba.njit(**_OPTIONS)
def _total(weights, known, incident_mev, state):  # pragma: no cover
    """Return the visible energy in MeV, and the logarithm of its density."""
    first, second, third = weights.total
    a, b = first.bias.copy(), second.bias.copy()
    _dense(known, first.weights, a)
    _relu(a)
    _dense(a, second.weights, b)
    _relu(b)
    out = third.bias.copy()
    _dense(b, third.weights, out)
    k = _choose(out[:_TOTAL_K], _uniform(state))
    step = 3.0 / (_TOTAL_K - 1)
    u = _uniform(state)
    scale = math.exp(min(max(out[2 * _TOTAL_K + k], -4.0), 2.0))
    loss = out[_TOTAL_K + k] - 1.0 + step * k + scale * math.log(u / (1 - u)) - 4.2
    # So little is never seen: all but a thousandth of the energy would have left.
    loss = min(max(loss, math.log(1e-4)), math.log(0.999))
    total = 0.0
    density = 0.0
    for i in range(_TOTAL_K):
        log_scale = min(max(out[2 * _TOTAL_K + i], -4.0), 2.0)
        v = (loss + 4.2 - out[_TOTAL_K + i] + 1.0 - step * i) * math.exp(-log_scale)
        weight = math.exp(out[i] - out[k])
        total += weight
        density += weight * math.exp(-v - log_scale - 2 * _softplus(-v))
    return incident_mev * (1 - math.exp(loss)), math.log(density / total)


@numba.njit(**_OPTIONS)
def _layers(weights, known, visible, layers, state):  # pragma: no cover
    """Fill the energies of the layers; return the logarithm of their density."""
    n = len(known)
    seen = np.empty(3 + n, np.float32)
    seen[3:] = known
    memory = np.zeros(weights.layer_place.shape[1], np.float32)
    gates = np.empty((2, 3 * len(memory)), np.float32)
    active = np.empty_like(memory)
    hidden, out = np.empty_like(weights.layer_hidden.bias), np.empty(_OUTPUTS, np.float32)
    layers[:] = 0.0
    remaining, before, found = visible, 0.0, 0.0
    for layer in range(_LAYERS - 1):
        share = -6.0
        if before > 0 and remaining > 0:
            share = _logit(before, remaining)
        seen[0], seen[1], seen[2] = share / 6, _brightness(before), _brightness(remaining)
        _remember(weights.layer_memory, seen, memory, gates)
        for i in range(len(memory)):
            active[i] = max(memory[i] + weights.layer_place[layer, i], np.float32(0.0))
        _two_layers(active, weights.layer_hidden, weights.layer_out, hidden, out)
        if remaining <= 0:
            break
        left, log_prob = _divide(out, remaining, state)
        found += log_prob
        layers[layer], before = left, left
        remaining -= left
    layers[_LAYERS - 1] = max(remaining, 0.0)
    return found


@numba.njit(**_OPTIONS)
def _cells(weights, known, layers, cells, state):  # pragma: no cover
    """Fill the cells of all layers; return the logarithm of their density."""
    bright = np.zeros((_BEFORE + _LAYERS, _INSIDE + _RINGS + _OUTSIDE, _PARTS), np.float32)
    rest = np.zeros((_BEFORE + _LAYERS, _RINGS + _OUTSIDE), np.float32)
    energy = np.empty((_RINGS, _PARTS))
    n_context = len(weights.cells.bias)
    memory = np.zeros(len(weights.memory.state_bias) // 3, np.float32)
    gates = np.empty((2, 3 * len(memory)), np.float32)
    context = np.empty((3, n_context), np.float32)
    facts = np.empty(len(memory) + 2 * _WINDOW + 1 + 4 + len(known), np.float32)
    window = np.zeros(_LAYERS + 2 * _WINDOW, np.float32)
    whole = depth = square = 0.0
    for layer in range(_LAYERS):
        window[_WINDOW + layer] = _brightness(layers[layer])
        whole += layers[layer]
        depth += layer * layers[layer]
        square += layer * layer * layers[layer]
    depth /= whole
    length = math.sqrt(max(square / whole - depth * depth, 0.0))
    shining = np.zeros(_ANGLES * _RINGS, np.float32)
    found, last = 0.0, _LAYERS - 1
    while last > 0 and layers[last] <= 0:
        last -= 1
    for layer in range(last + 1):
        if layers[layer] > 0:
            m = len(memory)
            facts[:m] = memory
            facts[m : m + 2 * _WINDOW + 1] = window[layer : layer + 2 * _WINDOW + 1]
            m += 2 * _WINDOW + 1
            facts[m], facts[m + 1] = _brightness(whole), depth / 20
            facts[m + 2], facts[m + 3] = length / 10, (layer - depth) / 10
            facts[m + 4 :] = known
            hidden = context[0]
            hidden[:] = weights.context_in.bias
            hidden += weights.context_place[layer]
            _dense(facts, weights.context_in.weights, hidden)
            _relu(hidden)
            context[1] = weights.context_out.bias
            _dense(hidden, weights.context_out.weights, context[1])
            _relu(context[1])
            here = layer + _BEFORE
            found += _rings(weights.ring, context[1], layers[layer], bright, rest, here, energy, state)
            found += _angles(weights, context[1], bright, here, energy, cells[layer], state)
        for ring in range(_RINGS):
            for angle in range(_ANGLES):
                part = bright[layer + _BEFORE, ring + _INSIDE, _ANGLES - 1 + angle]
                shining[angle * _RINGS + ring] = part
        context[2] = weights.cells.bias
        _dense(shining, weights.cells.weights, context[2])
        _relu(context[2])
        _remember(weights.memory, context[2], memory, gates)
    return found


@numba.njit(**_OPTIONS)
def _rings(w, context, whole_mev, bright, rest, here, energy, state):  # pragma: no cover
    """Divide a layer among its rings; return the logarithm of the density."""
    seen = np.empty(_RING_INPUTS, np.float32)
    far = w.far.bias.copy()
    _dense(context, w.far.weights, far)
    first, hidden = np.empty_like(far), np.empty_like(w.hidden.bias)
    out = np.empty(_OUTPUTS, np.float32)
    energy[:, 0] = 0.0
    remaining, found = whole_mev, 0.0
    rest[here, 0] = _brightness(whole_mev)
    for ring in range(_RINGS - 1):
        if remaining <= 0:
            break
        r = ring + _INSIDE
        seen[0], seen[1] = rest[here, ring], rest[here, 0]
        seen[2], seen[3] = bright[here, r - 1, 0], bright[here, r - 2, 0]
        seen[4], seen[5], seen[6] = (
            bright[here - 1, r - 1, 0],
            bright[here - 1, r, 0],
            bright[here - 1, r + 1, 0],
        )
        seen[7] = rest[here - 1, ring + 2]
        seen[8], seen[9] = bright[here - 2, r, 0], rest[here - 2, ring + 1]
        seen[10], seen[11] = bright[here - 2, r - 1, 0], bright[here - 3, r, 0]
        for i in range(len(first)):
            first[i] = far[i] + w.place[ring, i]
        _dense(seen, w.near, first)
        _relu(first)
        _two_layers(first, w.hidden, w.out, hidden, out)
        left, log_prob = _divide(out, remaining, state)
        found += log_prob
        energy[ring, 0] = left
        remaining -= left
        bright[here, r, 0], rest[here, ring + 1] = _brightness(left), _brightness(remaining)
    energy[_RINGS - 1, 0] = max(remaining, 0.0)
    bright[here, _RINGS - 1 + _INSIDE, 0] = _brightness(remaining)
    return found


@numba.njit(**_OPTIONS)
def _angles(weights, context, bright, here, energy, cells, state):  # pragma: no cover
    """Halve each ring of a layer down to its cells; return the logarithm of the density."""
    seen = np.empty(_ANGLE_INPUTS, np.float32)
    n_hidden = len(weights.ring.far.bias)
    far = np.empty((_LEVELS, n_hidden), np.float32)
    first, hidden = np.empty(n_hidden, np.float32), np.empty(n_hidden, np.float32)
    out = np.empty(_OUTPUTS, np.float32)
    for level in range(_LEVELS):
        w = weights.angles[level]
        far[level] = w.far.bias
        _dense(context, w.far.weights, far[level])
    found = 0.0
    for ring in range(_RINGS):
        if energy[ring, 0] <= 0:
            continue
        r = ring + _INSIDE
        for level in range(_LEVELS):
            w = weights.angles[level]
            n = 1 << level
            for part in range(n):
                whole = energy[ring, n - 1 + part]
                at = 2 * n - 1 + 2 * part
                energy[ring, at] = energy[ring, at + 1] = 0.0
                if whole <= 0:
                    continue
                _see_halves(bright, here, r, n, part, seen)
                place = ring * n + part
                for i in range(n_hidden):
                    first[i] = far[level, i] + w.place[place, i]
                _dense(seen, w.near, first)
                _relu(first)
                _two_layers(first, w.hidden, w.out, hidden, out)
                left, log_prob = _divide(out, whole, state)
                found += log_prob
                energy[ring, at], energy[ring, at + 1] = left, whole - left
                bright[here, r, at] = _brightness(left)
                bright[here, r, at + 1] = _brightness(whole - left)
        for angle in range(_ANGLES):
            cells[angle, ring] = energy[ring, _ANGLES - 1 + angle]
    return found


@numba.njit(**_OPTIONS)
def _see_halves(bright, here, r, n, part, seen):  # pragma: no cover
    """Fill what is seen when a part of a ring is halved, as in `neighbours.angle_inputs`."""
    own = bright[here, r]
    parts, halves = n - 1, 2 * n - 1
    a = halves + 2 * part
    before = halves + (2 * part - 1) % (2 * n)
    behind = halves + (2 * part + 2) % (2 * n)
    seen[0] = own[parts + part]
    seen[1] = own[before] if part > 0 else 0.0
    seen[2] = own[behind] if part == n - 1 and n > 1 else 0.0
    seen[3], seen[4] = own[parts + (part - 1) % n], own[parts + (part + 1) % n]
    inside, inside2 = bright[here, r - 1], bright[here, r - 2]
    seen[5], seen[6], seen[7], seen[8] = inside[before], inside[a], inside[a + 1], inside[behind]
    seen[9], seen[10] = inside2[a], inside2[a + 1]
    seen[11], seen[12] = own[0], bright[here, r + 1, 0]
    last = bright[here - 1, r]
    seen[13], seen[14], seen[15], seen[16] = last[before], last[a], last[a + 1], last[behind]
    seen[17], seen[18] = bright[here - 1, r + 1, a], bright[here - 1, r + 1, a + 1]
    seen[19], seen[20] = bright[here - 1, r - 1, a], bright[here - 1, r - 1, a + 1]
    seen[21], seen[22] = bright[here - 2, r, a], bright[here - 2, r, a + 1]
    seen[23], seen[24] = bright[here - 3, r, a], bright[here - 3, r, a + 1]


@numba.njit(**_OPTIONS)
def _divide(out, whole, state):  # pragma: no cover
    """Return the energy of the first half in MeV, and the logarithm of the probability of that."""
    both = out[2] if whole >= 2 * _THRESHOLD else np.float32(-30.0)
    top = max(out[0], out[1], both)
    left, right = math.exp(out[0] - top), math.exp(out[1] - top)
    divided = math.exp(both - top)
    total = left + right + divided
    u = _uniform(state) * total
    if u < left:
        return whole, math.log(left / total)
    if u < left + right:
        return 0.0, math.log(right / total)
    k = _choose(out[3 : 3 + _K], _uniform(state))
    u = _uniform(state)
    scale = math.exp(min(max(out[3 + 2 * _K + k], _MIN_SCALE), _MAX_SCALE))
    z = out[3 + _K + k] + scale * math.log(u / (1 - u))
    z = min(max(z, -_MAX_LOGIT), _MAX_LOGIT)
    total_weight = density = 0.0
    for i in range(_K):
        log_scale = min(max(out[3 + 2 * _K + i], _MIN_SCALE), _MAX_SCALE)
        v = (z - out[3 + _K + i]) * math.exp(-log_scale)
        weight = math.exp(out[3 + i] - out[3 + k])
        total_weight += weight
        density += weight * math.exp(-v - log_scale - 2 * _softplus(-v))
    share = 1 / (1 + math.exp(-z))
    energy = _THRESHOLD + (whole - 2 * _THRESHOLD) * share
    return energy, math.log(divided / total) + math.log(density / total_weight)


@numba.njit(**_OPTIONS)
def _choose(logits, u):  # pragma: no cover
    """Return the number of a component, chosen by its logit."""
    top = logits[0]
    for i in range(1, len(logits)):
        top = max(top, logits[i])
    total = 0.0
    for i in range(len(logits)):
        total += math.exp(logits[i] - top)
    u *= total
    for i in range(len(logits)):
        u -= math.exp(logits[i] - top)
        if u < 0:
            return i
    return len(logits) - 1


@numba.njit(**_OPTIONS)
def _two_layers(x, hidden, out, between, found):  # pragma: no cover
    """Fill what two layers make of inputs that are not negative, of which many are 0."""
    between[:] = hidden.bias
    _dense(x, hidden.weights, between)
    _relu(between)
    found[:] = out.bias
    _dense(between, out.weights, found)


@numba.njit(**_OPTIONS)
def _remember(unit, seen, memory, gates):  # pragma: no cover
    """Let a gated recurrent unit see something: its state changes."""
    n = len(memory)
    new, old = gates[0], gates[1]
    new[:] = unit.input_bias
    old[:] = unit.state_bias
    _dense(seen, unit.from_input, new)
    _dense(memory, unit.from_state, old)
    for i in range(n):
        reset = 1 / (1 + math.exp(-(new[i] + old[i])))
        update = 1 / (1 + math.exp(-(new[n + i] + old[n + i])))
        fresh = math.tanh(new[2 * n + i] + reset * old[2 * n + i])
        memory[i] = (1 - update) * fresh + update * memory[i]


@numba.njit(**_OPTIONS)
def _dense(x, weights, out):  # pragma: no cover
    """Add x @ weights to out; inputs that are 0 cost nothing, the others are taken in fours."""
    n_out = weights.shape[1]
    i0 = i1 = i2 = 0
    n = 0
    for i in range(len(x)):
        if x[i] == 0:
            continue
        if n == 0:
            i0 = i
        elif n == 1:
            i1 = i
        elif n == 2:
            i2 = i
        else:
            x0, x1, x2, x3 = x[i0], x[i1], x[i2], x[i]
            for j in range(n_out):
                out[j] += (
                    x0 * weights[i0, j] + x1 * weights[i1, j] + x2 * weights[i2, j] + x3 * weights[i, j]
                )
        n = (n + 1) % 4
    if n > 0:
        for j in range(n_out):
            out[j] += x[i0] * weights[i0, j]
    if n > 1:
        for j in range(n_out):
            out[j] += x[i1] * weights[i1, j]
    if n > 2:
        for j in range(n_out):
            out[j] += x[i2] * weights[i2, j]


@numba.njit(**_OPTIONS)
def _relu(x):  # pragma: no cover
    for i in range(len(x)):
        x[i] = max(x[i], np.float32(0.0))


@numba.njit(**_OPTIONS)
def _brightness(energy_mev):  # pragma: no cover
    if energy_mev <= 0:
        return np.float32(0.0)
    return np.float32(math.log1p(energy_mev / _THRESHOLD) / 4)


@numba.njit(**_OPTIONS)
def _logit(left_mev, right_mev):  # pragma: no cover
    left, right = max(left_mev - _THRESHOLD, 1e-9), max(right_mev - _THRESHOLD, 1e-9)
    return min(max(math.log(left) - math.log(right), -_MAX_LOGIT), _MAX_LOGIT)


@numba.njit(**_OPTIONS)
def _softplus(x):  # pragma: no cover
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@numba.njit(**_OPTIONS)
def _uniform(state):  # pragma: no cover
    """Return a number between 0 and 1, both excluded, and step on."""
    state[0] += _GOLDEN
    x = state[0]
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    x = x ^ (x >> np.uint64(31))
    return (np.float64(x >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16
