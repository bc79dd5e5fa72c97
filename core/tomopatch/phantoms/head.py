"""Random heads: skull with its air spaces, brain, eyes, jaws and teeth."""

# ruff: noqa: RUF005 - the vectors here are numpy arrays: + (z, y, x) moves a point

from __future__ import annotations

import numpy as np

from tomopatch.phantoms import tissue
from tomopatch.phantoms.scene import Material, Scene
from tomopatch.phantoms.skeleton import rod, spine
from tomopatch.phantoms.trees import Point, curve

_GREY, _WHITE = Material(40, 1, 2), Material(27, 1, 2)
_DIPLOE = Material(420, 60, 80)
_SKULL = Material(1050, 30, 40)
_BRAIN_CASE = np.array([26.0, 6.0, 0.0])  # its centre
_EYE = np.array([-14.0, -61.0, 32.0])


def head(seed: int) -> Scene:
    """Head from the crown to the jaw; the centre of the brain case lies a little above z = 0."""
    scene = Scene(seed)
    rng = scene.rng
    case = np.array([rng.uniform(66, 71), rng.uniform(84, 92), rng.uniform(68, 75)])  # outside of the skull
    _soft_tissue(scene, case)
    _vault(scene, case)
    _brain(scene, case - rng.uniform(6.2, 7.5))
    _base(scene, case)
    _face(scene)
    for side in (-1, 1):
        _orbit(scene, side)
    spine(scene, np.array([-68.0, -86.0, -104.0, -122.0]), 22, size=0.72)
    return scene


def _soft_tissue(scene: Scene, case: np.ndarray) -> None:
    for inset, material in ((0.0, tissue.SKIN), (2.0, tissue.FAT), (4.5, tissue.MUSCLE)):
        scene.ellipsoid(_BRAIN_CASE, case + 6 - inset, material, bump=(0.4, 60))
        scene.ellipsoid((-50, -28, 0), np.array([72, 66, 63]) - inset, material, power=2.5)  # face
        scene.ellipsoid((-110, 18, 0), np.array([80, 56, 58]) - inset, material, power=2.5)  # neck
        scene.ellipsoid(
            (-36, -90, 0), np.array([16, 17, 12]) - 0.8 * inset, material, turn=(0, 0, -25)
        )  # nose
        for side in (-1, 1):
            ear = np.array([30, 15, 5]) - 0.8 * inset
            scene.ellipsoid((-14, 16, (0.9 * case[2] + 6) * side), ear, material, turn=(35 * side, 0, 0))
    for side in (-1, 1):
        scene.ellipsoid((-52, -50, 40 * side), (30, 22, 15), tissue.FAT, bump=(2, 25))  # cheek
        scene.ellipsoid((-62, -12, 52 * side), (38, 20, 8), tissue.MUSCLE, turn=(-6 * side, 0, 0))  # masseter
        scene.ellipsoid((-52, 12, 54 * side), (26, 12, 10), Material(10, 25, 20))  # parotid
        scene.capsule((-110, -4, 34 * side), (-40, 4, 30 * side), 4.0, tissue.BLOOD)
        scene.capsule((-30, 26, 52 * side), (-110, -4, 34 * side), 9.0, tissue.MUSCLE, flat=(1, 1.5, 0.7))


def _face(scene: Scene) -> None:
    """Upper and lower jaw, teeth, nose, sinuses, orbits."""
    scene.ellipsoid((-40, -42, 0), (30, 36, 40), tissue.MUSCLE)
    scene.ellipsoid((-32, -50, 0), (27, 29, 39), _SKULL._replace(hu=650), power=2.5)  # the mid-face
    for side in (-1, 1):
        cheek = curve([(-30, -62, 38 * side), (-24, -42, 60 * side), (-20, -14, 67 * side)], 10)
        rod(scene, cheek, 4.2, flat=(1.5, 1, 1))
        _cavity(scene, (-40, -50, 23 * side), (19, 18, 13), tissue.GAS, wall=2.0)  # maxillary sinus
        if scene.rng.random() < 0.4:
            scene.ellipsoid((-55, -48, 23 * side), (5, 11, 9), tissue.WATER, soft=2)
    scene.ellipsoid((-36, -55, 0), (24, 36, 11), tissue.GAS, power=2.8)  # nose
    scene.ellipsoid((-32, -58, 0), (26, 28, 0.9), Material(180))
    for side in (-1, 1):
        for level in (-26, -40, -52):
            scene.capsule(
                (level, -74, 6.5 * side), (level - 1, -38, 6.5 * side), 3.0, tissue.MUSCLE, flat=(1.4, 1, 0.8)
            )
        for k in range(8):  # ethmoid cells
            scene.ellipsoid(
                (-14 + 4 * (k % 2), -72 + 6.5 * k, (7 + 3 * (k % 2)) * side), (7, 4, 4.5), tissue.GAS
            )
        _cavity(scene, (-20, -16, 8 * side), (9, 11, 8), tissue.GAS, wall=1.5)  # sphenoid sinus
    turn = np.linspace(-1.25, 1.25, 14)
    arch = np.stack([np.zeros(14), -36 - 46 * np.cos(turn), 30 * np.sin(turn)], axis=1)
    scene.ellipsoid((-66, -46, 0), (9, 30, 22), tissue.MUSCLE, bump=(1, 20))  # tongue
    scene.ellipsoid((-84, -40, 0), (14, 32, 24), tissue.MUSCLE)
    for z, down in ((-60.0, 1.0), (-88.0, -1.0)):
        rod(scene, arch + (z, 0, 0), 6.0, cortex=1.6, flat=(1.5, 1, 1))
        for point in arch:
            tooth = point + (z - 2 * down, 0, 0)
            scene.capsule(tooth, tooth - (9 * down, 0, 0), (2.8, 3.6), Material(1700, 60, 60))
            scene.capsule(tooth, tooth - (7 * down, 0, 0), 1.0, Material(500))
    if scene.rng.random() < 0.35:  # a filling
        scene.ellipsoid(arch[int(scene.rng.integers(14))] + (-72, 0, 0), (2.5, 2.2, 2.2), Material(3000))
    for side in (-1, 1):
        jaw = curve(
            [(-92, -54, 30 * side), (-88, -20, 44 * side), (-60, -6, 48 * side), (-30, 2, 50 * side)], 12
        )
        rod(scene, jaw, 5.0, cortex=1.8, flat=(1, 1.8, 0.9))
    throat = curve([(-34, -14, 0), (-70, -12, 0), (-125, -10, 0)], 10)
    scene.tube(throat, 8.0, tissue.GAS, flat=(1, 0.6, 1.3))


