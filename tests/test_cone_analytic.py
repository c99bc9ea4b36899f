"""3-D projection against line integrals in closed form, and where a voxel lands (helpers serve FDK too)."""

import math

import numpy as np
import pytest
from recon_operators.tomography import ConeBeam, FanBeam, VectorBeam, circular_vectors, sparse_view
from test_tomography_analytic import (
    SHEPP_LOGAN,
    blob_image,
    blob_integrals,
    ellipse_image,
    ellipse_integrals,
    fan_lines,
    relative,
)

# value, sigma, x0, y0, z0 (fractions of half the side)
BLOBS = [(1.0, 0.1, 0.2, 0.3, -0.25), (0.7, 0.15, -0.3, -0.1, 0.3), (0.5, 0.08, 0.1, -0.4, 0.1)]
# value, semi-axes a, b, c, centre x0, y0, z0 (fractions of half the side), tilt about z in degrees
HEAD = [
    (1.0, 0.69, 0.92, 0.9, 0.0, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.874, 0.88, 0.0, -0.0184, 0.0, 0.0),
    (-0.2, 0.11, 0.31, 0.22, 0.22, 0.0, -0.25, -18.0),
    (-0.2, 0.16, 0.41, 0.21, -0.22, 0.0, -0.25, 18.0),
    (0.1, 0.21, 0.25, 0.35, 0.0, 0.35, -0.25, 0.0),
    (0.1, 0.1, 0.1, 0.1, 0.0, 0.1, 0.3, 0.0),
]


def axes(n, h=1.0):
    """x, y, z of the voxel centres of an n^3 volume, to be broadcast."""
    place = (np.arange(n) - (n - 1) / 2) * h
    return place[None, None, :], -place[None, :, None], place[:, None, None]


def blob_volume(n, h=1.0):
    x, y, z = axes(n, h)
    half = n * h / 2
    return sum(
        v
        * np.exp(
            -((x - x0 * half) ** 2 + (y - y0 * half) ** 2 + (z - z0 * half) ** 2) / (2 * (s * half) ** 2)
        )
        for v, s, x0, y0, z0 in BLOBS
    )


def head_volume(n, bodies=HEAD, sub=4):
    """Mean of each voxel over sub^3 points."""
    x, y, z = axes(n * sub, 1 / sub)
    total = np.zeros((n, n, n))
    for k in range(n):
        slab = np.zeros((sub, n * sub, n * sub))
        for v, a, b, c, x0, y0, z0, tilt in bodies:
            cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
            u, w = x - x0 * n / 2, y - y0 * n / 2
            t = z[k * sub : (k + 1) * sub] - z0 * n / 2
            inside = ((u * cos + w * sin) / a) ** 2 + ((w * cos - u * sin) / b) ** 2 + (t / c) ** 2
            slab += v * (inside <= (n / 2) ** 2)
        total[k] = slab.reshape(sub, n, sub, n, sub).mean(axis=(0, 2, 4))
    return total


def lines(A):
    """A point on each ray and its unit direction, (views, N_v, N_u, 3): the formula of the docs a second time."""
    n_v, n_u = A.detector_shape
    first, middle, u, v = (A.vectors[:, None, None, i : i + 3] for i in (0, 3, 6, 9))
    m = np.arange(n_u)[None, None, :, None] - (n_u - 1) / 2
    n = np.arange(n_v)[None, :, None, None] - (n_v - 1) / 2
    points = middle + m * u + n * v
    d = first + 0 * points if A.parallel else points - first
    return points, d / np.linalg.norm(d, axis=-1, keepdims=True)


def blob_data(A, half):
    points, d = lines(A)
    total = 0.0
    for v, s, x0, y0, z0 in BLOBS:
        w = points - np.array([x0, y0, z0]) * half
        square = np.sum(w * w, axis=-1) - np.sum(w * d, axis=-1) ** 2
        total = total + v * math.sqrt(2 * math.pi) * s * half * np.exp(-square / (2 * (s * half) ** 2))
    return total


