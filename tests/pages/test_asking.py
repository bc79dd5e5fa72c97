"""Views, angles and photons as typed numbers; voxels in mm; grids with square voxels in the axial plane."""

import pytest

from pages.ui.forms.grids import describe, isotropic_in_plane, of_voxel_size
from pages.ui.session import routes, state
from tests.pages.test_pages import texts
from tomopatch.runs.config import PHANTOM_GRID
from tomopatch.volume import VolumeGeometry


@pytest.fixture
def acquire(app):
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    return app


@pytest.mark.parametrize("views", [64, 96, 128, 192])
def test_any_number_of_views_can_be_typed(acquire, views):
    acquire.number_input(key=state.field("views.typed")).set_value(views).run()
    assert not acquire.exception
    assert acquire.session_state["_scan"].num_views == views
    assert acquire.select_slider(key=state.field("views")).value == views


def test_the_typed_numbers_follow_the_sliders(acquire):
    acquire.select_slider(key=state.field("views")).set_value(30).run()
    acquire.slider(key=state.field("range")).set_value(120.0).run()
    assert not acquire.exception
    assert acquire.number_input(key=state.field("views.typed")).value == 30
    assert acquire.number_input(key=state.field("range.typed")).value == 120
    acquire.number_input(key=state.field("range.typed")).set_value(137.0).run()
    assert acquire.session_state["_scan"].angle_range == 137


def test_any_number_of_photons_can_be_typed(acquire):
    def typed():
        return acquire.number_input(key=state.field("photons.typed"))

    typed().set_value(12345).run()
    assert not acquire.exception
    assert acquire.session_state["_scan"].photons == 12345
    acquire.select_slider(key=state.field("photons")).set_value(3000).run()
    assert typed().value == 3000
    acquire.toggle(key=state.field("noise")).set_value(False).run()
    assert typed().disabled
    assert acquire.session_state["_scan"].photons is None


def test_acquire_shows_voxels_and_extent_in_mm(acquire):
    assert "Voxels of" in texts(acquire)
    text = describe(VolumeGeometry((10, 20, 40), (5.0, 2.5, 0.75)))
    assert text == "Voxels of 5 × 2.5 × 0.75 mm; 50 × 50 × 30 mm in all (z, y, x)."


@pytest.mark.parametrize(("across", "along", "grid"), [(5.0, 7.0, (40, 80, 80)), (3.0, 4.0, (70, 133, 133))])
def test_the_voxel_size_can_be_typed(acquire, across, along, grid):
    def typed(name):
        return acquire.number_input(key=state.field(f"voxel.{name}"))

    assert typed("across").value == pytest.approx(400 / 128, abs=1e-3)
    assert typed("along").value == pytest.approx(280 / 64, abs=1e-3)
    typed("across").set_value(across).run()
    typed("along").set_value(along).run()
    assert not acquire.exception
    assert acquire.session_state["_scan"].grid == grid
    assert typed("across").value == pytest.approx(400 / grid[2], abs=1e-3)  # a whole number of voxels
    acquire.segmented_control(key=state.field("grid")).set_value("S").run()
    assert acquire.session_state["_scan"].grid == PHANTOM_GRID
    assert typed("across").value == pytest.approx(400 / 128, abs=1e-3)


def test_typed_voxels_are_never_finer_than_the_volume():
    native = VolumeGeometry((50, 200, 200), (4.0, 2.0, 2.0))
    assert of_voxel_size(native, 1.0, 1.0, finest=native.shape) == native.shape
    assert of_voxel_size(native, 4.0, 8.0, finest=native.shape) == (25, 100, 100)
    assert of_voxel_size(native, 1e9, 1e9, finest=None) == (1, 1, 1)


@pytest.mark.parametrize(
    ("shape", "voxel"),
    [((64, 512, 512), (5, 0.63, 0.84)), ((400, 380, 512), (1, 0.7, 0.7)), ((9, 40, 30), (1, 1, 1))],
)
def test_grids_of_volumes_have_square_voxels_in_the_plane(shape, voxel):
    native = VolumeGeometry(shape, voxel)
    grid = isotropic_in_plane(PHANTOM_GRID, native)
    assert all(n <= min(most, full) for n, most, full in zip(grid, PHANTOM_GRID, shape, strict=True))
    _, dy, dx = native.with_shape(grid).voxel_size
    assert dy == pytest.approx(dx, rel=0.02)
    assert max(grid[1:]) == min(128, max(shape[1:]))