def _orbit(scene: Scene, side: int) -> None:
    eye = _EYE * (1, 1, side)
    scene.ellipsoid(eye + (0, 15, -5 * side), (20, 29, 19), _SKULL, turn=(-20 * side, 0, 0))
    scene.ellipsoid(eye + (0, 14, -5 * side), (18, 29, 17), tissue.FAT, turn=(-20 * side, 0, 0))
    apex = eye + (0, 38, -16 * side)
    for away in ((9, 0, 0), (-9, 0, 0), (0, 0, 9), (0, 0, -9)):
        scene.capsule(eye + np.array(away) + (0, 4, 0), apex, (2.4, 1.5), tissue.MUSCLE)
    scene.capsule(eye + (0, 8, 0), apex, 2.2, tissue.NERVE)
    scene.ellipsoid(eye, (12.5, 12.5, 12.5), Material(55))
    scene.ellipsoid(eye, (11.3, 11.3, 11.3), tissue.WATER)
    scene.ellipsoid(eye - (0, 8.5, 0), (4.6, 2.2, 4.6), Material(85))
    scene.ellipsoid(eye - (0, 13, 0), (11, 3.5, 13), tissue.SKIN)  # lid


def _vault(scene: Scene, case: np.ndarray) -> None:
    scene.ellipsoid(_BRAIN_CASE, case, _SKULL)
    scene.ellipsoid(_BRAIN_CASE, case - 2.0, _DIPLOE, bump=(0.5, 30))
    scene.ellipsoid(_BRAIN_CASE, case - 4.2, _SKULL, bump=(0.4, 30))


def _base(scene: Scene, case: np.ndarray) -> None:
    """Skull base, painted over the brain's underside: wings, petrous bones, ears, clivus, sinus."""
    rng = scene.rng
    for side in (-1, 1):
        wing = curve([(-6, -34, 58 * side), (-8, -30, 34 * side), (-12, -18, 14 * side)], 8)
        scene.tube(wing, np.linspace(6, 5, 8), _SKULL._replace(hu=800), flat=(0.8, 1, 1))
        scene.ellipsoid((-22, -30, 40 * side), (14, 9, 26), _SKULL._replace(hu=700), bump=(1, 20))
        scene.ellipsoid((-24, -30, 40 * side), (12, 7, 23), tissue.MUSCLE, bump=(1, 20))
        petrous = curve([(-24, 22, 58 * side), (-24, 8, 36 * side), (-22, -2, 16 * side)], 8)
        scene.tube(petrous, np.linspace(13, 7, 8), tissue.COMPACT, flat=(0.9, 1, 1))
        for spot in np.array([-26, 26, 58 * side]) + rng.normal(0, 1, (26, 3)) * (8, 6, 4):  # mastoid cells
            scene.ellipsoid(spot, rng.uniform(1.5, 3.5, 3), tissue.GAS)
        scene.capsule((-22, 8, 80 * side), (-22, 10, 44 * side), 3.2, tissue.GAS)  # ear canal
        scene.ellipsoid((-22, 8, 38 * side), (4, 5, 3), tissue.GAS)
        frontal = (10 + rng.uniform(-2, 6), -case[1] + 12, 12 * side)
        _cavity(scene, frontal, (rng.uniform(9, 15), 4, rng.uniform(7, 11)), tissue.GAS, wall=1.8)
        clivus = curve([(-14, -4, 0), (-30, 2, 0), (-44, 10, 0)], 5)
    rod(scene, clivus, 7.0, flat=(1, 0.8, 1.6))


