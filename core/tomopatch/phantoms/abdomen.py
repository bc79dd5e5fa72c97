"""Abdominal organs: liver, spleen, stomach, kidneys, pancreas, bowel."""

# ruff: noqa: RUF005 - the vectors here are numpy arrays: + (z, y, x) moves a point

from __future__ import annotations

import numpy as np

from tomopatch.phantoms import tissue
from tomopatch.phantoms.body import Body
from tomopatch.phantoms.scene import Material, Scene
from tomopatch.phantoms.trees import Point, branches, curve, points_within


def belly(scene: Scene, body: Body) -> None:
    """Paint the diaphragm and everything below it."""
    _cavity(scene, body)
    _bowel(scene, body)
    for side in (-1, 1):
        _kidney(scene, body, side)
    _spleen_and_stomach(scene, body)
    _liver(scene, body)
    _pancreas(scene, body)


def _cavity(scene: Scene, body: Body) -> None:
    """The two domes of the diaphragm, and fat below them."""
    _, y, _ = body.chest_centre
    low = body.chest_scale(np.array([-140.0]))[0]
    for material, wall in ((tissue.MUSCLE, 0.0), (tissue.FAT, 3.0)):
        for top, x in ((body.dome, -0.47), (body.dome - 14, 0.47)):
            radii = np.array([160, low * body.chest_y + 6, 0.56 * body.chest_x]) - wall
            scene.ellipsoid((top - 160, y, x * body.chest_x), radii, material, power=2.5, bump=(1.5, 70))
        inner = np.array([180, low * body.chest_y + 6, body.chest_x + 2]) - wall
        scene.ellipsoid((body.dome - 215, y, 0), inner, material, power=2.5)
    for side in (-1, 1):
        psoas = curve([(-185, body.spine_y + 2, 22 * side), (-260, body.spine_y - 2, 36 * side),
                       (-350, body.spine_y - 26, 56 * side)], 10)  # fmt: skip
        scene.tube(psoas, np.linspace(7, 22, 10), tissue.MUSCLE, flat=(1, 1.15, 0.9))
        scene.ellipsoid(
            (-260, body.spine_y + 18, 64 * side), (75, 13, 24), tissue.MUSCLE, turn=(-12 * side, 0, 0)
        )
        crus = curve([(-90, body.spine_y - 28, 12 * side), (-190, body.spine_y - 18, 14 * side)], 6)
        scene.tube(crus, 3.5, tissue.MUSCLE, flat=(1, 1.8, 1))


def _liver(scene: Scene, body: Body) -> None:
    rng = scene.rng
    _, y, _ = body.chest_centre
    low = body.chest_scale(np.array([-140.0]))[0]
    liver = tissue.LIVER._replace(hu=tissue.LIVER.hu + rng.uniform(-8, 8) + (45 if body.contrast else 0))
    depth = low * body.chest_y
    right = np.array([body.dome - 84, y + 2, -0.50 * body.chest_x])
    reach = np.array([80, depth + 1, 0.52 * body.chest_x])
    scene.ellipsoid(right, reach, liver, turn=(0, 10, 0), power=2.5, bump=(2, 60))
    left = np.array([body.dome - 52, y - 0.42 * body.chest_y, -0.02 * body.chest_x])
    scene.ellipsoid(
        left, (36, 0.42 * body.chest_y, 0.52 * body.chest_x), liver, turn=(8, -14, 0), bump=(2, 50)
    )
    hilum = (body.dome - 130, y + 0.15 * depth, -0.28 * body.chest_x)
    scene.ellipsoid(hilum, (46, 0.42 * depth, 26), tissue.FAT, turn=(30, 0, 0), bump=(4, 40))

    vein = Material((150 if body.contrast else liver.hu - 20), 0, 0)
    porta = right + (-12, 4, 40)
    for root, count in ((porta, 110), (right + (48, 34, 34), 60)):
        scene.rods(*branches(rng, root, points_within(rng, right, 0.86 * reach, count), 1.1), vein)
    gall = np.array([body.dome - 122, y - 0.45 * depth, -0.34 * body.chest_x])
    scene.ellipsoid(gall, (26, 15, 14), tissue.GUT_WALL, turn=(0, 20, 20))
    scene.ellipsoid(gall, (24.5, 13.5, 12.5), tissue.WATER, turn=(0, 20, 20))
    for spot in points_within(rng, right + (22, 6, -8), 0.42 * reach, int(rng.integers(1, 4))):
        cyst = rng.random() < 0.4
        scene.lesion(
            spot, rng.uniform(5, 15), tissue.WATER if cyst else Material(liver.hu - 32, 6, 5), bump=(0.5, 15)
        )


def _spleen_and_stomach(scene: Scene, body: Body) -> None:
    rng = scene.rng
    _, y, _ = body.chest_centre
    spleen = tissue.SPLEEN._replace(hu=50 + (60 if body.contrast else 0))
    at = np.array([body.dome - 84, y + 0.42 * body.chest_y, 0.66 * body.chest_x])
    scene.ellipsoid(at, (52, 36, 26), spleen, turn=(38, 12, -12), power=2.5, bump=(2, 40))
    scene.ellipsoid(at + (4, -16, -20), (44, 26, 17), tissue.FAT, turn=(38, 12, -12))

    fundus = [(body.dome - 48, y + 8, 0.40 * body.chest_x), (body.dome - 85, y - 14, 0.46 * body.chest_x)]
    outlet = [(body.dome - 125, y - 44, 0.28 * body.chest_x), (body.dome - 138, y - 48, -2)]
    stomach = curve([*fundus, *outlet], 12)
    radius = np.array([24, 30, 33, 34, 33, 30, 27, 24, 21, 19, 17, 14]) * rng.uniform(0.9, 1.08)
    level = y - rng.uniform(8, 24)
    _hollow(scene, stomach, radius, tissue.CHYME, wall=4.0, level=level, bump=(1.5, 30))