def head_data(A, half, bodies=HEAD):
    """Chords of ellipsoids: of the unit ball, after the map that takes an ellipsoid to it."""
    points, d = lines(A)
    total = 0.0
    for v, a, b, c, x0, y0, z0, tilt in bodies:
        cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
        turn = np.array([[cos / a, -sin / b, 0], [sin / a, cos / b, 0], [0, 0, 1 / c]]) / half
        p, e = (points - np.array([x0, y0, z0]) * half) @ turn, d @ turn
        pe, ee, pp = (np.sum(f * g, axis=-1) for f, g in ((p, e), (e, e), (p, p)))
        total = total + v * 2 * np.sqrt(np.maximum(pe**2 - ee * (pp - 1), 0)) / ee
    return total


N = 128
FULL = sparse_view(9, arc=2 * math.pi)
WIDE = {"source_origin": 256.0, "origin_detector": 128.0, "detector_spacing": 1.5}


@pytest.fixture(scope="module")
def errors_in_2d():
    """Of the fan beam on images with the same number of pixels along a side: blobs, head."""
    angles = sparse_view(45, arc=2 * math.pi)
    A = FanBeam((N, N), angles, 180, **WIDE)
    rays = fan_lines(angles, 180, 256.0, 128.0, 1.5)
    blobs = relative(A @ blob_image(N), blob_integrals(*rays, N / 2))
    head = relative(A @ ellipse_image(SHEPP_LOGAN, N), ellipse_integrals(SHEPP_LOGAN, *rays, N / 2))
    return blobs, head


SCANS = {
    "cone": ConeBeam((N,) * 3, FULL, (140, 150), **WIDE),
    "cone, tilted and rolled": ConeBeam((N,) * 3, FULL, (140, 150), tilt=0.3, roll=0.1, **WIDE),
    "parallel": VectorBeam((N,) * 3, circular_vectors(FULL), (128, 150), parallel=True),
    "parallel, tilted": VectorBeam((N,) * 3, circular_vectors(FULL, tilt=0.5), (150, 150), parallel=True),
}


@pytest.mark.parametrize("name", SCANS)
def test_gaussians(name, errors_in_2d):
    """The error is that of linear interpolation, on two axes here and on one in 2-D: at most twice as large."""
    A = SCANS[name]
    assert relative(A @ blob_volume(N), blob_data(A, N / 2)) <= 2.0 * errors_in_2d[0]


def test_gaussians_on_one_axis(errors_in_2d):
    """Where rows lie on slices only one axis is interpolated, and the error is no larger than in 2-D."""
    A = SCANS["parallel"]
    assert relative(A @ blob_volume(N), blob_data(A, N / 2)) <= errors_in_2d[0]


@pytest.mark.parametrize("name", ["cone", "cone, tilted and rolled"])
def test_ellipsoids(name, errors_in_2d, head):
    """Edges: the errors of the two axes add up like independent ones, to about sqrt(2) times that of one."""
    A = SCANS[name].views(slice(None, None, 3))
    assert relative(A @ head, head_data(A, N / 2)) <= 1.5 * errors_in_2d[1]


@pytest.fixture(scope="module")
def head():
    return head_volume(N, sub=2)


def test_error_falls_with_the_square_of_the_voxel():
    errors = []
    for n in (32, 64, 128):
        A = ConeBeam(
            (n, n, n),
            FULL[:4] + 0.1,
            (n, n),
            source_origin=2.0 * n,
            origin_detector=float(n),
            detector_spacing=1.5,
        )
        errors.append(relative(A @ blob_volume(n), blob_data(A, n / 2)))
    assert 3.5 < errors[0] / errors[1] < 4.6
    assert 3.5 < errors[1] / errors[2] < 4.5


@pytest.mark.parametrize("tilt", [0.0, 0.4])
def test_units_shift_and_spacings(tilt):
    """Voxels of 0.3 mm, oblong bins off centre: the integral is that of the same blobs in mm."""
    n, h = 64, 0.3
    A = ConeBeam(
        (n, n, n),
        FULL[:3],
        (90, 70),
        source_origin=40.0,
        origin_detector=20.0,
        detector_spacing=(0.35, 0.5),
        detector_shift=(-6.25, 4.5),
        pixel_size=h,
        tilt=tilt,
    )
    assert relative(A @ blob_volume(n, h), blob_data(A, n * h / 2)) <= 0.01