def _brain(scene: Scene, inside: np.ndarray) -> None:
    """Contents of the skull: fluid, grey and white matter, ventricles, cerebellum, a lesion."""
    rng = scene.rng
    c = _BRAIN_CASE
    scene.ellipsoid(c, inside, tissue.WATER)
    scene.ellipsoid(c, inside - 3.8, _GREY, bump=(1.8, 11))
    scene.ellipsoid(c, inside - 9, _GREY)
    for side in (-1, 1):
        hemisphere = c + np.array([5, 0, 27 * side])
        scene.ellipsoid(hemisphere, inside * (0.74, 0.80, 0.40), _WHITE, bump=(3.0, 15))
        sylvian = curve(
            [(c[0] - 12, -20, 30 * side), (c[0] - 8, -8, 52 * side), (c[0] + 4, 14, 62 * side)], 8
        )
        scene.tube(sylvian, 2.4, tissue.WATER, flat=(1.6, 1, 1), bump=(0.8, 12))
    scene.ellipsoid(c + (14, 4, 0), (40, inside[1] - 2, 1.6), tissue.WATER)
    scene.ellipsoid(c + (24, 4, 0), (42, inside[1] - 1, 0.9), Material(58))  # falx
    scene.ellipsoid(c + (2, -4, 0), (10, 36, 14), _WHITE, bump=(1, 20))  # corpus callosum
    wide = rng.uniform(0.8, 1.5)
    for side in (-1, 1):
        scene.ellipsoid(c + (-4, -4, 12 * side), (12, 17, 8), _GREY._replace(hu=41))  # thalamus
        scene.ellipsoid(c + (2, -20, 15 * side), (13, 15, 7), _GREY._replace(hu=41), turn=(18 * side, 0, 0))
        scene.ellipsoid(c + (-2, -16, 26 * side), (11, 17, 5), _GREY._replace(hu=41), turn=(14 * side, 0, 0))
        body = np.array([(6, -34, 12), (14, -16, 8), (17, 8, 9), (12, 28, 17), (0, 44, 20)])
        ventricle = curve(c + body * (1, 1, side), 14)
        bulge = wide * np.array([3, 4, 4.4, 4.6, 4.4, 4.2, 4.2, 4.4, 5, 5.6, 5.6, 4.8, 3.6, 2.4])
        scene.tube(ventricle, bulge, tissue.WATER, flat=(1.2, 1, 0.9))
        horn = curve([ventricle[9], c + (-16, 24, 34 * side), c + (-22, 4, 34 * side)], 8)
        scene.tube(horn, 2.2 * wide, tissue.WATER)
        scene.tube(ventricle[9:11], 1.6, Material(180))  # choroid plexus, calcified
    scene.ellipsoid(c + (-6, -2, 0), (11, 14, 2.0 * wide), tissue.WATER)  # third ventricle
    scene.ellipsoid(c + (-4, 18, 0), (3, 3.5, 3), Material(150))  # pineal gland
    _hindbrain(scene, c)
    away = rng.choice([-1, 1]) * rng.uniform(24, 44)
    spot = c + np.array([rng.uniform(-5, 30), rng.uniform(-40, 40), away])
    if rng.random() < 0.5:
        scene.lesion(spot, rng.uniform(5, 14), Material(68, 3, 3), bump=(1.5, 14))  # haemorrhage
    else:
        scene.ellipsoid(spot, (18, 20, 16), Material(18, 2, 2), bump=(3, 20), soft=6)  # oedema
        scene.lesion(spot, rng.uniform(5, 10), Material(48, 5, 3), bump=(1, 10))


def _hindbrain(scene: Scene, c: np.ndarray) -> None:
    tent = c + np.array([-29, 30, 0])
    scene.ellipsoid(tent, (20, 29, 43), tissue.WATER)
    for side in (-1, 1):
        scene.ellipsoid(tent + (-2, 2, 19 * side), (18, 25, 23), _GREY, bump=(0.8, 6))
        scene.ellipsoid(tent + (-2, -4, 18 * side), (9, 13, 14), _WHITE, bump=(2, 9))
    scene.ellipsoid(tent + (-2, 6, 0), (18, 20, 8), _GREY, bump=(1.2, 6))
    scene.capsule(c + (-14, 2, 0), c + (-64, 22, 0), (15, 8), tissue.WATER)
    scene.capsule(c + (-12, 4, 0), c + (-64, 22, 0), (12, 6), _WHITE)
    scene.ellipsoid(c + (-34, 22, 0), (9, 5, 6), tissue.WATER)  # fourth ventricle
    scene.ellipsoid(c + (-16, -16, 0), (6, 9, 11), tissue.WATER)  # the star-shaped cistern
    scene.ellipsoid(c + (-28, -20, 0), (5, 6, 7), _GREY)  # pituitary gland


def _cavity(scene: Scene, centre: Point, radii: Point, content: Material, *, wall: float) -> None:
    scene.ellipsoid(centre, np.add(radii, wall), _SKULL, power=2.5, bump=(1, 14))
    scene.ellipsoid(centre, radii, content, power=2.5, bump=(1, 14))
