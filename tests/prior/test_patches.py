import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TINY
from tomopatch.prior.conditions import Context, network_inputs
from tomopatch.prior.patches import (
    PatchGrid,
    context_noise_factor,
    coordinates,
    cut,
    global_context,
    neighbourhood,
    offset_steps,
    paste,
    reduced,
    reflect_index,
)

CUBE, SLICE = (8, 8, 8), (1, 16, 16)
SHAPES = [(8, 8, 8), (16, 24, 8), (9, 17, 30), (5, 8, 23), (3, 1, 40)]

EDGES = st.sampled_from([1, 4, 8, 12])


@st.composite
def grids(draw):
    """A pass over a volume of any shape, with tiles and an offset of any allowed kind."""
    tile = tuple(draw(EDGES) for _ in range(3))
    shape = tuple(draw(st.integers(1, 20)) for _ in range(3))
    offset = tuple(draw(st.integers(0, 5)) * step for step in offset_steps(tile))
    return PatchGrid(shape, tile, offset)


@given(grids(), st.integers(0, 2**31))
@settings(max_examples=60, deadline=None)
def test_pasting_all_tiles_gives_the_volume_back(grid, seed):
    x = torch.rand(grid.shape, generator=torch.Generator().manual_seed(seed))
    merged = torch.full(grid.padded_shape, torch.nan)
    paste(merged, cut(grid.pad(x), grid.starts, grid.tile), grid.starts)
    assert torch.equal(grid.crop(merged), x)


@given(grids())
@settings(max_examples=40, deadline=None)
def test_every_voxel_belongs_to_exactly_one_tile(grid):
    voxels = torch.arange(math.prod(grid.padded_shape)).view(grid.padded_shape)
    in_tiles = cut(voxels, grid.starts, grid.tile).flatten()
    assert torch.equal(in_tiles.sort().values, voxels.flatten())


def test_offsets_are_fresh_and_cover_all_places_on_the_grid_of_the_neighbourhoods(generator):
    offsets = {PatchGrid.random((16, 32, 16), (16, 16, 16), generator=generator).offset for _ in range(600)}
    assert offsets == {(z, y, x) for z in (0, 4, 8, 12) for y in (0, 4, 8, 12) for x in (0, 4, 8, 12)}
    offsets = {PatchGrid.random((9, 16, 16), SLICE, generator=generator).offset for _ in range(200)}
    assert offsets == {(0, y, x) for y in (0, 4, 8, 12) for x in (0, 4, 8, 12)}, (
        "slices lie on all slices anyhow"
    )


def test_a_volume_of_one_tile_is_not_moved(generator):
    """It has no seams, and where it wraps would be one."""
    assert all(
        PatchGrid.random((9, 16, 12), (16, 16, 16), generator=generator).offset == (0, 0, 0)
        for _ in range(20)
    )


def test_reflection_repeats_edges_and_never_leaves_the_volume():
    assert reflect_index(3, 8).tolist() == [0, 1, 2, 2, 1, 0, 0, 1]
    assert reflect_index(1, 4).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("shape", [(16, 24, 8), (9, 17, 30)])
@pytest.mark.parametrize("tile", [CUBE, SLICE])
def test_an_echo_of_the_coordinates_reproduces_them_through_the_tiler(shape, tile, generator):
    """A probe network that returns a coordinate channel must give back where each voxel is."""
    grid = PatchGrid.random(shape, tile, generator=generator)
    config = TINY if tile == CUBE else replace(TINY, patch_size=16, two_d=True, neighbourhoods=0)
    context = Context.of(torch.rand(grid.padded_shape, generator=generator), config)
    for axis in range(3):
        padded = torch.empty(grid.padded_shape)
        for starts in grid.batches(5):
            inputs = network_inputs(context, starts, tile)
            paste(padded, inputs[:, axis - 3], starts)
        n = grid.padded_shape[axis]
        expected = ((torch.arange(n) + 0.5) * 2 / n - 1).view([-1 if a == axis else 1 for a in range(3)])
        torch.testing.assert_close(grid.crop(padded), grid.crop(expected.expand(grid.padded_shape)))


@pytest.mark.parametrize("factor", [2, 4])
@pytest.mark.parametrize("start", [(20, 4, 8), (60, 28, 0)])
def test_neighbourhoods_lie_about_the_tile_and_show_more_of_it_coarser(factor, start):
    n = 16
    z = torch.arange(8.0 * n).view(-1, 1, 1)
    ramp = (z - start[0] - (n - 1) / 2).expand(8 * n, 2 * n, 2 * n)  # 0 in the middle of the tile
    cube = (n, n, n)
    tile, around = cut(ramp, [start], cube)[0], neighbourhood(reduced(ramp, factor), [start], cube, factor)[0]
    assert around.shape == tile.shape
    middle = around[n // 2 - 2 : n // 2 + 2, 0, 0]  # far from where the torus wraps
    assert float(middle.mean()) == pytest.approx(float(tile.mean()), abs=1e-4)  # the same centre
    torch.testing.assert_close(middle.diff(), torch.full((3,), float(factor)))  # coarser by `factor`


def test_global_context_is_the_average_of_the_whole(generator):
    x = torch.rand(16, 24, 32, generator=generator)
    context = global_context(x, (8, 8, 8))
    assert context.shape == (8, 8, 8)
    torch.testing.assert_close(context[0, 0, 0], x[:2, :3, :4].mean())


def test_context_lowers_white_noise_by_the_root_of_the_voxels_in_a_cell(generator):
    shape, tile = (64, 96, 80), (16, 16, 16)
    factor = context_noise_factor(shape, tile)
    assert factor == pytest.approx((4 * 6 * 5) ** -0.5)
    found = global_context(torch.randn(shape, generator=generator), tile).std()
    assert float(found) == pytest.approx(factor, rel=0.06)  # of 4096 averages: 1.1 % by chance


def test_tiles_of_air_can_be_left_out():
    grid = PatchGrid((16, 16, 16), (8, 8, 8))
    keep = torch.zeros(16, 16, 16, dtype=torch.bool)
    keep[3, 12, 1] = True
    assert [s for batch in grid.batches(4, keep) for s in batch] == [(0, 8, 0)]


def test_coordinates_wrap_with_the_tile():
    c = coordinates((16, 16, 16), [(12, 0, 0)], (8, 8, 8))[0, 0, :, 0, 0]
    assert c.tolist() == pytest.approx([0.5625, 0.6875, 0.8125, 0.9375, -0.9375, -0.8125, -0.6875, -0.5625])


def test_bad_tilings_are_refused():
    with pytest.raises(ValueError, match="edges must be 1 or multiples of 4"):
        PatchGrid((8, 8, 8), (6, 8, 8))
    with pytest.raises(ValueError, match="multiples of 4"):
        PatchGrid((8, 8, 8), (8, 8, 8), (2, 0, 0))
    with pytest.raises(ValueError, match="planned for"):
        PatchGrid((8, 8, 8), (8, 8, 8)).pad(torch.zeros(8, 8, 9))
