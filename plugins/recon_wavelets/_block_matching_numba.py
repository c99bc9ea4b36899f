"""The passes of block matching compiled by numba: cosine transforms of all patches, matching, shrinkage of the groups.

patches(image, basis)                          c[i, j] = the 64 coefficients of the 8 x 8 patch at (i, j)
shrink(noisy, guide, total, weight, ...)       for every reference patch: match, shrink together, add up
aggregate(total, weight, basis, window, ...)   the image: weighted mean of all estimates of each pixel
"""

# mypy: ignore-errors
# (numba infers the types of what it compiles)

import numpy as np

from recon_wavelets._compile_numba import jit

__all__ = ["aggregate", "patches", "shrink"]

SIDE = 8
SIZE = 64


@jit
def patches(image, basis):
    """Cosine coefficients of the patch at every place."""
    rows, columns = image.shape[0] - SIDE + 1, image.shape[1] - SIDE + 1
    strip = np.empty((SIDE, image.shape[1]), image.dtype)
    c = np.empty((rows, columns, SIZE), image.dtype)
    for i in range(rows):
        for u in range(SIDE):
            strip[u] = 0.0
            for a in range(SIDE):
                for j in range(image.shape[1]):
                    strip[u, j] += basis[u, a] * image[i + a, j]
        for j in range(columns):
            for u in range(SIDE):
                for v in range(SIDE):
                    total = image.dtype.type(0.0)
                    for b in range(SIDE):
                        total += strip[u, j + b] * basis[v, b]
                    c[i, j, u * SIDE + v] = total
    return c


@jit
def shrink(noisy, guide, total, weight, rows, columns, reach, most, threshold, variance):
    """Hard threshold of the group's coefficients, or (variance > 0) Wiener weights from the guide's."""
    places = np.empty((most, 2), np.int64)
    distances = np.empty(most, guide.dtype)
    stack = np.empty((most, SIZE), noisy.dtype)
    known = np.empty((most, SIZE), noisy.dtype)
    for i in rows:
        for j in columns:
            found = _match(guide, i, j, reach, places, distances)
            count = 1
            while 2 * count <= found:
                count *= 2
            for k in range(count):
                stack[k] = noisy[places[k, 0], places[k, 1]]
            _hadamard(stack, count)
            if variance > 0.0:
                for k in range(count):
                    known[k] = guide[places[k, 0], places[k, 1]]
                _hadamard(known, count)
                share = _wiener(stack, known, count, variance)
            else:
                share = _hard(stack, count, threshold)
            _hadamard(stack, count)
            for k in range(count):
                p, q = places[k, 0], places[k, 1]
                weight[p, q] += share
                for n in range(SIZE):
                    total[p, q, n] += share * stack[k, n]


@jit
def _match(guide, i, j, reach, places, distances):
    """The nearest patches in the window, the reference itself first; returns how many."""
    most, own = places.shape[0], guide[i, j]
    places[0, 0], places[0, 1], distances[0] = i, j, 0.0
    found = 1
    for p in range(max(i - reach, 0), min(i + reach + 1, guide.shape[0])):
        for q in range(max(j - reach, 0), min(j + reach + 1, guide.shape[1])):
            if p == i and q == j:
                continue
            other = guide[p, q]
            limit = distances[most - 1] if found == most else np.inf
            distance = guide.dtype.type(0.0)
            for start in range(0, SIZE, 16):  # low frequencies first: most candidates are far there already
                for n in range(start, start + 16):
                    step = own[n] - other[n]
                    distance += step * step
                if distance >= limit:
                    break
            if distance >= limit:
                continue
            k = found if found < most else most - 1
            while k > 1 and distances[k - 1] > distance:
                distances[k] = distances[k - 1]
                places[k, 0], places[k, 1] = places[k - 1, 0], places[k - 1, 1]
                k -= 1
            distances[k], places[k, 0], places[k, 1] = distance, p, q
            found = min(found + 1, most)
    return found


@jit
def _hadamard(stack, count):
    """The orthonormal Walsh-Hadamard transform along the stack; its own inverse."""
    half = stack.dtype.type(np.sqrt(0.5))
    length = 1
    while length < count:
        for start in range(0, count, 2 * length):
            for k in range(start, start + length):
                for n in range(SIZE):
                    a, b = stack[k, n], stack[k + length, n]
                    stack[k, n], stack[k + length, n] = half * (a + b), half * (a - b)
        length *= 2


@jit
def _hard(stack, count, threshold):
    kept = 0
    for k in range(count):
        for n in range(SIZE):
            if abs(stack[k, n]) > threshold or (k == 0 and n == 0):
                kept += 1
            else:
                stack[k, n] = 0.0
    return 1.0 / kept


@jit
def _wiener(stack, known, count, variance):
    squares = 0.0
    for k in range(count):
        for n in range(SIZE):
            power = known[k, n] * known[k, n]
            gain = power / (power + variance)
            stack[k, n] *= gain
            squares += gain * gain
    return 1.0 / max(squares, 1e-12)


@jit
def aggregate(total, weight, basis, window, image):
    """Inverse transforms, windowed, over the sum of weights; ``image`` comes as zeros."""
    rows, columns = weight.shape
    norm = np.zeros_like(image)
    half = np.empty((SIDE, SIDE), image.dtype)
    for i in range(rows):
        for j in range(columns):
            if weight[i, j] == 0.0:
                continue
            for u in range(SIDE):
                for b in range(SIDE):
                    value = image.dtype.type(0.0)
                    for v in range(SIDE):
                        value += total[i, j, u * SIDE + v] * basis[v, b]
                    half[u, b] = value
            for a in range(SIDE):
                for b in range(SIDE):
                    value = image.dtype.type(0.0)
                    for u in range(SIDE):
                        value += basis[u, a] * half[u, b]
                    image[i + a, j + b] += window[a, b] * value
                    norm[i + a, j + b] += window[a, b] * weight[i, j]
    for i in range(image.shape[0]):
        for j in range(image.shape[1]):
            image[i, j] /= norm[i, j]
