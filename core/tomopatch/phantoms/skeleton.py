"""Bones of the trunk: spine, ribs, sternum, shoulder blades, pelvis."""

from __future__ import annotations

import numpy as np

from tomopatch.phantoms import tissue
from tomopatch.phantoms.body import Body
from tomopatch.phantoms.scene import Material, Scene
from tomopatch.phantoms.trees import Point, curve

_SPACING = 24.0  # mm from one vertebra to the next
_TOP = 136.0  # the highest vertebra that is drawn


def skeleton(scene: Scene, body: Body) -> None:
    """Paint all bones over the soft tissue."""
    _shoulder_blades(scene, body)
    _ribs(scene, body)
    _sternum(scene, body)
    _pelvis(scene, body)
    spine(scene, np.arange(_TOP, -370, -_SPACING), body.spine_y, size=1.0)


def rod(
    scene: Scene, points: np.ndarray, radius: float, *, cortex: float = 1.6, flat: Point = (1, 1, 1)
) -> None:
    """A bone along a curve: cortical outside, trabecular inside."""
    scene.tube(points, radius, tissue.CORTICAL, flat=flat)
    scene.tube(points, radius - cortex, tissue.TRABECULAR, flat=flat)


def spine(scene: Scene, levels: np.ndarray, y: float, *, size: float) -> None:
    """Vertebrae at the heights `levels`, with discs, canal and cord; vertebral bodies at depth `y`."""
    for z in levels:
        large = size * (1 + 0.0012 * (100 - z))  # lumbar vertebrae are larger
        width, depth, height = 17 * large, 14 * large, 0.41 * _SPACING * size
        bend = y + 6 * np.sin((z + 60) / 110)
        for material, wall in ((tissue.CORTICAL, 0.0), (tissue.TRABECULAR, 1.3)):
            for side in (-1, 1):
                _arch(scene, material, wall, z, bend + depth, side, large)
            tip = (z - 16 * size, bend + depth + 27 * large, 0)
            scene.capsule((z - 4, bend + depth + 14 * large, 0), tip, 4.0 - wall, material, flat=(1.8, 1, 1))
            scene.ellipsoid(
                (z, bend, 0), (height - wall, depth - wall, width - wall), material, power=3.2, bump=(0.6, 16)
            )
        scene.ellipsoid((z - _SPACING * size / 2, bend, 0), (3.2 * size, depth, width), tissue.DISC, power=3)
    canal = np.array(
        [[z, y + 6 * np.sin((z + 60) / 110) + 22 * size, 0] for z in (*levels, levels[-1] - _SPACING)]
    )
    scene.tube(canal, 8.5 * size, tissue.LOOSE_FAT, flat=(1, 0.9, 1.15))
    scene.tube(canal, 7.2 * size, tissue.WATER, flat=(1, 0.9, 1.1))
    scene.tube(canal, 4.6 * size, tissue.NERVE, flat=(1, 0.85, 1.2))


def _arch(
    scene: Scene, material: Material, wall: float, z: float, back: float, side: int, large: float
) -> None:
    """One side of a vertebral arch: pedicle, lamina, transverse process."""
    pedicle = (z + 2, back - 3, 10 * side * large)
    corner = (z, back + 9 * large, 14 * side * large)
    scene.capsule(pedicle, corner, 4.2 - wall, material, flat=(1.5, 1, 1))
    scene.capsule(corner, (z - 5, back + 16 * large, 1.5 * side), 3.6 - wall, material, flat=(2, 1, 1))
    scene.capsule(corner, (z, back + 16 * large, 32 * side * large), (4.4 - wall, 3.2 - wall), material)


def _ribs(scene: Scene, body: Body) -> None:
    rng = scene.rng
    for number in range(12):
        z0 = _TOP - 4 - _SPACING * number
        end = np.radians(
            (118, 135, 146, 150, 150, 146, 140, 130, 118, 105, 80, 58)[number] + rng.uniform(-3, 3)
        )
        drop = min(30 + 9 * number, 88)
        for side in (-1, 1):
            turn = np.linspace(np.radians(14), end, 22)
            path = _around(body, z0 - drop * (1 - np.cos(turn)) / 2, turn, side)
            rod(scene, path, 3.6, cortex=1.25, flat=(1.75, 1, 1))
            if number < 8:  # cartilage runs up to the sternum
                turn = np.linspace(end, np.radians(172 - 2 * number), 8)
                rise = np.linspace(0, 6 + 6 * number, 8)
                path = _around(body, z0 - drop * (1 - np.cos(end)) / 2 + rise, turn, side)
                scene.tube(path, 4.0, tissue.CARTILAGE, flat=(1.5, 1, 1))


def _around(body: Body, z: np.ndarray, turn: np.ndarray, side: int) -> np.ndarray:
    """Points (n, 3) just outside the chest; `turn` runs from the spine (0) to the front (pi)."""
    scale = body.chest_scale(z)
    c, s = np.cos(turn), np.sin(turn)
    n = 2 / body.CHEST_POWER  # superellipse
    y = np.sign(c) * np.abs(c) ** n * (body.chest_y * scale + 5) + body.chest_centre[1]
    x = side * np.abs(s) ** n * (body.chest_x * (0.25 + 0.75 * scale) + 5)  # the lungs' tops are blunt
    return np.stack([z, y, x], axis=1)


def _sternum(scene: Scene, body: Body) -> None:
    z = np.linspace(92, -42, 9)
    y = body.chest_centre[1] - body.chest_y * body.chest_scale(z) - 7
    path = np.stack([z, y, np.zeros_like(z)], axis=1)
    width = np.where(np.arange(9) > 2, 5.2, 6.2)  # the upper part is wider
    scene.tube(path, width, tissue.CORTICAL, flat=(1, 1, 3.1))
    scene.tube(path, width - 1.0, tissue.TRABECULAR, flat=(1, 1, 3.3))
    for side in (-1, 1):  # collar bones
        points = [(100, y[0] - 1, 16 * side), (112, y[0] + 4, 60 * side), (124, y[0] + 45, 120 * side)]
        rod(scene, curve(points, 10), 6.5, cortex=2.0)


def _shoulder_blades(scene: Scene, body: Body) -> None:
    depth, wide = body.chest_centre[1] + 0.80 * body.chest_y, 0.80 * body.chest_x
    for side in (-1, 1):
        for material, wall in ((tissue.CORTICAL, 0.0), (tissue.TRABECULAR, 1.1)):
            blade = (58 - wall, 3.2 - wall, 40 - wall)
            scene.ellipsoid((75, depth, wide * side), blade, material, turn=(-38 * side, 0, 6), power=2.5)
            scene.capsule((96, depth + 8, (wide - 20) * side), (104, depth - 14, (wide + 34) * side),
                          (3.5 - wall, 7 - wall), material, flat=(1.6, 1, 1))  # fmt: skip


def _pelvis(scene: Scene, body: Body) -> None:
    for side in (-1, 1):
        for material, wall in ((tissue.CORTICAL, 0.0), (tissue.TRABECULAR, 1.6)):
            wing = (62 - wall, 5.5 - wall, 58 - wall)
            scene.ellipsoid((-350, 22, 88 * side), wing, material, turn=(48 * side, -12 * side, 0), power=2.5)
    for material, wall in ((tissue.CORTICAL, 0.0), (tissue.TRABECULAR, 1.6)):
        scene.ellipsoid(
            (-352, body.spine_y + 14, 0), (40 - wall, 20 - wall, 50 - wall), material, turn=(0, 0, -20)
        )
