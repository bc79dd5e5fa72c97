"""The patient table is removed from a synthetic body; arms and anatomy stay."""

import pytest
import torch

from tomopatch.volume import Volume, VolumeGeometry, body_box, crop
from tomopatch.volume.table import without_table

VG = VolumeGeometry((20, 130, 200), (3.0, 2.0, 2.0))
Y, X = torch.meshgrid(VG.axis(1), VG.axis(2), indexing="ij")


def ellipse(y, x, ry, rx):
    return ((Y - y) / ry) ** 2 + ((X - x) / rx) ** 2 <= 1


def scene(*, arm=False, table=True, gap=4.0, vg=VG):
    """A thorax with thin walls, with an arm on one side and a table with a foam core below."""
    hu = torch.full(Y.shape, -1000.0)
    hu[ellipse(-20, 0, 80, 120)] = 40.0
    for side in (-60, 60):
        hu[ellipse(-20, side, 62, 50)] = -850.0
    if arm:
        hu[ellipse(-10, 165, 25, 22)] = 40.0
    if table:
        top = 60 + gap
        slab = (top <= Y) & (top + 40 >= Y) & (X.abs() <= 170)
        core = (top + 5 <= Y) & (top + 35 >= Y) & (X.abs() <= 165)
        hu[slab] = 100.0
        hu[core] = -900.0
    return Volume.from_hu(hu.expand(vg.shape).clone(), vg)


def anatomy(volume, *, arm):
    """HU of the body's voxels alone."""
    mask = ellipse(-20, 0, 80, 120) | (ellipse(-10, 165, 25, 22) if arm else False)
    return volume.hu[:, mask]


@pytest.mark.parametrize("gap", [4.0, 0.0])
def test_a_table_below_the_body_becomes_air(gap):
    volume = scene(gap=gap)
    found = without_table(volume)
    assert found.geometry == volume.geometry
    torch.testing.assert_close(anatomy(found, arm=False), anatomy(volume, arm=False))
    table = (72 + gap <= Y) & (Y <= 110)
    assert float(found.hu[:, table].max()) <= -999
    cut = crop(found, body_box(found))
    assert cut.geometry.voxel_size == volume.geometry.voxel_size
    assert cut.geometry.size[1] <= 160 + 20
    assert crop(volume, body_box(volume)).geometry.size[1] >= 200


def test_an_arm_apart_from_the_body_stays():
    volume = scene(arm=True)
    found = without_table(volume)
    torch.testing.assert_close(anatomy(found, arm=True), anatomy(volume, arm=True))
    assert float(found.hu[:, Y >= 76].max()) <= -999
    cut = crop(found, body_box(found))
    assert float(cut.geometry.axis(2)[-1]) >= 185  # the arm's outer edge


def test_a_volume_without_a_table_is_unchanged():
    for volume in (scene(arm=True, table=False), Volume.from_hu(torch.full(VG.shape, -1000.0), VG)):
        assert without_table(volume) is volume
    full = Volume.from_hu(torch.zeros(VG.shape), VG)
    assert without_table(full) is full


def test_a_small_animal_keeps_its_thin_walls():
    """The same body and table at a tenth of the size: the opening shrinks with the body."""
    vg = VolumeGeometry(VG.shape, (0.3, 0.2, 0.2))
    volume = scene(vg=vg)
    found = without_table(volume)
    torch.testing.assert_close(anatomy(found, arm=False), anatomy(volume, arm=False))


def test_a_thin_faint_curved_shell_is_a_table_too():
    """A shell of carbon fibre is thinner than a voxel of the search and less dense than the body."""
    volume = scene(table=False)
    bottom = 100 - (X / 30) ** 2
    shell = ((bottom - Y).abs() <= 2) & (X.abs() <= 120) & (Y > 70)
    hu = volume.hu.clone()
    hu[:, shell] = -450.0
    found = without_table(Volume.from_hu(hu, VG))
    torch.testing.assert_close(anatomy(found, arm=False), anatomy(volume, arm=False))
    assert float(found.hu[:, shell].max()) <= -999


@pytest.mark.parametrize("arm", [False, True])
@pytest.mark.parametrize("hu_of_shell", [-700.0, -600.0])
def test_both_arcs_of_a_thin_sheet_that_touches_the_body_become_air(arm, hu_of_shell):
    """A sheet on a curved table: the body rests on its middle, and its ends rise to the body's height."""
    volume = scene(arm=arm, table=False)
    sheet = ((61 - (X / 45) ** 2 - Y).abs() <= 1) & (X.abs() <= 160)
    curved = ((100 - (X / 30) ** 2 - Y).abs() <= 2) & (X.abs() <= 140)
    hu = volume.hu.clone()
    hu[:, sheet] = torch.maximum(hu[:, sheet], torch.tensor(hu_of_shell))
    hu[:, curved] = torch.maximum(hu[:, curved], torch.tensor(-450.0))
    found = without_table(Volume.from_hu(hu, VG))
    body = Volume.from_hu(hu, VG)
    torch.testing.assert_close(anatomy(found, arm=arm), anatomy(body, arm=arm))
    arcs = sheet & (X.abs() >= 75) | curved  # nearer to the middle the sheet may count as skin
    assert float(found.hu[:, arcs].max()) <= -999


def test_rails_beside_the_body_go_with_the_table_and_a_hand_stays():
    """The rails at the corners of a table that carries a narrower body, and a hand that lies on it."""
    hu = scene().hu.clone()
    body = ellipse(-20, 0, 80, 120)
    rails = (Y >= 30) & (Y <= 66) & (X.abs() >= 152) & (X.abs() <= 168)
    hand = (Y >= 40) & (Y <= 63) & (X >= -125) & (X <= -100)
    hu[:, body] = 40.0
    hu[:, rails] = 300.0
    hu[:7, hand] = 40.0
    found = without_table(Volume.from_hu(hu, VG))
    assert float(found.hu[:, body].min()) > 39
    assert float(found.hu[:, rails].max()) <= -999
    assert float(found.hu[:5, hand & (Y <= 58)].min()) > 39


def test_vessels_of_a_lung_that_the_grid_cuts_stay():
    """Thin structures without body above them are not outside where the slices end within the body."""
    volume = scene()
    cut = volume.hu[:, 45:].clone()  # through the lungs
    vg = VolumeGeometry(tuple(cut.shape), VG.voxel_size)
    x, lung = X[45:], cut[10] == -850
    vessels = lung & ((x / 12).round() * 12 - x).abs().le(1)
    cut[:, vessels] = 40.0
    found = without_table(Volume.from_hu(cut, vg))
    assert float(found.hu[:, vessels].min()) >= 39
