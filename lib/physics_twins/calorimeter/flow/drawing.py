"""Draw showers from the flow's weights, in compiled code: a block of showers goes division by division.

All showers of a block are divided in the same place together, so that the weights are read once for
all of them; those that are empty there cost nothing. A shower does not depend on the others of its
block. Each has random numbers of its own: a counter goes through splitmix64 (Steele et al.
2014, OOPSLA, 453); which of them a division takes is told by its place. `graph` draws the same showers
from the same numbers, only slower: a test holds them together. All is in one file since numba, which
keeps what it has compiled, notices no change in another.
"""

import math

import numba
import numpy as np

from physics_twins.calorimeter.flow import neighbours, splits
from physics_twins.calorimeter.flow import network as networks

_LAYERS, _ANGLES, _RINGS = neighbours.N_LAYERS, neighbours.N_ANGLES, neighbours.N_RINGS
_PLACES, _ROWS = neighbours.N_PLACES, neighbours.N_ROWS
_OF_RING, _CELLS = neighbours.OF_RING, neighbours.CELLS
_KEEPS, _FAINTEST = neighbours.KEEPS, neighbours.FAINTEST_MEV
_OUTPUTS, _EDGES, _STEPS = splits.N_STEPPED_OUTPUTS, splits.STEP_EDGES_MEV, splits.N_STEPS
_LOG_EDGES = np.log(splits.STEP_EDGES_MEV)
_TOTAL_K, _WINDOW = networks.N_TOTAL_COMPONENTS, networks.N_WINDOW
_SAMPLED, _PER_LOG = networks.SAMPLED, networks.PER_LOG
_MIN_TOTAL, _MAX_TOTAL = np.float32(networks.MIN_LOG_SCALE), np.float32(networks.MAX_LOG_SCALE)
# Random numbers: two for a shower's energy, three for each division.
_OF_TOTAL, _OF_DIVISION = 2, 3
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
def draw(weights, conditions, incident_mev, seeds, cells):  # pragma: no cover
    """Fill showers.

    Args:
        weights: From `weights.pack`.
        conditions: Shape (shower, 3), float32, see `network.conditions`.
        incident_mev: Shape (shower,), float64.
        seeds: Shape (shower,), uint64.
        cells: In MeV, shape (shower, layer, angle, ring), float32; all zero at the start.
    """
    for first in range(0, len(seeds), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(seeds)))
        known, own = conditions[block], seeds[block]
        visible = _total(weights, known, incident_mev[block], own)
        layers = _layers(weights, known, visible, own)
        if weights.sampled:
            cells[block][:, :, 0, 0] = layers
        else:
            _cells(weights, known, layers, cells[block], own)


@numba.njit(**_OPTIONS)
def _total(weights, known, incident_mev, seeds):  # pragma: no cover
    """Return the visible energies in MeV."""
    first, second, third = weights.total
    out = _linear(_relu(_linear(_relu(_linear(known, first)), second)), third)
    visible = np.empty(len(known))
    step = np.float32(3.0 / (_TOTAL_K - 1))
    for b in range(len(known)):
        for i in range(_TOTAL_K):
            out[b, _TOTAL_K + i] += step * i - np.float32(1.0)
        k = _choose(out[b, :_TOTAL_K], _uniform(seeds[b], 0))
        u = _uniform(seeds[b], 1)
        scale = math.exp(min(max(out[b, 2 * _TOTAL_K + k], _MIN_TOTAL), _MAX_TOTAL))
        place = out[b, _TOTAL_K + k] + scale * math.log(u / (1 - u))
        # See `network.visible_place`. Less than a thousandth of what is usual is never seen.
        if weights.sampled:
            place = min(max(place, _PER_LOG * math.log(1e-3)), _PER_LOG * math.log(0.999 / _SAMPLED))
            visible[b] = incident_mev[b] * _SAMPLED * math.exp(place / _PER_LOG)
        else:
            place = min(max(place, math.log(1e-4) + 4.2), math.log(0.999) + 4.2)
            visible[b] = incident_mev[b] * (1 - math.exp(place - 4.2))
    return visible


@numba.njit(**_OPTIONS)
def _layers(weights, known, visible, seeds):  # pragma: no cover
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
                number = _OF_TOTAL + _OF_DIVISION * layer
                left = _divide(out[b], remaining[b], seeds[b], number)
            layers[b, layer] = before[b] = left
            remaining[b] -= left
    layers[:, _LAYERS - 1] = np.maximum(remaining, 0.0)
    return layers


