"""Draws the shapes of a body as an image of any size, one shape after another, on the CPU.

Each shape is a row of the table of :mod:`recon_datasets.bodies`. With u the coordinates along its semi-axes, divided
by them, rho = |u| and the complex direction c = (u_0 + i u_1) / rho, its edge is where

    rho = R(c) = 1 + Re(a_2 c^2) + Re(a_3 c^3)

and d = (R - rho) / |grad rho| is its signed distance there to first order. Its mask rises from 0 to 1 over the width
of the edge, as the smooth step 3 t^2 - 2 t^3. Waves advance along a row by one complex factor, so that no sine is
computed per pixel.
"""

import math

import numba
import numpy as np

from recon_datasets._bodies_layout import FIRST_WAVE, WAVES


@numba.njit(cache=True, nogil=True, fastmath=True, error_model="numpy")
def draw(shapes, image, z):  # type: ignore[no-untyped-def]
    """Draw the slice at height z into ``image``, (size, size), row 0 at y = +1."""
    size = image.shape[0]
    step = 2.0 / size
    image[:, :] = 0.0
    phase = np.empty(WAVES, dtype=np.complex128)
    turn = np.empty(WAVES, dtype=np.complex128)
    for k in range(shapes.shape[0]):
        row = shapes[k]
        height = (z - row[2]) / row[5]
        section = 1.0 - height * height
        if section <= 1e-3:
            continue
        scale = math.sqrt(section)
        first, second = row[3] * scale, row[4] * scale
        cosine, sine = math.cos(row[6]), math.sin(row[6])
        a2, a3 = complex(row[7], row[8]), complex(row[9], row[10])
        edge = row[11]
        reach = max(first, second) * (1.0 + abs(a2) + abs(a3)) + edge
        left = max(int((row[0] - reach + 1.0) / step - 0.5), 0)
        right = min(int((row[0] + reach + 1.0) / step + 1.5), size)
        top = max(int((1.0 - row[1] - reach) / step - 0.5), 0)
        bottom = min(int((1.0 - row[1] + reach) / step + 1.5), size)
        for w in range(WAVES):
            turn[w] = complex(
                math.cos(row[FIRST_WAVE + 5 * w + 1] * step), math.sin(row[FIRST_WAVE + 5 * w + 1] * step)
            )
        for r in range(top, bottom):
            y = 1.0 - (r + 0.5) * step - row[1]
            x = (left + 0.5) * step - 1.0 - row[0]
            for w in range(WAVES):
                at = FIRST_WAVE + 5 * w
                angle = row[at + 1] * x + row[at + 2] * y + row[at + 3] * (z - row[2]) + row[at + 4]
                phase[w] = row[at] * complex(math.cos(angle), math.sin(angle))
            for c in range(left, right):
                x = (c + 0.5) * step - 1.0 - row[0]
                u = (cosine * x + sine * y) / first
                v = (cosine * y - sine * x) / second
                rho = math.sqrt(u * u + v * v) + 1e-9
                slope = math.sqrt((u / first) ** 2 + (v / second) ** 2) / rho + 1e-9
                direction = complex(u / rho, v / rho)
                squared = direction * direction
                limit = 1.0 + (a2 * squared).real + (a3 * squared * direction).real
                t = (limit - rho) / (slope * edge) + 0.5
                if t > 0.0:
                    value = row[12] + row[13] * x + row[14] * y + row[15] * (z - row[2])
                    for w in range(WAVES):
                        value += phase[w].real
                    mask = 1.0 if t >= 1.0 else t * t * (3.0 - 2.0 * t)
                    if row[16] > 0.5:
                        image[r, c] += mask * value
                    else:
                        image[r, c] += mask * (max(value, 0.0) - image[r, c])
                for w in range(WAVES):
                    phase[w] *= turn[w]