VOXEL = (9, 5, 31)
AT = np.array([31 - 20.0, 20.0 - 5, 9 - 12.0])  # x, y, z in a volume of 25 x 41 x 41 voxels


def centre_of_mass(view):
    n, m = np.indices(view.shape)
    return float((view * n).sum() / view.sum()), float((view * m).sum() / view.sum())


def bright():
    volume = np.zeros((25, 41, 41))
    volume[VOXEL] = 1.0
    return volume


@pytest.mark.parametrize("degrees", [0, 30, 90, 135, 200, 300])
def test_a_bright_voxel_in_a_cone(degrees):
    """Its shadow is where the line from the source through it meets the detector, within 1/40 voxel.

    Bins are 1/4 voxel, so half a voxel would be 2 bins, a mirrored axis dozens.
    """
    theta = math.radians(degrees)
    x, y, z = AT
    A = ConeBeam(
        (25, 41, 41),
        [theta],
        (161, 241),
        source_origin=3000.0,
        origin_detector=1500.0,
        detector_spacing=0.375,
    )
    depth = 3000.0 - x * math.sin(theta) + y * math.cos(theta)
    u = 4500.0 / depth * (x * math.cos(theta) + y * math.sin(theta))
    v = 4500.0 / depth * z
    n, m = centre_of_mass((A @ bright())[0])
    assert n == pytest.approx(80 + v / 0.375, abs=0.1)
    assert m == pytest.approx(120 + u / 0.375, abs=0.1)


@pytest.mark.parametrize("degrees", [0, 30, 200])
def test_a_bright_voxel_with_tilt_and_roll(degrees):
    """The source 20 degrees above the plane, the detector turned by 10: turn the voxel back, then as without."""
    theta, tilt, roll = math.radians(degrees), math.radians(20), math.radians(10)
    x, y, z = AT
    A = ConeBeam(
        (25, 41, 41),
        [theta],
        (241, 241),
        source_origin=3000.0,
        origin_detector=1500.0,
        detector_spacing=0.375,
        tilt=tilt,
        roll=roll,
    )
    across = x * math.cos(theta) + y * math.sin(theta)
    away = -x * math.sin(theta) + y * math.cos(theta)  # from the source, in the plane
    ahead = away * math.cos(tilt) - z * math.sin(tilt)
    above = away * math.sin(tilt) + z * math.cos(tilt)
    u, v = (4500.0 / (3000.0 + ahead) * part for part in (across, above))
    u, v = u * math.cos(roll) + v * math.sin(roll), v * math.cos(roll) - u * math.sin(roll)
    n, m = centre_of_mass((A @ bright())[0])
    assert n == pytest.approx(120 + v / 0.375, abs=0.1)
    assert m == pytest.approx(120 + u / 0.375, abs=0.1)


def test_a_bright_voxel_anywhere():
    """Source and detector of no particular place: solve S + t (X - S) = D + u + v."""
    view = [900.0, -2500.0, 1300.0, -400.0, 1300.0, -700.0, 0.31, 0.1, 0.05, -0.06, 0.15, 0.33]
    A = VectorBeam((25, 41, 41), [view], (321, 321))
    source, middle, u, v = np.reshape(view, (4, 3))
    _, a, b = np.linalg.solve(np.stack([source - AT, u, v], axis=1), source - middle)
    n, m = centre_of_mass((A @ bright())[0])
    assert n == pytest.approx(160 + b, abs=0.1)
    assert m == pytest.approx(160 + a, abs=0.1)


def test_a_bright_voxel_in_parallel_rays():
    view = [0.5, -1.0, 0.4, 60.0, 80.0, -40.0, 0.24, 0.11, 0.02, -0.03, 0.08, 0.25]
    A = VectorBeam((25, 41, 41), [view], (601, 601), parallel=True)
    d, middle, u, v = np.reshape(view, (4, 3))
    _, a, b = np.linalg.solve(np.stack([-d, u, v], axis=1), AT - middle)
    n, m = centre_of_mass((A @ bright())[0])
    assert n == pytest.approx(300 + b, abs=0.1)
    assert m == pytest.approx(300 + a, abs=0.1)
