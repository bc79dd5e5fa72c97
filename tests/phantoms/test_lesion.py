"""Lesions planted into a volume before it is scanned."""

import json
import math

import pytest
import torch

from tomopatch import Volume, VolumeGeometry, phantom
from tomopatch.phantoms.lesions import AIRY, hiding_place, plant
from tomopatch.phantoms.scene import Lesion
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare
from tomopatch.volume import mu_from_hu

WATER = Volume(
    mu_from_hu(torch.zeros(40, 50, 60)), VolumeGeometry((40, 50, 60), (2.0, 1.0, 1.5), (5.0, -3.0, 2.0))
)
BALL = Lesion((12.0, 4.0, -6.0), 9.0, 500.0)


def test_a_lesion_is_a_ball_of_its_size_value_and_place():
    added = plant(WATER, [BALL]).hu
    voxel = 2.0 * 1.0 * 1.5
    volume = float(added.sum()) / BALL.hu * voxel
    assert volume == pytest.approx(4 / 3 * math.pi * BALL.radius**3, rel=0.02)  # to first order at the edge
    assert float(added.max()) == pytest.approx(BALL.hu, abs=0.1)
    for axis in range(3):
        place = WATER.geometry.axis(axis).view([-1 if a == axis else 1 for a in range(3)])
        assert float((added * place).sum() / added.sum()) == pytest.approx(BALL.centre[axis], abs=0.05)
    assert float(WATER.hu.abs().max()) < 1e-3  # the volume itself is left alone


def test_finer_voxels_hold_the_same_lesion():
    fine = Volume(mu_from_hu(torch.zeros(80, 100, 120)), WATER.geometry.with_shape((80, 100, 120)))
    a, b = (
        v.hu.sum() * math.prod(v.geometry.voxel_size) for v in (plant(WATER, [BALL]), plant(fine, [BALL]))
    )
    assert float(a) == pytest.approx(float(b), rel=0.02)


def test_a_lesion_outside_is_refused_with_the_volumes_ends():
    with pytest.raises(ValueError, match=r"outside the volume.*from .*-35"):
        plant(WATER, [Lesion((100.0, 0.0, 0.0), 5.0, 0.0)])


def test_hiding_places_are_in_the_lung_and_differ():
    volume = phantom("thorax", (48, 96, 96))
    places = {hiding_place(volume, 8.0, seed=s) for s in range(6)}
    assert len(places) > 3
    assert hiding_place(volume, 8.0, seed=1) == hiding_place(volume, 8.0, seed=1)
    for place in places:
        z, y, x = (int((volume.geometry.axis(i) - c).abs().argmin()) for i, c in enumerate(place))
        around = volume.hu[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2]
        assert AIRY[0] < float(around.mean()) < AIRY[1]
    with pytest.raises(ValueError, match="no place"):
        hiding_place(WATER, 8.0)


SCAN = ScanConfig(
    "phantom:shepp-logan", (8, 32, 32), num_views=8, lesions=(Lesion((0.0, 10.0, 20.0), 30.0, 300.0),)
)


def test_a_scan_carries_its_lesions():
    again = ScanConfig.from_json(json.loads(json.dumps(SCAN.to_json())))
    assert again == SCAN
    bare = ScanConfig.from_json({k: v for k, v in SCAN.to_json().items() if k != "lesions"})
    assert bare.digest() != SCAN.digest()
    assert "lesions" not in bare.to_json()
    with_it, without = prepare(SCAN), prepare(bare)
    difference = with_it.reference.hu - without.reference.hu
    assert float(difference.abs().max()) > 100
    # it is in the measurement as well
    assert not torch.equal(with_it.measurement.projections, without.measurement.projections)


@pytest.mark.parametrize(
    "lesions",
    [
        [1],
        ["lesion"],
        [[[0, 0], 5, 40]],
        [[[0, 0, 0], -5, 40]],
        [[[0, 0, 0], 5, 9999]],
        [[[0, 0, float("nan")], 5, 40]],
        [[[0, 0, "a"], 5, 40]],
        [[[0, 0, 0], 5, 40]] * 99,
    ],
)
def test_absurd_lesions_are_refused(lesions):
    with pytest.raises(ValueError, match="lesion"):
        ScanConfig.from_json(SCAN.to_json() | {"lesions": lesions})
