"""Random geometric phantoms: piecewise constant with sharp edges, like machined parts and test objects."""

from __future__ import annotations

import math

import numpy as np

from tomopatch.phantoms.scene import Material, Scene

_REACH = 108.0  # half of the widest body [mm]


def geometric(seed: int) -> Scene:
    """A body, sometimes in a shell, with 20 to 79 ellipsoids, boxes, cylinders and rods at random places."""
    scene = Scene(seed)
    rng = scene.rng
    half = np.array([rng.uniform(60, 140), *rng.uniform(55, _REACH, 2)])
    body = rng.uniform(-300, 600)
    if rng.random() < 0.5:
        _body(scene, half, body + rng.uniform(200, 1500))
        half = half - rng.uniform(2, 12)
    _body(scene, half, body)
    for _ in range(int(rng.integers(20, 80))):
        size = math.exp(rng.uniform(math.log(4), math.log(60)))
        _primitive(scene, rng.uniform(-1, 1, 3) * (half - size).clip(min=0), size, _hu(rng, body))
    return scene


def _body(scene: Scene, half: np.ndarray, hu: float) -> None:
    kind = scene.rng.integers(3)
    if kind == 0:
        scene.ellipsoid((0, 0, 0), half, Material(hu), power=scene.rng.uniform(2, 5))
    elif kind == 1:
        scene.cylinder((0, 0, 0), half[1:].min(), half[0], Material(hu))
    else:
        scene.box((0, 0, 0), half, Material(hu))


def _primitive(scene: Scene, centre: np.ndarray, size: float, hu: float) -> None:
    """A random primitive that reaches hardly further than `size` [mm] from its centre."""
    rng = scene.rng
    half = size * np.exp(rng.uniform(-1.4, 0, 3))
    kind = rng.integers(5)
    if kind < 2:
        power = 2.0 if kind else rng.uniform(2, 6)
        scene.ellipsoid(centre, half, Material(hu), turn=tuple(rng.uniform(0, 180, 3)), power=power)
    elif kind == 2:
        scene.box(centre, half, Material(hu))
    elif kind == 3:
        scene.cylinder(centre, half[1], half[0], Material(hu))
    else:
        along = rng.normal(size=3)
        along *= 0.8 * size / np.linalg.norm(along)
        scene.capsule(centre - along, centre + along, tuple(size * rng.uniform(0.1, 0.4, 2)), Material(hu))


def _hu(rng: np.random.Generator, body: float) -> float:
    """HU of a primitive: close to the body in half of the cases, else anything from air to bone."""
    if rng.random() < 0.5:
        return body + math.exp(rng.uniform(math.log(15), math.log(250))) * rng.choice((-1, 1))
    return rng.uniform(-1000, 2200)
