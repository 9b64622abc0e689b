"""The camera: windows of planes against direct projection, and the depth test."""

from __future__ import annotations

import math

import numpy as np
import pytest

from data_pipelines.streets.paint import canvas as canvas_lib
from data_pipelines.streets.paint import geometry
from data_pipelines.streets.paint import noise
from data_pipelines.streets.plan import draws as draws_lib


def _make_camera(**changes):
    settings = dict(
        width=64,
        height=48,
        focal=50.0,
        horizon=20.0,
        eye_height=1.5,
        x=-1.0,
        cos_yaw=math.cos(0.2),
        sin_yaw=math.sin(0.2),
    )
    settings.update(changes)
    return geometry.Camera(**settings)


def _project(camera, point):
    right, up, ahead = camera.see(point)
    return (
        camera.centre + camera.focal * right / ahead,
        camera.horizon - camera.focal * up / ahead,
        ahead,
    )


def test_window_inverts_projection():
    camera = _make_camera()
    origin, axis_u, axis_v = (1.0, 0.0, 8.0), (0.6, 0.0, 0.8), (0.0, 1.0, 0.0)
    window = camera.window(origin, axis_u, axis_v, (0.0, 6.0, 0.0, 3.0))
    for row in (0, window.u.shape[0] - 1):
        for col in (0, window.u.shape[1] - 1):
            u, v = float(window.u[row, col]), float(window.v[row, col])
            point = tuple(o + u * a + v * b for o, a, b in zip(origin, axis_u, axis_v))
            px, py, ahead = _project(camera, point)
            assert px == pytest.approx(window.cols.start + col + 0.5, abs=1e-2)
            assert py == pytest.approx(window.rows.start + row + 0.5, abs=1e-2)
            assert ahead == pytest.approx(float(window.depth[row, col]), rel=1e-4)


def test_ground_inverts_projection():
    camera = _make_camera()
    window = camera.ground()
    u, v = float(window.u[5, 40]), float(window.v[5, 40])
    px, py, ahead = _project(camera, (u, 0.0, v))
    assert (px, py) == pytest.approx((40.5, window.rows.start + 5.5), abs=1e-2)
    assert ahead == pytest.approx(float(window.depth[5, 40]), rel=1e-4)


@pytest.mark.parametrize("s", [-5.0, 0.1])
def test_nothing_is_seen_behind_the_camera(s):
    camera = _make_camera(x=0.0, cos_yaw=1.0, sin_yaw=0.0)
    assert camera.window((-1.0, 0.0, s), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0, 2, 0, 2)) is None


def test_plane_through_the_camera_is_clipped():
    camera = _make_camera(x=0.0, cos_yaw=1.0, sin_yaw=0.0)
    window = camera.window((2.0, 0.0, -10.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0, 40, 0, 3))
    ahead = (window.u >= 0) & (window.u <= 40) & (window.depth > 0)
    assert ahead.any()
    assert np.allclose(window.depth[ahead], window.u[ahead] - 10.0, rtol=1e-3)


def test_plane_seen_edge_on_has_no_window():
    camera = _make_camera(x=0.0, cos_yaw=1.0, sin_yaw=0.0)
    assert camera.window((0.0, 0.0, 5.0), (0.0, 0.0, 1.0), (0.0, 1.0, 0.0), (0, 9, 0, 3)) is None


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_nearer_thing_hides_the_farther_whatever_the_order(order):
    camera = _make_camera(x=0.0, cos_yaw=1.0, sin_yaw=0.0)
    canvas = canvas_lib.Canvas(camera)
    things = ((5.0, canvas_lib.CAR, 1), (9.0, canvas_lib.BUS, 2))
    for place in order:
        s, label, instance = things[place]
        window = camera.window((-1.0, 0.0, s), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0, 2, 0, 3))
        mask = (window.u >= 0) & (window.u <= 2) & (window.v >= 0) & (window.v <= 3)
        canvas.paint(
            window, mask, np.full((3, 1, 1), 9.0 * label, np.float32), label, instance=instance
        )
    assert canvas.label[22, 32] == canvas_lib.CAR
    assert canvas.instance[22, 32] == 1
    assert canvas.rgb[0, 22, 32] == 9.0 * canvas_lib.CAR


def test_ink_limits_colour_and_not_the_label():
    camera = _make_camera()
    canvas = canvas_lib.Canvas(camera)
    window = camera.ground()
    everywhere = np.ones(window.u.shape, bool)
    canvas.paint(
        window, everywhere, np.full((3, 1, 1), 7.0, np.float32), canvas_lib.FENCE, ink=~everywhere
    )
    assert (canvas.label[window.rows] == canvas_lib.FENCE).all()
    assert (canvas.rgb == 0).all()


def test_shadow_leaves_labels_and_what_is_nearer():
    camera = _make_camera(x=0.0, cos_yaw=1.0, sin_yaw=0.0)
    canvas = canvas_lib.Canvas(camera)
    ground = camera.ground()
    white = np.full((3, 1, 1), 100.0, np.float32)
    canvas.paint(ground, ground.depth > 0, white, canvas_lib.ROAD)
    wall = camera.window((-1.0, 0.0, 4.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0, 2, 0, 1))
    canvas.paint(wall, (abs(wall.u - 1) < 1) & (wall.v < 1) & (wall.v > 0), white, canvas_lib.WALL)
    labels = canvas.label.copy()
    canvas.tint(ground, ground.depth > 0, 0.5)
    assert (canvas.label == labels).all()
    # Two per cent of slack in depth let a shadow reach the very foot of the wall.
    behind = ground.depth > 4.2
    wall = labels[ground.rows] == canvas_lib.WALL
    assert (canvas.rgb[0][ground.rows][wall & behind] == 100).all()
    assert (canvas.rgb[0][labels == canvas_lib.ROAD] == 50).all()


def test_draws_repeat_and_differ_by_key():
    first, second = draws_lib.Draws(3, 4), draws_lib.Draws(3, 4)
    assert [first.unit() for _ in range(5)] == [second.unit() for _ in range(5)]
    assert draws_lib.Draws(3, 5).unit() != draws_lib.Draws(3, 4).unit()
    assert type(first.between(1, 2)) is float
    assert type(first.below(3)) is int


def test_draws_follow_their_weights():
    draws = draws_lib.Draws(1)
    found = [draws.pick("ab", (0.8, 0.2)) for _ in range(2000)]
    assert 0.76 < found.count("a") / 2000 < 0.84
    noise_values = draws.bell((50, 80))
    assert noise_values.dtype == np.float32
    assert abs(float(noise_values.mean())) < 0.06
    assert abs(float(noise_values.std()) - 1.0) < 0.05


def test_noise_has_its_range_and_its_mean():
    u, v = np.meshgrid(np.arange(90, dtype=np.float32), np.arange(70, dtype=np.float32))
    for values in (noise.cells(u, v, 3), noise.fractal(u, v, 17.0, 3)):
        assert values.dtype == np.float32
        assert values.min() >= 0 and values.max() <= 1
        assert 0.35 < float(values.mean()) < 0.65
