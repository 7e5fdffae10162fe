"""Draw showers from the flow's weights, in compiled code: a block of showers goes division by division.

All showers of a block are divided in the same place together, so that the weights are read once for
all of them; those that are empty there cost nothing. A shower does not depend on the others of its
block. Each has random numbers of its own: a counter goes through splitmix64 (Steele et al.
2014, OOPSLA, 453). What the networks see is what `neighbours` and `network` say, and what is drawn is
what `splits` says; tests hold them together. All is in one file since numba, which keeps what it has
compiled, notices no change in another.
"""

import math

import numba
import numpy as np

from physics_twins.calorimeter.flow import neighbours, splits
from physics_twins.calorimeter.flow import network as networks

_LAYERS, _ANGLES, _RINGS = neighbours.N_LAYERS, neighbours.N_ANGLES, neighbours.N_RINGS
_LEVELS, _OUTPUTS = neighbours.N_LEVELS, splits.N_STEPPED_OUTPUTS
_EDGES, _STEPS = splits.STEP_EDGES_MEV, splits.N_STEPS
_LOG_EDGES = np.log(splits.STEP_EDGES_MEV)
_TOTAL_K, _WINDOW = networks.N_TOTAL_COMPONENTS, networks.N_WINDOW
_SAMPLED, _PER_LOG = networks.SAMPLED, networks.PER_LOG
_MIN_TOTAL, _MAX_TOTAL = np.float32(networks.MIN_LOG_SCALE), np.float32(networks.MAX_LOG_SCALE)
_RING_INPUTS, _ANGLE_INPUTS = neighbours.N_RING_INPUTS, neighbours.N_ANGLE_INPUTS
# Empty rings inside the first and outside the last; the layer at work and two before it.
_INSIDE, _OUTSIDE, _KEPT = 2, 3, 3
_KEEPS, _FAINTEST = neighbours.KEEPS, neighbours.FAINTEST_MEV
_AXIS = neighbours.AXIS
_PARTS = 2 * _ANGLES - 1  # of a ring: itself, 2 halves, ... 16 cells, one after the other
_BLOCK = 64
_ALONE = 2**18  # multiplications up to which OpenBLAS computes in one thread
_THRESHOLD = splits.THRESHOLD_MEV
_K = splits.N_COMPONENTS
_MIN_SCALE, _MAX_SCALE = np.float32(splits.MIN_LOG_SCALE), np.float32(splits.MAX_LOG_SCALE)
_MAX_LOGIT = splits.MAX_LOGIT
_ZERO, _ONE, _NEVER = np.float32(0.0), np.float32(1.0), np.float32(-30.0)
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
        log_prob: Shape (shower,), float64; that of `network.ShowerNetwork`, all parts together. Shape
            (0,) where it is not wanted, which is faster.
    """
    for first in range(0, len(seeds), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(seeds)))
        state, known, found = seeds[block].copy(), conditions[block], log_prob[block]
        found[:] = 0.0
        visible = _total(weights, known, incident_mev[block], state, found)
        layers = _layers(weights, known, visible, state, found)
        if weights.sampled:
            cells[block][:, :, 0, 0] = layers
        else:
            _cells(weights, known, layers, cells[block], state, found)


@numba.njit(**_OPTIONS)
def _total(weights, known, incident_mev, state, found):  # pragma: no cover
    """Return the visible energies in MeV."""
    first, second, third = weights.total
    out = _linear(_relu(_linear(_relu(_linear(known, first)), second)), third)
    visible = np.empty(len(known))
    step = np.float32(3.0 / (_TOTAL_K - 1))
    for b in range(len(known)):
        for i in range(_TOTAL_K):
            out[b, _TOTAL_K + i] += step * i - np.float32(1.0)
        k = _choose(out[b, :_TOTAL_K], _uniform(state, b))
        u = _uniform(state, b)
        scale = math.exp(min(max(out[b, 2 * _TOTAL_K + k], _MIN_TOTAL), _MAX_TOTAL))
        place = out[b, _TOTAL_K + k] + scale * math.log(u / (1 - u))
        # See `network.visible_place`. Less than a thousandth of what is usual is never seen.
        if weights.sampled:
            place = min(max(place, _PER_LOG * math.log(1e-3)), _PER_LOG * math.log(0.999 / _SAMPLED))
            visible[b] = incident_mev[b] * _SAMPLED * math.exp(place / _PER_LOG)
        else:
            place = min(max(place, math.log(1e-4) + 4.2), math.log(0.999) + 4.2)
            visible[b] = incident_mev[b] * (1 - math.exp(place - 4.2))
        if len(found) > 0:
            found[b] += _mixture_log_density(out[b], place, _MIN_TOTAL, _MAX_TOTAL)
    return visible


@numba.njit(**_OPTIONS)
def _layers(weights, known, visible, state, found):  # pragma: no cover
    """Return the energies of the layers, shape (shower, layer)."""
    n, n_known = known.shape
    seen = np.empty((n, 3 + n_known), np.float32)
    seen[:, 3:] = known
    memory = np.zeros((n, weights.layer_place.shape[1]), np.float32)
    layers = np.zeros((n, _LAYERS))
    remaining, before = visible.copy(), np.zeros(n)
    for layer in range(_LAYERS - 1):
        for b in range(n):
            share = -6.0
            if before[b] > 0 and remaining[b] > 0:
                share = _share_logit(before[b], remaining[b])
            seen[b, 0] = share / 6
            seen[b, 1], seen[b, 2] = _brightness(before[b]), _brightness(remaining[b])
        _remember(weights.layer_memory, seen, memory)
        active = _relu(memory + weights.layer_place[layer])
        out = _linear(_relu(_linear(active, weights.layer_hidden)), weights.layer_out)
        for b in range(n):
            left = 0.0
            if remaining[b] > 0:
                left = _divide(out[b], remaining[b], state, b)
                if len(found) > 0:
                    found[b] += _log_probability(out[b], remaining[b], left)
            layers[b, layer] = before[b] = left
            remaining[b] -= left
    layers[:, _LAYERS - 1] = np.maximum(remaining, 0.0)
    return layers


@numba.njit(**_OPTIONS)
def _cells(weights, known, layers, cells, state, found):  # pragma: no cover
    """Fill the cells of all layers."""
    n = len(known)
    bright = np.zeros((_KEPT, _INSIDE + _RINGS + _OUTSIDE, _PARTS, n), np.float32)
    rest = np.zeros((_KEPT, _RINGS + _OUTSIDE, n), np.float32)
    leans = np.zeros((len(_KEEPS), _INSIDE + _RINGS + _OUTSIDE, _PARTS, n), np.float32)
    faded = np.zeros((len(_KEEPS), _RINGS, _PARTS, n))
    energy = np.empty((_RINGS, _PARTS, n))
    shining = np.empty((n, _ANGLES * _RINGS), np.float32)
    memory = np.zeros((n, len(weights.memory.state_bias) // 3), np.float32)
    facts = _whole_facts(known, layers, memory.shape[1])
    work = _work(weights, n)
    for layer in range(_LAYERS):
        here = layer % _KEPT
        bright[here], rest[here], energy[:] = 0.0, 0.0, 0.0
        context = _context(weights, layers, layer, memory, facts)
        before = (bright, rest, leans)
        _rings(weights.ring, context, layers[:, layer], before, layer, energy, state, found, work)
        _angles(weights, context, before, layer, energy, state, found, work)
        for angle in range(_ANGLES):
            for ring in range(_RINGS):
                part = _ANGLES - 1 + angle
                for b in range(n):
                    shining[b, angle * _RINGS + ring] = bright[here, _INSIDE + ring, part, b]
                    cells[b, layer, angle, ring] = energy[ring, part, b]
        _remember(weights.memory, _relu(_linear(shining, weights.cells)), memory)
        for i in range(len(_KEEPS)):
            _fade(faded[i], _KEEPS[i], energy, leans[i])


@numba.njit(**_OPTIONS)
def _fade(faded, keeps, energy, leans):  # pragma: no cover
    """Bring the energies of all layers before up to the next one, and fill how they are divided."""
    n = energy.shape[2]
    beyond = np.zeros(n)
    for ring in range(_RINGS - 1, -1, -1):
        for part in range(_PARTS):
            for b in range(n):
                new = energy[ring, part, b]
                faded[ring, part, b] += (1 - keeps) * (new - faded[ring, part, b])
        lean = leans[_INSIDE + ring]
        if ring < _RINGS - 1:
            _lean(faded[ring, 0], beyond, lean[0])
        for left in range(1, _PARTS, 2):
            _lean(faded[ring, left], faded[ring, left + 1], lean[left])
        beyond += faded[ring, 0]


@numba.njit(**_OPTIONS)
def _lean(left, right, lean):  # pragma: no cover
    for b in range(len(left)):
        lean[b] = (left[b] - right[b]) / max(left[b] + right[b], _FAINTEST)


@numba.njit(**_OPTIONS)
def _whole_facts(known, layers, n_memory):  # pragma: no cover
    """Return room for `network.layer_facts` behind the memory, with what all layers share filled in."""
    n, n_known = known.shape
    m = n_memory + 2 * _WINDOW + 1
    facts = np.zeros((n, m + 4 + n_known), np.float32)
    facts[:, m + 4 :] = known
    for b in range(n):
        whole = depth = square = 0.0
        for layer in range(_LAYERS):
            whole += layers[b, layer]
            depth += layer * layers[b, layer]
            square += layer * layer * layers[b, layer]
        depth /= whole
        facts[b, m], facts[b, m + 1] = _brightness(whole), depth / 20
        facts[b, m + 2] = math.sqrt(max(square / whole - depth * depth, 0.0)) / 10
    return facts


@numba.njit(**_OPTIONS)
def _context(weights, layers, layer, memory, facts):  # pragma: no cover
    """Return what is known of a layer before it is divided, shape (shower, context)."""
    m = memory.shape[1]
    facts[:, :m] = memory
    for b in range(len(layers)):
        for i in range(2 * _WINDOW + 1):
            at = layer + i - _WINDOW
            facts[b, m + i] = _brightness(layers[b, at]) if 0 <= at < _LAYERS else _ZERO
        depth = np.float32(20.0) * facts[b, m + 2 * _WINDOW + 2]
        facts[b, m + 2 * _WINDOW + 4] = (layer - depth) / 10
    hidden = _linear(facts, weights.context_in)
    hidden += weights.context_place[layer]
    return _relu(_linear(_relu(hidden), weights.context_out))


@numba.njit(**_OPTIONS)
def _work(weights, n):  # pragma: no cover
    """Return room for n divisions: their showers, what is seen of them, two hidden layers, outputs."""
    w = weights.ring
    return (
        np.empty(n, np.int64),
        np.empty((n, _RING_INPUTS), np.float32),
        np.empty((n, _ANGLE_INPUTS), np.float32),
        np.empty((n, len(w.far.bias)), np.float32),
        np.empty((n, len(w.hidden.bias)), np.float32),
        np.empty((n, _OUTPUTS), np.float32),
    )


@numba.njit(**_OPTIONS)
def _rings(w, context, whole, before, layer, energy, state, found, work):  # pragma: no cover
    """Divide a layer among its rings."""
    bright, rest, leans = before
    short, long = leans[0], leans[1]
    chosen, seen, _, first, hidden, out = work
    here, b1, b2 = layer % _KEPT, (layer - 1) % _KEPT, (layer - 2) % _KEPT
    far = _linear(context, w.far)
    remaining = whole.copy()
    for b in range(len(whole)):
        rest[here, 0, b] = _brightness(whole[b])
    for ring in range(_RINGS - 1):
        r = ring + _INSIDE
        n = _filled(remaining, chosen)
        if n == 0:
            break
        _see(seen, 0, rest[here, ring], chosen, n)
        _see(seen, 1, rest[here, 0], chosen, n)
        _see(seen, 2, bright[here, r - 1, 0], chosen, n)
        _see(seen, 3, bright[here, r - 2, 0], chosen, n)
        _see(seen, 4, bright[b1, r - 1, 0], chosen, n)
        _see(seen, 5, bright[b1, r, 0], chosen, n)
        _see(seen, 6, bright[b1, r + 1, 0], chosen, n)
        _see(seen, 7, rest[b1, ring + 2], chosen, n)
        _see(seen, 8, bright[b2, r, 0], chosen, n)
        _see(seen, 9, rest[b2, ring + 1], chosen, n)
        _see(seen, 10, bright[b2, r - 1, 0], chosen, n)
        _see(seen, 11, short[r - 1, 0], chosen, n)
        _see(seen, 12, short[r, 0], chosen, n)
        _see(seen, 13, short[r + 1, 0], chosen, n)
        _see(seen, 14, long[r, 0], chosen, n)
        _ask(w, far, ring, seen, remaining, chosen, n, first, hidden, out)
        for c in range(n):
            b = chosen[c]
            left = _divide_stepped(w, out[c], hidden[c], remaining[b], state, b)
            if len(found) > 0:
                found[b] += _stepped_log_probability(w, out[c], hidden[c], remaining[b], left)
            energy[ring, 0, b] = left
            remaining[b] -= left
            bright[here, r, 0, b] = _brightness(left)
            rest[here, ring + 1, b] = _brightness(remaining[b])
    for b in range(len(whole)):
        energy[_RINGS - 1, 0, b] = max(remaining[b], 0.0)
        bright[here, _RINGS - 1 + _INSIDE, 0, b] = _brightness(remaining[b])


@numba.njit(**_OPTIONS)
def _angles(weights, context, before, layer, energy, state, found, work):  # pragma: no cover
    """Halve each ring of a layer down to its cells."""
    bright, _, leans = before
    chosen, _, seen, first, hidden, out = work
    here = layer % _KEPT
    far = np.empty((_LEVELS, len(context), first.shape[1]), np.float32)
    for level in range(_LEVELS):
        far[level] = _linear(context, weights.angles[level].far)
    for ring in range(_RINGS):
        for level in range(_LEVELS):
            w = weights.angles[level]
            n_parts = 1 << level
            for part in range(n_parts):
                whole = energy[ring, n_parts - 1 + part]
                n = _filled(whole, chosen)
                if n == 0:
                    continue
                _see_halves(bright, leans, layer, ring + _INSIDE, n_parts, part, seen, chosen, n)
                _ask(w, far[level], ring * n_parts + part, seen, whole, chosen, n, first, hidden, out)
                at = 2 * n_parts - 1 + 2 * part
                for c in range(n):
                    b = chosen[c]
                    left = _divide_stepped(w, out[c], hidden[c], whole[b], state, b)
                    if len(found) > 0:
                        found[b] += _stepped_log_probability(w, out[c], hidden[c], whole[b], left)
                    right = whole[b] - left
                    energy[ring, at, b], energy[ring, at + 1, b] = left, right
                    bright[here, ring + _INSIDE, at, b] = _brightness(left)
                    bright[here, ring + _INSIDE, at + 1, b] = _brightness(right)


@numba.njit(**_OPTIONS)
def _see_halves(bright, leans, layer, r, n_parts, part, seen, chosen, n):  # pragma: no cover
    """Fill what is seen when a part of a ring is halved, as in `neighbours.angle_inputs`."""
    here, b1, b2 = layer % _KEPT, (layer - 1) % _KEPT, (layer - 2) % _KEPT
    own, inside, inside2 = bright[here, r], bright[here, r - 1], bright[here, r - 2]
    parts, halves = n_parts - 1, 2 * n_parts - 1
    a = halves + 2 * part
    before = halves + (2 * part - 1) % (2 * n_parts)
    behind = halves + (2 * part + 2) % (2 * n_parts)
    _see(seen, 0, own[parts + part], chosen, n)
    # The half before the first part is not known yet, that after the last one is.
    seen[:n, 1] = seen[:n, 2] = 0.0
    if part > 0:
        _see(seen, 1, own[before], chosen, n)
    if n_parts > 1 and part == n_parts - 1:
        _see(seen, 2, own[behind], chosen, n)
    _see(seen, 3, own[parts + (part - 1) % n_parts], chosen, n)
    _see(seen, 4, own[parts + (part + 1) % n_parts], chosen, n)
    _see(seen, 5, inside[before], chosen, n)
    _see(seen, 6, inside[a], chosen, n)
    _see(seen, 7, inside[a + 1], chosen, n)
    _see(seen, 8, inside[behind], chosen, n)
    _see(seen, 9, inside2[a], chosen, n)
    _see(seen, 10, inside2[a + 1], chosen, n)
    _see(seen, 11, own[0], chosen, n)
    _see(seen, 12, bright[here, r + 1, 0], chosen, n)
    _see(seen, 13, bright[b1, r, before], chosen, n)
    _see(seen, 14, bright[b1, r, a], chosen, n)
    _see(seen, 15, bright[b1, r, a + 1], chosen, n)
    _see(seen, 16, bright[b1, r, behind], chosen, n)
    _see(seen, 17, bright[b1, r + 1, a], chosen, n)
    _see(seen, 18, bright[b1, r + 1, a + 1], chosen, n)
    _see(seen, 19, bright[b1, r - 1, a], chosen, n)
    _see(seen, 20, bright[b1, r - 1, a + 1], chosen, n)
    _see(seen, 21, bright[b2, r, a], chosen, n)
    _see(seen, 22, bright[b2, r, a + 1], chosen, n)
    _see(seen, 23, leans[0, r, a], chosen, n)
    _see(seen, 24, leans[0, r + 1, a], chosen, n)
    _see(seen, 25, leans[0, r - 1, a], chosen, n)
    for ring in range(_AXIS):
        _see(seen, 26 + ring, leans[1, _INSIDE + ring, a], chosen, n)


@numba.njit(**_OPTIONS)
def _see(seen, column, values, chosen, n):  # pragma: no cover
    for c in range(n):
        seen[c, column] = values[chosen[c]]


@numba.njit(**_OPTIONS)
def _filled(energy_mev, chosen):  # pragma: no cover
    """Return how many showers hold energy, and put their numbers first into `chosen`."""
    n = 0
    for b in range(len(energy_mev)):
        chosen[n] = b
        n += energy_mev[b] > 0
    return n


@numba.njit(**_OPTIONS)
def _ask(w, far, place, seen, whole_mev, chosen, n, first, hidden, out):  # pragma: no cover
    """Fill what the network says of the n divisions in one place."""
    np.dot(seen[:n], w.near, first[:n])
    for c in range(n):
        b = chosen[c]
        step = _step_number(whole_mev[b])
        for j in range(first.shape[1]):
            known = far[b, j] + w.place[place, j] + w.whole[step, j]
            first[c, j] = max(first[c, j] + known, _ZERO)
    np.dot(first[:n], w.hidden.weights, hidden[:n])
    for c in range(n):
        for j in range(hidden.shape[1]):
            hidden[c, j] = max(hidden[c, j] + w.hidden.bias[j], _ZERO)
    np.dot(hidden[:n], w.out.weights, out[:n])
    out[:n] += w.out.bias


@numba.njit(**_OPTIONS)
def _remember(unit, seen, memory):  # pragma: no cover
    """Let gated recurrent units see something: their states change, shape (shower, state)."""
    m = memory.shape[1]
    new = _product(seen, unit.from_input) + unit.input_bias
    old = _product(memory, unit.from_state) + unit.state_bias
    one, two = np.float32(1.0), np.float32(2.0)
    for b in range(len(memory)):
        for i in range(m):
            reset = one / (one + math.exp(-(new[b, i] + old[b, i])))
            update = one / (one + math.exp(-(new[b, m + i] + old[b, m + i])))
            x = new[b, 2 * m + i] + reset * old[b, 2 * m + i]
            fresh = one - two / (one + math.exp(two * x))  # tanh, which takes longer
            memory[b, i] = (one - update) * fresh + update * memory[b, i]


@numba.njit(**_OPTIONS)
def _linear(x, layer):  # pragma: no cover
    return _product(x, layer.weights) + layer.bias


@numba.njit(**_OPTIONS)
def _product(x, weights):  # pragma: no cover
    """Return x @ weights, in parts so small that OpenBLAS starts no threads for them.

    Those would wait for each other longer than they compute, and far longer on a busy machine.
    """
    (n, n_in), n_out = x.shape, weights.shape[1]
    out = np.empty((n, n_out), np.float32)
    rows = max(_ALONE // (n_in * n_out), 1)
    for first in range(0, n, rows):
        np.dot(x[first : first + rows], weights, out[first : first + rows])
    return out


@numba.njit(**_OPTIONS)
def _relu(x):  # pragma: no cover
    return np.maximum(x, _ZERO)


@numba.njit(**_OPTIONS)
def _divide(out, whole_mev, state, shower):  # pragma: no cover
    """Return the energy of the first half in MeV.

    Args:
        out: What the network says of the division, shape (`splits.N_OUTPUTS`,), float32.
        whole_mev: Energy that is divided.
        state: Counters of all showers, uint64.
        shower: Whose random numbers are taken.
    """
    both = out[2] if whole_mev >= 2 * _THRESHOLD else _NEVER
    top = max(out[0], out[1], both)
    left, right = math.exp(out[0] - top), math.exp(out[1] - top)
    u = _uniform(state, shower) * (left + right + math.exp(both - top))
    if u < left:
        return whole_mev
    if u < left + right:
        return 0.0
    return _divide_by_share(out, whole_mev, state, shower)


@numba.njit(**_OPTIONS)
def _divide_by_share(out, whole_mev, state, shower):  # pragma: no cover
    k = _choose(out[3 : 3 + _K], _uniform(state, shower))
    u = _uniform(state, shower)
    scale = math.exp(min(max(out[3 + 2 * _K + k], _MIN_SCALE), _MAX_SCALE))
    z = out[3 + _K + k] + scale * math.log(u / (1 - u))
    share = 1 / (1 + math.exp(-min(max(z, -_MAX_LOGIT), _MAX_LOGIT)))
    return _THRESHOLD + (whole_mev - 2 * _THRESHOLD) * share


@numba.njit(**_OPTIONS)
def _divide_stepped(w, out, hidden, whole_mev, state, shower):  # pragma: no cover
    """Return the energy of the first half in MeV where its density has steps, as `_divide` does.

    Args:
        w: Weights of the network.
        out: What it says, shape (`splits.N_STEPPED_OUTPUTS`,).
        hidden: Its last layer, from which the steps are computed only where one is chosen.
        whole_mev: Energy that is divided.
        state: Counters of all showers, uint64.
        shower: Whose random numbers are taken.
    """
    u = _uniform(state, shower)
    k = _choose(_outcome_logits(out, whole_mev), u)
    if k == 0:
        return whole_mev
    if k == 1:
        return 0.0
    if k == 2:
        return _divide_by_share(out, whole_mev, state, shower)
    logits = _step_logits(w, hidden, k - 3, whole_mev)
    i = _choose(logits, _uniform(state, shower))
    u = _uniform(state, shower)
    mine = math.exp(_LOG_EDGES[i] + u * (_LOG_EDGES[i + 1] - _LOG_EDGES[i]))
    return mine if k == 3 else whole_mev - mine


@numba.njit(**_OPTIONS)
def _outcome_logits(out, whole_mev):  # pragma: no cover
    """Return `splits.stepped_logits`, shape (5,)."""
    logits = np.empty(5, np.float32)
    logits[0], logits[1] = out[0], out[1]
    logits[2] = out[2] if whole_mev >= 2 * _THRESHOLD else _NEVER
    stepped = whole_mev >= _EDGES[1] + _THRESHOLD
    logits[3] = out[_OUTPUTS - 2] if stepped else _NEVER
    logits[4] = out[_OUTPUTS - 1] if stepped else _NEVER
    return logits


@numba.njit(**_OPTIONS)
def _step_logits(w, hidden, half, whole_mev):  # pragma: no cover
    """Return the logits of the steps that leave the other half a threshold, shape (allowed,)."""
    n = _STEPS
    while n > 1 and _EDGES[n] > whole_mev - _THRESHOLD:
        n -= 1
    weights, logits = w.steps[half], w.step_bias[half, :n].copy()
    for i in range(n):
        total = _ZERO
        for j in range(len(hidden)):
            total += hidden[j] * weights[i, j]
        logits[i] += total
    return logits


@numba.njit(**_OPTIONS)
def _step_number(energy_mev):  # pragma: no cover
    """Return `splits.step_number` of an energy."""
    low, high = 0, _STEPS
    while low < high:
        middle = (low + high) // 2
        if energy_mev < _EDGES[middle + 1]:
            high = middle
        else:
            low = middle + 1
    return low


@numba.njit(**_OPTIONS)
def _stepped_log_probability(w, out, hidden, whole_mev, left_mev):  # pragma: no cover
    """Return the logarithm of the probability of a division, as `splits` does."""
    logits = _outcome_logits(out, whole_mev)
    top = logits.max()
    total = 0.0
    for k in range(5):
        total += math.exp(logits[k] - top)
    rest = top + math.log(total)
    if left_mev >= whole_mev:
        return logits[0] - rest
    if left_mev <= 0:
        return logits[1] - rest
    right_mev = whole_mev - left_mev
    z = _share_logit(left_mev, right_mev)
    share = _mixture_log_density(out[3 : 3 + 3 * _K], z, _MIN_SCALE, _MAX_SCALE)
    density = math.exp(logits[2] - rest + share)
    left, right = max(left_mev - _THRESHOLD, 1e-9), max(right_mev - _THRESHOLD, 1e-9)
    for half in range(2):
        mine = left_mev if half == 0 else right_mev
        i = _step_number(mine)
        steps = _step_logits(w, hidden, half, whole_mev)
        if i < len(steps):
            top = steps.max()
            total = 0.0
            for k in range(len(steps)):
                total += math.exp(steps[k] - top)
            chance = math.exp(logits[3 + half] - rest + steps[i] - top) / total
            slope = left * right / ((left + right) * mine)
            density += chance * slope / (_LOG_EDGES[i + 1] - _LOG_EDGES[i])
    return math.log(density)


@numba.njit(**_OPTIONS)
def _log_probability(out, whole_mev, left_mev):  # pragma: no cover
    """Return the logarithm of the probability of a division, as `splits.log_probability` does."""
    both = out[2] if whole_mev >= 2 * _THRESHOLD else _NEVER
    top = max(out[0], out[1], both)
    total = math.exp(out[0] - top) + math.exp(out[1] - top) + math.exp(both - top)
    rest = top + math.log(total)
    if left_mev >= whole_mev:
        return out[0] - rest
    if left_mev <= 0:
        return out[1] - rest
    z = _share_logit(left_mev, whole_mev - left_mev)
    return both - rest + _mixture_log_density(out[3:], z, _MIN_SCALE, _MAX_SCALE)


@numba.njit(**_OPTIONS)
def _mixture_log_density(out, z, low, high):  # pragma: no cover
    """Return the logarithm of the density of a mixture of logistic distributions.

    Args:
        out: Logits, means and log scales of the components, one after the other.
        z: Where.
        low: Smallest log scale.
        high: Largest.
    """
    n = len(out) // 3
    top = out[0]
    for i in range(1, n):
        top = max(top, out[i])
    total = density = 0.0
    for i in range(n):
        log_scale = min(max(out[2 * n + i], low), high)
        u = (z - out[n + i]) * math.exp(-log_scale)
        weight = math.exp(out[i] - top)
        total += weight
        softplus = max(-u, 0.0) + math.log1p(math.exp(-abs(u)))
        density += weight * math.exp(-u - log_scale - 2 * softplus)
    return math.log(density / total)


@numba.njit(**_OPTIONS)
def _choose(logits, u):  # pragma: no cover
    """Return the number of a component, chosen by its logit."""
    top = logits[0]
    for i in range(1, len(logits)):
        top = max(top, logits[i])
    total = _ZERO
    for i in range(len(logits)):
        total += math.exp(logits[i] - top)
    u *= total
    for i in range(len(logits)):
        u -= math.exp(logits[i] - top)
        if u < 0:
            return i
    return len(logits) - 1


@numba.njit(**_OPTIONS)
def _brightness(energy_mev):  # pragma: no cover
    """Return `neighbours.brightness` of an energy."""
    return math.log(_ONE + np.float32(max(energy_mev, 0.0) / _THRESHOLD)) * np.float32(0.25)


@numba.njit(**_OPTIONS)
def _share_logit(left_mev, right_mev):  # pragma: no cover
    """Return `splits.share_logit` of two energies."""
    left, right = max(left_mev - _THRESHOLD, 1e-9), max(right_mev - _THRESHOLD, 1e-9)
    return min(max(math.log(left) - math.log(right), -_MAX_LOGIT), _MAX_LOGIT)


@numba.njit(**_OPTIONS)
def _uniform(state, shower):  # pragma: no cover
    """Return a number between 0 and 1, both excluded, and step on."""
    state[shower] += _GOLDEN
    x = state[shower]
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    x = x ^ (x >> np.uint64(31))
    return (np.float64(x >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16