@numba.njit(**_OPTIONS)
def _cells(weights, known, layers, cells, seeds):  # pragma: no cover
    """Fill the cells of all layers."""
    n, table = len(known), weights.divisions
    rows = np.zeros((_ROWS * _PLACES, n), np.float32)
    own = rows[-_PLACES:]
    energy, faded = np.empty((_PLACES, n)), np.zeros((len(_KEEPS), _PLACES, n))
    shining = np.empty((n, _ANGLES * _RINGS), np.float32)
    memory = np.zeros((n, len(weights.memory.state_bias) // 3), np.float32)
    facts = _whole_facts(known, layers, memory.shape[1])
    work = _work(weights, n)
    number = _OF_TOTAL + _OF_DIVISION * (_LAYERS - 1)
    for layer in range(_LAYERS):
        context = _context(weights, layers, layer, memory, facts)
        energy[:], own[:] = 0.0, 0.0
        for b in range(n):
            energy[table.whole[0], b] = layers[b, layer]
            own[table.whole[0], b] = _brightness(layers[b, layer])
        _divide_layer(weights, context, energy, rows, seeds, number, work)
        number += _OF_DIVISION * len(table.kind)
        for angle in range(_ANGLES):
            for ring in range(_RINGS):
                place = ring * _OF_RING + _CELLS + angle
                for b in range(n):
                    shining[b, angle * _RINGS + ring] = own[place, b]
                    cells[b, layer, angle, ring] = energy[place, b]
        _remember(weights.memory, _relu(_linear(shining, weights.cells)), memory)
        _go_on(table, energy, faded, rows)


@numba.njit(**_OPTIONS)
def _divide_layer(weights, context, energy, rows, seeds, number, work):  # pragma: no cover
    """Fill the energies in the row of a layer, of which all together is known, and how they shine."""
    table, own = weights.divisions, rows[-_PLACES:]
    chosen, seen, first, hidden, out = work
    far = np.empty((len(weights.dividers), len(context), first.shape[1]), np.float32)
    for k in range(len(weights.dividers)):
        far[k] = _linear(context, weights.dividers[k].far)
    kind, w = 0, weights.dividers[0]
    for d in range(len(table.kind)):
        whole, at_left, at_right = energy[table.whole[d]], table.left[d], table.right[d]
        n = _filled(whole, chosen)
        if n == 0:
            continue
        if table.kind[d] != kind:  # taken anew each time, it costs one shower alone a tenth
            kind = table.kind[d]
            w = weights.dividers[kind]
        for i in range(seen.shape[1]):
            there = rows[(_ROWS - 1) * _PLACES + table.seen[d, i]]
            for c in range(n):
                seen[c, i] = there[chosen[c]]
        _ask(w, far[kind], table.number[d], seen, whole, chosen, n, first, hidden, out)
        for c in range(n):
            b = chosen[c]
            left = _divide_stepped(w, out[c], hidden[c], whole[b], seeds[b], number + _OF_DIVISION * d)
            right = whole[b] - left
            energy[at_left, b], energy[at_right, b] = left, right
            own[at_left, b], own[at_right, b] = _brightness(left), _brightness(right)


@numba.njit(**_OPTIONS)
def _go_on(table, energy, faded, rows):  # pragma: no cover
    """Bring the rows that are seen up to the next layer: what shone, and how all before leant."""
    for row in (2, 3):
        rows[row * _PLACES : (row + 1) * _PLACES] = rows[(row + 1) * _PLACES : (row + 2) * _PLACES]
    for i in range(len(_KEEPS)):
        faded[i] += (1 - _KEEPS[i]) * (energy - faded[i])
        first = (len(_KEEPS) - 1 - i) * _PLACES
        for d in range(len(table.left)):
            at_left, at_right = table.left[d], table.right[d]
            _lean(faded[i, at_left], faded[i, at_right], rows[first + at_left])


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
    w = weights.dividers[0]
    return (
        np.empty(n, np.int64),
        np.empty((n, len(w.near)), np.float32),
        np.empty((n, len(w.far.bias)), np.float32),
        np.empty((n, len(w.hidden.bias)), np.float32),
        np.empty((n, _OUTPUTS), np.float32),
    )


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
def _divide(out, whole_mev, seed, number):  # pragma: no cover
    """Return the energy of the first half in MeV.

    Args:
        out: What the network says of the division, shape (`splits.N_OUTPUTS`,), float32.
        whole_mev: Energy that is divided.
        seed: Of the shower's random numbers.
        number: The first of the three that are taken.
    """
    both = out[2] if whole_mev >= 2 * _THRESHOLD else _NEVER
    top = max(out[0], out[1], both)
    left, right = math.exp(out[0] - top), math.exp(out[1] - top)
    u = _uniform(seed, number) * (left + right + math.exp(both - top))
    if u < left:
        return whole_mev
    if u < left + right:
        return 0.0
    return _divide_by_share(out, whole_mev, seed, number)


@numba.njit(**_OPTIONS)
def _divide_by_share(out, whole_mev, seed, number):  # pragma: no cover
    k = _choose(out[3 : 3 + _K], _uniform(seed, number + 1))
    u = _uniform(seed, number + 2)
    scale = math.exp(min(max(out[3 + 2 * _K + k], _MIN_SCALE), _MAX_SCALE))
    z = out[3 + _K + k] + scale * math.log(u / (1 - u))
    share = 1 / (1 + math.exp(-min(max(z, -_MAX_LOGIT), _MAX_LOGIT)))
    return _THRESHOLD + (whole_mev - 2 * _THRESHOLD) * share


@numba.njit(**_OPTIONS)
def _divide_stepped(w, out, hidden, whole_mev, seed, number):  # pragma: no cover
    """Return the energy of the first half in MeV where its density has steps, as `_divide` does.

    Args:
        w: Weights of the network.
        out: What it says, shape (`splits.N_STEPPED_OUTPUTS`,).
        hidden: Its last layer, from which the steps are computed only where one is chosen.
        whole_mev: Energy that is divided.
        seed: Of the shower's random numbers.
        number: The first of the three that are taken.
    """
    k = _choose(_outcome_logits(out, whole_mev), _uniform(seed, number))
    if k == 0:
        return whole_mev
    if k == 1:
        return 0.0
    if k == 2:
        return _divide_by_share(out, whole_mev, seed, number)
    logits = _step_logits(w, hidden, k - 3, whole_mev)
    i = _choose(logits, _uniform(seed, number + 1))
    u = _uniform(seed, number + 2)
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
def _uniform(seed, number):  # pragma: no cover
    """Return one of a seed's numbers between 0 and 1, both excluded."""
    x = seed + np.uint64(number + 1) * _GOLDEN
    x = (x ^ (x >> np.uint64(30))) * _MIX1
    x = (x ^ (x >> np.uint64(27))) * _MIX2
    x = x ^ (x >> np.uint64(31))
    return (np.float64(x >> np.uint64(11)) + 0.5) * 1.1102230246251565e-16
