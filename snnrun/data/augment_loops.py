"""The compiled part of augmentation: one pass over the spikes of a batch.

Random numbers are a hash of (sample's key, counter), SplitMix64 (Steele, Lea & Flood 2014): there is no generator with
a state, so draws depend neither on the order of samples nor on who prepares them.
"""

import math

import numpy as np

from snnrun.kernels.cpu.vector import compiled_exactly

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_PICTURE, _DROPS, _JITTER = np.uint64(1), np.uint64(2), np.uint64(3)  # streams of a sample


@compiled_exactly
def _mixed(z):  # type: ignore[no-untyped-def]
    z = (z ^ (z >> np.uint64(30))) * _FIRST
    z = (z ^ (z >> np.uint64(27))) * _SECOND
    return z ^ (z >> np.uint64(31))


@compiled_exactly
def _uniform(key, counter):  # type: ignore[no-untyped-def]
    """In [0, 1)."""
    return (_mixed(key + np.uint64(counter + 1) * _GOLDEN) >> np.uint64(11)) * 2.0**-53


@compiled_exactly
def keys_of(seed, epoch, indices):  # type: ignore[no-untyped-def]
    """Keys of the samples' draws, uint64 [len(indices)]."""
    base = _mixed(_mixed(np.uint64(seed) + _GOLDEN) + np.uint64(epoch))
    keys = np.empty(len(indices), np.uint64)
    for b in range(len(indices)):
        keys[b] = _mixed(base + np.uint64(indices[b]) * _GOLDEN)
    return keys


@compiled_exactly
def _fill_sources(key, y_basis, x_basis, shift, radians, zoom, elastic, source):  # type: ignore[no-untyped-def]
    """Fill source [H, W]: the pixel whose spikes each pixel takes over, -1 where there is none.

    A pixel at v from the middle takes what lay at R(-angle) (v - move) / factor + a smooth random field.
    """
    height, width = source.shape
    knots = y_basis.shape[1]
    down = math.floor(_uniform(key, 0) * (2 * shift + 1)) - shift
    right = math.floor(_uniform(key, 1) * (2 * shift + 1)) - shift
    angle = (2 * _uniform(key, 2) - 1) * radians
    factor = math.exp((2 * _uniform(key, 3) - 1) * math.log(1 + zoom))
    cosine, sine = math.cos(angle) / factor, math.sin(angle) / factor
    field = np.zeros((2, height, knots))
    if elastic > 0:
        counter = 4
        for way in range(2):
            for j in range(knots):
                for k in range(knots):
                    deviate = elastic * math.sqrt(3.0) * (2 * _uniform(key, counter) - 1)  # of standard deviation 1
                    counter += 1
                    for y in range(height):
                        field[way, y, k] += y_basis[y, j] * deviate
    middle_y, middle_x = (height - 1) / 2, (width - 1) / 2
    for y in range(height):
        for x in range(width):
            there_y, there_x = y - middle_y - down, x - middle_x - right
            from_y = cosine * there_y - sine * there_x + middle_y
            from_x = sine * there_y + cosine * there_x + middle_x
            if elastic > 0:
                for k in range(knots):
                    from_y += field[0, y, k] * x_basis[x, k]
                    from_x += field[1, y, k] * x_basis[x, k]
            row, column = math.floor(from_y + 0.5), math.floor(from_x + 0.5)
            inside = 0 <= row < height and 0 <= column < width
            source[y, x] = row * width + column if inside else -1


@compiled_exactly
def _turn_round(source, start, targets):  # type: ignore[no-untyped-def]
    """From the source of each pixel to the targets of each: targets[start[q] : start[q + 1]] take over q's spikes."""
    flat = source.ravel()
    start[:] = 0
    for q in flat:
        if q >= 0:
            start[q + 1] += 1
    for q in range(len(flat)):
        start[q + 1] += start[q]
    place = start[:-1].copy()
    for p in range(len(flat)):
        q = flat[p]
        if q >= 0:
            targets[place[q]] = p
            place[q] += 1


@compiled_exactly
def changed(  # type: ignore[no-untyped-def]
    offsets, address, keys, inputs, height, width, y_basis, x_basis, shift, radians, zoom, elastic, drop, jitter
):
    """Spikes of a batch, changed; each as its index into [B, T, inputs] flattened, in no order, some perhaps twice.

    Args:
        offsets, address: as in :class:`snnrun.snn.Events`.
        keys: of every sample's draws, uint64 [B].
        height, width: of a channel's picture; 0 where pictures stay as they are.
        y_basis, x_basis: Gaussians that blend the smooth field, float64 [height, knots] and [width, knots].
    """
    samples, T = offsets.shape[0], offsets.shape[1] - 1
    pixels = height * width
    source, start, targets = (
        np.empty((height, width), np.int32),
        np.zeros(pixels + 1, np.int32),
        np.empty(pixels, np.int32),
    )
    result = np.empty(len(address), np.int64)
    made = 0
    for b in range(samples):
        drops, jitters = _mixed(keys[b] + _DROPS), _mixed(keys[b] + _JITTER)
        draw = 0
        if pixels:
            _fill_sources(_mixed(keys[b] + _PICTURE), y_basis, x_basis, shift, radians, zoom, elastic, source)
            _turn_round(source, start, targets)
        for t in range(T):
            for i in range(offsets[b, t], offsets[b, t + 1]):
                channel, first, last = 0, 0, 1
                if pixels:
                    channel = address[i] // pixels
                    pixel = address[i] - channel * pixels
                    first, last = start[pixel], start[pixel + 1]
                for j in range(first, last):
                    draw += 1
                    if drop > 0 and _uniform(drops, draw) < drop:
                        continue
                    step = t
                    if jitter > 0:
                        step += math.floor(_uniform(jitters, draw) * (2 * jitter + 1)) - jitter
                        if step < 0 or step >= T:
                            continue
                    if made == len(result):
                        result = np.concatenate((result, np.empty(len(result) + 16, np.int64)))
                    where = channel * pixels + targets[j] if pixels else address[i]
                    result[made] = (b * T + step) * inputs + where
                    made += 1
    return result[:made]
