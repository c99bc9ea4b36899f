"""Pictures of the geometry: the bins, the source and theta lie where the formulas put them."""

import math

import numpy as np
import pytest
from recon_operators.tomography import FanBeam, FourierSliceBeam, ParallelBeam

from recon.errors import ParameterError

THETA = np.deg2rad([35.0, 130.0])
GEOMETRY = {"source_origin": 90.0, "origin_detector": 60.0, "detector_spacing": 1.5, "detector_shift": 2.0}


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize(
    "A",
    [
        ParallelBeam((40, 50), THETA, 45),
        FourierSliceBeam((40, 50), THETA, 45),
        FanBeam((40, 50), THETA, 60, **GEOMETRY),
        FanBeam((40, 50), THETA, 60, **GEOMETRY, detector="curved"),
        ParallelBeam((1, 1), THETA, 1),
    ],
    ids=["parallel", "slice", "flat", "curved", "one pixel"],
)
def test_every_beam_draws_itself(A, tmp_path):
    figure = A.plot(1)
    figure.savefig(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 5000
    found = texts(figure)
    assert {"bin 0", f"bin {A.n_detectors - 1}", "row 0\ncolumn 0", "x", "y", "theta"} <= set(found)
    assert ("source" in found) is isinstance(A, FanBeam)
    assert "theta = 130 degrees" in figure.axes[0].get_title()


@pytest.mark.parametrize("detector", ["flat", "curved"])
@pytest.mark.parametrize("view", [0, 1])
def test_drawn_rays_are_the_projected_ones(detector, view):
    A = FanBeam((40, 50), THETA, 60, **GEOMETRY, detector=detector)
    sketch = A._sketch(view)
    points, directions = A._rays()
    along = sketch.detector - points[view]
    cross = along[:, 0] * directions[view][:, 1] - along[:, 1] * directions[view][:, 0]
    np.testing.assert_allclose(cross, 0, atol=1e-9)
    assert (np.sum(along * directions[view], axis=1) > 0).all()
    np.testing.assert_allclose(sketch.origins, points[view])
    steps = np.hypot(*np.diff(sketch.detector, axis=0).T)
    np.testing.assert_allclose(steps, 1.5 if detector == "flat" else 300 * math.sin(0.005), rtol=1e-9)


def test_drawn_parallel_rays_are_the_projected_ones():
    A = ParallelBeam((40, 50), THETA, 45, detector_shift=3.0, detector_spacing=1.2, pixel_size=0.5)
    sketch = A._sketch(1)
    points, directions = A._rays()
    for place in (sketch.detector, sketch.origins):
        along = place - points[1]
        cross = along[:, 0] * directions[1][:, 1] - along[:, 1] * directions[1][:, 0]
        np.testing.assert_allclose(cross, 0, atol=1e-9)
    assert (np.sum((sketch.detector - sketch.origins) * directions[1], axis=1) > 0).all()
    assert sketch.half == (12.5, 10.0)


@pytest.mark.parametrize("view", [2, -3, 0.5, True])
def test_error_text(view):
    with pytest.raises(
        ParameterError, match=f"ParallelBeam.plot view must be an integer from -2 to 1, got {view}"
    ):
        ParallelBeam((4, 4), THETA).plot(view)
