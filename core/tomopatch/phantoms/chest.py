"""Chest organs: lungs with their trees, heart and great vessels, airways."""

# ruff: noqa: RUF005 - the vectors here are numpy arrays: + (z, y, x) moves a point

from __future__ import annotations

import numpy as np

from tomopatch.phantoms import tissue
from tomopatch.phantoms.body import Body
from tomopatch.phantoms.scene import Material, Scene
from tomopatch.phantoms.trees import branches, curve, points_within

_CARINA = (42.0, 14.0, 1.0)


def chest(scene: Scene, body: Body) -> None:
    """Paint everything above the diaphragm; the diaphragm is painted over it later."""
    for side in (-1, 1):
        _lung(scene, body, side)
    _mediastinum(scene, body)


def heart_and_vessels(scene: Scene, body: Body) -> None:
    """Paint heart, great vessels, trachea and oesophagus; the heart rests on the diaphragm."""
    _heart(scene, body)
    _great_vessels(scene, body)
    _windpipe(scene)


def _lung(scene: Scene, body: Body, side: int) -> None:
    rng = scene.rng
    z, y, _ = body.chest_centre
    half = 0.475 * body.chest_x
    centre = np.array([z, y, side * (0.515 * body.chest_x)])
    radii = np.array([body.CHEST_Z - 8, body.chest_y - 4, half])
    scene.ellipsoid(centre, radii, tissue.LUNG, turn=(0, 5 * side, 0), power=body.CHEST_POWER, bump=(1.0, 60))

    hilum = np.array([12.0, 12.0, side * 36.0])
    middle, reach = centre + (45, 0, 0), radii * (0.70, 0.94, 0.95)  # the lower third is under the diaphragm
    vessel = Material(body.blood.hu, 0, 0)
    for count, tip, root in ((800, 0.58, hilum), (600, 0.58, hilum - (16, 8, 0))):
        scene.rods(*branches(rng, root, points_within(rng, middle, reach, count), tip), vessel)
    a, b, radii = branches(rng, hilum + (6, 0, 0), points_within(rng, middle, 0.8 * reach, 56), 1.0)
    scene.rods(a, b, 1.25 * radii + 0.5, Material(-60))
    scene.rods(a, b, radii, tissue.GAS)

    free = (60, y, side * 0.62 * body.chest_x)  # clear of heart and diaphragm, painted over the lung
    for spot in points_within(
        rng, free, (42, 0.5 * body.chest_y, 0.16 * body.chest_x), int(rng.integers(1, 4))
    ):
        if rng.random() < 0.25:
            scene.lesion(spot, rng.uniform(7, 12), Material(-480, 25, 20), soft=5)  # ground glass
        else:
            radius = rng.uniform(3, 10)
            scene.lesion(spot, radius, tissue.TUMOUR, bump=(0.12 * radius, 1.2 * radius))


def _mediastinum(scene: Scene, body: Body) -> None:
    """Fat between the lungs, from the sternum to the spine."""
    _, y, _ = body.chest_centre
    scene.ellipsoid((60, y - 6, 2), (110, 0.72 * body.chest_y, 27), tissue.LOOSE_FAT, bump=(3, 45), power=2.5)
    scene.ellipsoid(
        (0, y - 0.45 * body.chest_y, 3), (130, 0.55 * body.chest_y, 13), tissue.LOOSE_FAT, bump=(2.5, 40)
    )
    scene.ellipsoid((-60, body.spine_y, 0), (320, 22, 27), tissue.LOOSE_FAT, bump=(2, 40), power=2.5)


