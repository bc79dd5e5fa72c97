import math

import pytest
import torch

from tomopatch import Volume, VolumeGeometry
from tomopatch.physics.effects import Insert
from tomopatch.physics.materials.attenuation import mu, reference_energy
from tomopatch.physics.materials.inserts import extent, plant_inserts, planted

GRIDS = [
    VolumeGeometry((30, 40, 50), (1.0, 1.0, 1.0), (3.0, -2.0, 1.0)),
    VolumeGeometry((12, 40, 30), (2.5, 1.0, 1.5), (3.0, -2.0, 1.0)),
]


@pytest.mark.parametrize("vg", GRIDS)
@pytest.mark.parametrize(
    ("insert", "volume"),
    [
        (Insert("ball", centre=(3.3, 1.2, -2.6), size=(12.0, 1.0)), math.pi / 6 * 12**3),
        (Insert("ball", centre=(3.3, 1.2, -2.6), size=(1.5, 1.0)), math.pi / 6 * 1.5**3),
        (Insert("rod", centre=(3.3, 1.2, -2.6), size=(7.0, 13.3), axis="y"), math.pi / 4 * 7**2 * 13.3),
        (Insert("rod", centre=(3.3, 1.2, -2.6), size=(0.8, 13.3), axis="z"), math.pi / 4 * 0.8**2 * 13.3),
        (
            Insert("screw", centre=(3.3, 1.2, -2.6), size=(5.0, 20.0), axis="z"),
            math.pi / 4 * (5**2 * 17 + 10**2 * 3),
        ),
        (Insert("plate", centre=(3.3, 1.2, -2.6), size=(10.1, 0.4), axis="x"), 10.1**2 * 0.4),
    ],
)
def test_an_insert_has_its_volume_and_its_centre(insert, volume, vg):
    box, share = planted(insert, vg)
    assert share.min() >= 0
    assert share.max() <= 1 + 1e-9
    # a ball of one voxel has the largest error; plates are exact
    assert float(share.sum()) * math.prod(vg.voxel_size) == pytest.approx(volume, rel=0.025)
    for axis in range(3):
        along = share.sum(tuple(a for a in range(3) if a != axis))
        centre = float((vg.axis(axis)[box[axis]] * along).sum() / along.sum())
        # a partly covered voxel does not store the position of its material
        voxel = vg.voxel_size[axis]
        wide = 2 * extent(insert)[axis] > 5 * voxel
        shift = 0.0
        if insert.shape == "screw" and "zyx"[axis] == insert.axis:  # the head is at the upper end
            shift = 10**2 * 3 * (20 - 3) / 2 / (5**2 * 17 + 10**2 * 3) - 5**2 * 17 * 3 / 2 / (
                5**2 * 17 + 10**2 * 3
            )
        assert centre == pytest.approx(insert.centre[axis] + shift, abs=(0.03 if wide else 0.5) * voxel)


def test_painted_attenuation_is_that_at_the_reference_energy():
    vg = GRIDS[0]
    volume = Volume(torch.full(vg.shape, 0.01), vg)
    painted = plant_inserts(volume, [Insert("plate", "steel", (3.0, -2.0, 1.0), (8.0, 8.0))])
    assert float(painted.data[15, 20, 25]) == pytest.approx(float(mu("steel", reference_energy())), rel=1e-5)
    assert float(painted.data[0, 0, 0]) == pytest.approx(0.01)


def test_the_later_insert_counts_and_the_order_matters():
    vg = GRIDS[0]
    volume = Volume(torch.zeros(vg.shape), vg)
    steel, air = (Insert("ball", m, (3.0, -2.0, 1.0), (8.0, 1.0)) for m in ("steel", "air"))
    assert float(plant_inserts(volume, [air, steel]).data.max()) > 0.5
    assert float(plant_inserts(volume, [steel, air]).data[15, 20, 25]) < 1e-4


def test_part_of_an_insert_may_lie_outside():
    vg = GRIDS[0]
    _, share = planted(Insert("rod", centre=vg.pos, size=(6.0, 1000.0)), vg)
    assert float(share.sum()) == pytest.approx(math.pi * 9 * vg.size[0], rel=0.01)


def test_an_insert_outside_is_refused():
    with pytest.raises(ValueError, match=r"titanium ball at \(200, 0, 0\) mm .* lies outside the volume"):
        planted(Insert("ball", centre=(200.0, 0.0, 0.0)), GRIDS[0])