def _kidney(scene: Scene, body: Body, side: int) -> None:
    rng = scene.rng
    at = np.array([-212.0 + 8 * side + rng.uniform(-8, 8), body.spine_y - 2, 62 * side])
    turn = (-35 * side, -10 * side, 0)
    kidney = tissue.KIDNEY._replace(hu=34 + (120 if body.contrast else 0))
    scene.ellipsoid(at, (56, 27, 29), kidney, turn=turn, power=2.5, bump=(1.2, 30))
    if body.contrast:  # pyramids fill later than the cortex
        for k in range(9):
            angle = 2.4 * k
            spot = at + np.array([-36 + 9 * k, 11 * np.cos(angle), 11 * np.sin(angle)])
            scene.ellipsoid(spot, (6, 6, 6), kidney._replace(hu=100), soft=3)
    scene.ellipsoid(at - (0, 3, 12 * side), (30, 10, 15), tissue.FAT, turn=turn, bump=(2, 18))
    scene.ellipsoid(at - (2, 3, 14 * side), (16, 5, 9), tissue.WATER, turn=turn)
    scene.tube(curve([at - (0, 4, 22 * side), (at[0] + 4, body.spine_y - 24, 10 * side)], 6), 3.0, body.blood)
    if rng.random() < 0.4:
        scene.lesion(at + (rng.uniform(-45, -25), 9, 13 * side), rng.uniform(6, 16), tissue.WATER)
    gland = curve([at + (58, -6, -22 * side), at + (66, 2, -16 * side), at + (58, 8, -10 * side)], 6)
    scene.tube(gland, 2.6, tissue.GUT_WALL, flat=(2.5, 1, 1))


def _pancreas(scene: Scene, body: Body) -> None:
    _, y, _ = body.chest_centre
    z = body.dome - 138
    path = curve([(z - 18, y + 2, -30), (z - 4, y - 8, -4), (z + 8, y - 2, 30), (z + 22, y + 22, 72)], 14)
    scene.tube(path, np.linspace(13, 8, 14), Material(42, 14, 14), bump=(1.8, 14))
    splenic = curve([(z, y + 4, -20), (z + 6, y + 10, 20), (z + 24, y + 32, 76)], 10)
    scene.tube(splenic, 4.0, body.blood)
    mesenteric = curve([(z, y + 6, -16), (z - 50, y - 6, -8), (z - 110, y - 14, -2)], 10)
    scene.tube(mesenteric, 5.0, body.blood)


def _bowel(scene: Scene, body: Body) -> None:
    rng = scene.rng
    _, y, _ = body.chest_centre
    wide, deep = 0.80 * body.chest_x, 0.62 * body.chest_y
    mesentery = points_within(rng, (-270, y - 8, 0), (60, 50, 85), 90)
    scene.rods(*branches(rng, (-200, y + 10, -4), mesentery, 0.9), body.blood)
    for _ in range(22):  # small bowel: short loops, no two alike
        at = points_within(rng, (-275, y - 0.2 * deep, 0), (62, 0.78 * deep, 0.62 * wide), 1)[0]
        knots = at + np.cumsum(rng.normal(0, 17, (4, 3)), axis=0)
        content = tissue.CHYME if rng.random() < 0.8 else Material(-120, 60, 60)
        _hollow(scene, curve(knots, 14), rng.uniform(9, 13), content, wall=2.8, bump=(1.3, 16))
    rising = [(-345, y + 6, -wide), (-270, y + 4, -wide), (-215, y - 8, -wide + 6)]
    across = [(-222, y - deep, -0.6 * wide), (-238, y - deep - 8, 0), (-215, y - deep, 0.6 * wide)]
    falling = [(-185, y - 4, wide - 4), (-260, y + 14, wide), (-345, y + 10, wide)]
    colon = [*rising, *across, *falling]
    path = curve(np.array(colon) + rng.normal(0, 5, (len(colon), 3)), 64)
    radius = 19 + 3.2 * np.sin(np.arange(64) * 1.9) + np.linspace(3, -4, 64)  # haustra
    _hollow(scene, path, radius, tissue.STOOL, wall=2.4, level=None, bump=(1.5, 22))
    for k in range(6, 58, int(rng.integers(5, 8))):  # pockets of gas, in front
        scene.ellipsoid(
            path[k] - (0, 4, 0), (15, 12, 14), tissue.GAS, bump=(2, 18), above=float(path[k][1] - 1)
        )


def _hollow(
    scene: Scene,
    path: np.ndarray,
    radius: float | np.ndarray,
    content: Material,
    *,
    wall: float,
    level: float | None = None,
    bump: Point,
) -> None:
    """A tube with a wall and content; gas in front of the fluid `level` (y), if given."""
    radius = np.asarray(radius, dtype=float) * np.ones(len(path))
    scene.tube(path, radius, tissue.GUT_WALL, bump=bump)
    scene.tube(path, radius - wall, content, bump=bump)
    if level is not None:
        scene.tube(path, radius - wall, tissue.GAS, bump=bump, above=level)
