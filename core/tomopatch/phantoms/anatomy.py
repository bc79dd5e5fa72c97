"""Random trunks: one anatomy in two fields of view.

Sizes of adults are chosen at random; z = 0 is the height of the lung roots.
"""

from __future__ import annotations

import numpy as np

from tomopatch.phantoms import tissue
from tomopatch.phantoms.abdomen import belly
from tomopatch.phantoms.body import Body
from tomopatch.phantoms.chest import chest, heart_and_vessels
from tomopatch.phantoms.scene import Material, Scene
from tomopatch.phantoms.skeleton import skeleton


def thorax(seed: int) -> Scene:
    """Trunk from the collar bones to the upper abdomen."""
    return _trunk(Scene(seed))


def abdomen(seed: int) -> Scene:
    """Trunk from the dome of the diaphragm to the pelvis."""
    return _trunk(Scene(seed, lift=190.0))


def _trunk(scene: Scene) -> Scene:
    rng = scene.rng
    body = Body(
        half_width=rng.uniform(160, 182),
        half_depth=rng.uniform(104, 120),
        fat=rng.uniform(7, 20),
        spine_y=rng.uniform(44, 50),
        dome=rng.uniform(-62, -42),
        contrast=bool(rng.random() < 0.4),
        breast=float(rng.choice([0.0, rng.uniform(0.7, 1.2)])),
    )
    _torso(scene, body)
    chest(scene, body)
    belly(scene, body)
    heart_and_vessels(scene, body)
    skeleton(scene, body)
    return scene


def _torso(scene: Scene, body: Body) -> None:
    """Skin, fat and muscles of the body wall, from outside in."""
    height = 900.0
    for inset, material in ((0.0, tissue.SKIN), (2.0, tissue.FAT)):
        for side in (-1, 1):
            if body.breast:
                at = (5, -0.84 * body.half_depth, 0.47 * body.half_width * side)
                radii = body.breast * np.array([62, 40, 66]) - inset
                scene.ellipsoid(at, radii, material, turn=(12 * side, 0, 0))
                if material is tissue.FAT:  # the gland
                    scene.ellipsoid(at, 0.55 * radii, Material(15, 45, 30), bump=(5, 25), soft=6, opacity=0.8)
        scene.ellipsoid(
            (0, 0, 0),
            (height, body.half_depth - inset, body.half_width - inset),
            material,
            power=2.5,
            bump=(1.2, 120),
        )
    wide, deep = body.half_width - 2 - body.fat, body.half_depth - 2 - 0.8 * body.fat
    sheets = (
        (0.0, tissue.MUSCLE),
        (7.0, tissue.LOOSE_FAT),
        (8.6, tissue.MUSCLE),
        (15.0, tissue.LOOSE_FAT),
        (16.4, tissue.MUSCLE),
    )
    for inset, material in sheets:
        scene.ellipsoid((0, 0, 0), (height, deep - inset, wide - inset), material, power=2.5, bump=(2.0, 75))
    for side in (-1, 1):  # erector muscles beside the spine
        at = (-60, body.spine_y + 0.48 * (deep - body.spine_y) + 8, 33 * side)
        for grow, material in ((1.6, tissue.LOOSE_FAT), (0.0, tissue.MUSCLE)):
            scene.ellipsoid(
                at, (height, 17 + grow, 27 + grow), material, turn=(-8 * side, 0, 0), bump=(1.5, 50)
            )
    z, y, x = body.chest_centre
    scene.ellipsoid(
        (z, y, x), (body.CHEST_Z, body.chest_y, body.chest_x), tissue.LOOSE_FAT, power=body.CHEST_POWER
    )