def _heart(scene: Scene, body: Body) -> None:
    rng = scene.rng
    size = rng.uniform(0.93, 1.08)
    turn = (38, -18, 0)
    y = body.chest_centre[1] - 0.36 * body.chest_y
    middle = np.array([-38, y, 20.0])
    scene.ellipsoid(
        middle, size * np.array([53, 46, 63]), tissue.LOOSE_FAT, turn=turn, power=2.5, bump=(2, 50)
    )
    scene.ellipsoid(middle, size * np.array([47, 40, 57]), tissue.HEART, turn=turn, power=2.5, bump=(1.5, 45))
    chambers = (  # left ventricle, right ventricle, right and left atrium
        ((-6, 4, 26), (24, 19, 30), (35, -18, 0)),
        ((-6, -20, -4), (28, 13, 31), (40, -18, 0)),
        ((6, 2, -38), (29, 20, 17), (20, 0, 0)),
        ((18, 26, -2), (21, 16, 28), (0, 0, 0)),
    )
    for offset, radii, own in chambers:
        scene.ellipsoid(
            middle + size * np.array(offset), size * np.array(radii), body.blood, turn=own, bump=(1, 25)
        )
    groove = curve(middle + size * np.array([(30, -34, -8), (5, -36, 14), (-18, -26, 38)]), 6)
    scene.tube(groove, 4.5, tissue.LOOSE_FAT)  # with a coronary artery in it
    scene.tube(groove, 1.6, body.blood)
    if rng.random() < 0.5:
        scene.capsule(groove[1], groove[2], 1.3, Material(600))  # calcified


def _great_vessels(scene: Scene, body: Body) -> None:
    y, back = body.chest_centre[1], body.spine_y
    root = (-14, y - 0.22 * body.chest_y, 4)
    arch = [root, (30, y - 26, -12), (62, y - 14, -4), (70, y + 6, 14), (56, y + 24, 24)]
    down = [(20, back - 16, 27), (-60, back - 20, 22), (-130, back - 24, 10), (-200, back - 24, 5)]
    aorta = curve([*arch, *down, (-290, back - 25, 3)], 60)
    cava = curve([(130, y - 14, -16), (80, y - 18, -20), (30, y - 16, -24), (-20, y - 6, -26)], 16)
    lower = curve(
        [(-60, y + 12, -24), (-110, y + 16, -24), (-180, back - 24, -20), (-290, back - 24, -17)], 24
    )
    trunk = curve([(-2, y - 36, 10), (18, y - 24, 16), (28, y - 4, 14)], 8)
    vessels: list[tuple[np.ndarray, np.ndarray | float]]
    vessels = [(aorta, np.linspace(14.5, 9, 60)), (cava, 8.5), (lower, 10.0), (trunk, 13.0)]
    for side in (-1, 1):
        main = curve([(27, y - 4, 10), (22, y + 4, side * 20), (14, y + 12, side * 38)], 8)
        veins = curve([(-18, y - 4, side * 14), (-8, y + 4, side * 36)], 5)
        upper = curve([(70, y - 8, side * 6), (100, y - 10, side * 15), (140, y - 8, side * 24)], 8)
        jugular = curve([(98, y - 26, side * 18 - 4), (140, y - 22, side * 34)], 4)
        vessels += [(main, 9.0), (veins, 6.0), (upper, 4.2), (jugular, 6.0)]
    for path, radius in vessels:
        scene.tube(path, np.asarray(radius) + 1.2, tissue.GUT_WALL)
    for path, radius in vessels:
        scene.tube(path, radius, body.blood)
    if scene.rng.random() < 0.6:  # calcified plaque in the arch
        at = aorta[int(scene.rng.integers(18, 26))] + (0, 11, 3)
        scene.ellipsoid(at, (4, 1.5, 2.5), Material(700))
    gullet = curve(
        [(140, y + 34, 4), (60, y + 34, 5), (0, back - 24, 6), (-80, back - 28, 12), (-120, y + 8, 26)], 20
    )
    scene.tube(gullet, 6.5, tissue.GUT_WALL, flat=(1, 0.8, 1.2))
    scene.tube(gullet[:9], 1.8, Material(-600), flat=(1, 0.7, 1.6))


def _windpipe(scene: Scene) -> None:
    top = curve([(150, 6, 0), (90, 10, 1), _CARINA], 10)
    main = [curve([_CARINA, (24, 14, s * 18), (16, 13, s * 38)], 8) for s in (-1, 1)]
    for path, radius in [(top, 9.0), *((m, 6.6) for m in main)]:
        scene.tube(path, radius + 1.5, Material(30))
    for path, radius in [(top, 9.0), *((m, 6.6) for m in main)]:
        scene.tube(path, radius, tissue.GAS)
