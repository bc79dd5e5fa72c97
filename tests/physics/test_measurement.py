import contextlib
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopatch import (
    MU_WATER,
    ConeBeam,
    Measurement,
    ParallelBeam,
    Projector,
    Volume,
    VolumeGeometry,
    relative_dose,
    resample,
    simulate,
)
from tomopatch.physics.measurement import expected_counts, from_counts, full_scan_views


@pytest.fixture
def A(small):
    return Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))


def test_without_noise_it_is_the_projection(small, A):
    m = simulate(small, A)
    torch.testing.assert_close(m.projections, A(small.data))
    assert m.weights is None


def test_mass_is_the_same_in_every_parallel_view(small, A):
    sums = simulate(small, A).projections.sum((0, 2))
    # rays of a slanted view sample the edges differently; the total differs by less than a percent
    torch.testing.assert_close(sums, sums.mean().expand_as(sums), rtol=0.01, atol=0)


def test_counts_and_line_integrals_are_inverse(A, generator):
    y = torch.rand(A.range_shape, generator=generator) * 4
    m = from_counts(expected_counts(y, 1e5), A.pg, photon_count=1e5)
    torch.testing.assert_close(m.projections, y, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("photon_count", [1e3, 1e5])
def test_weights_are_the_inverse_variance(photon_count):
    vg = VolumeGeometry((1, 8, 8))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=400, det_shape=(1, 40), pixel_size=(1.0, 0.2)))
    volume = Volume(torch.full(vg.shape, 0.05), vg)
    clean = simulate(volume, A, supersample=1).projections
    noisy = simulate(volume, A, photon_count=photon_count, electronic_noise=5.0, supersample=1)
    normalised = (noisy.projections - clean) * noisy.weights.sqrt()
    # 16,000 rays: the standard deviation of a standard deviation is 0.6 %; the rest is the logarithm's
    # curvature
    assert float(normalised.std()) == pytest.approx(1.0, abs=0.04)
    assert abs(float(normalised.mean())) < 0.1


def test_noise_is_seeded(small, A):
    a, b, c = (
        simulate(small, A, photon_count=1e4, generator=torch.Generator().manual_seed(s)).projections
        for s in (1, 1, 2)
    )
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_a_finer_volume_is_measured_with_finite_pixels(small):
    """The same object, four times finer, through the same detector: nearly what its average gives."""
    fine = resample(small, (32, 96, 96))
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    a, b = simulate(fine, A).projections, simulate(small, A).projections
    assert a.shape == b.shape
    assert 0 < float((a - b).norm() / b.norm()) < 0.05


def test_dose_is_relative_to_a_full_scan(small, A):
    full = full_scan_views(A.pg)
    assert relative_dose(A.pg, 1e5) == pytest.approx(8 / full)
    assert relative_dose(A.pg, 2e4) == pytest.approx(8 / full / 5)
    assert math.isnan(relative_dose(A.pg, None))


def test_bad_input_is_refused(small, A):
    with pytest.raises(ValueError, match="photon_count"):
        simulate(small, A, photon_count=0)
    with pytest.raises(ValueError, match="same angle_index"):
        Measurement(torch.zeros(3, 4, 5), A.pg)
    with pytest.raises(ValueError, match="NaN"):
        Measurement(torch.full(A.range_shape, float("nan")), A.pg)


def test_subset_takes_projections_geometry_and_weights_along(small, A):
    m = simulate(small, A, photon_count=1e4).subset([5, 2])
    assert m.geometry.angles == (A.pg.angles[5], A.pg.angles[2])
    torch.testing.assert_close(m.projections, simulate(small, A, photon_count=1e4).projections[:, [5, 2]])
    assert m.weights.shape == m.projections.shape


def test_an_object_cut_by_the_ends_of_the_volume_is_measured_alike_in_all_rows():
    """A long cylinder: no row may see less of it because the volume ends half a row further."""
    fine = VolumeGeometry((21, 48, 48), (2.0, 1.0, 1.0))
    y, x = torch.meshgrid(*(torch.arange(48) - 23.5,) * 2, indexing="ij")
    cylinder = Volume(0.02 * ((y**2 + x**2) < 400).float().expand(fine.shape).contiguous(), fine)
    coarse = resample(cylinder, (6, 12, 12))
    A = Projector(coarse.geometry, ParallelBeam.circular(coarse.geometry, num_views=5))
    rows = simulate(cylinder, A).projections
    torch.testing.assert_close(rows, rows[3:4].expand_as(rows), atol=1e-5, rtol=0)
    # sums over a row: voxels blur the cylinder's edge, not its mass; the logarithm of a mean adds half a
    # percent
    torch.testing.assert_close(rows[0].sum(1), A(coarse.data)[0].sum(1), atol=0, rtol=0.02)


def test_a_single_slice_is_measured_as_a_plane_by_wide_pixels():
    """Through the middle of a cylinder of water: fan-beam rays lie in the plane of the slice."""
    vg = VolumeGeometry((1, 96, 96), (1.0, 0.7, 0.7))
    y, x = torch.meshgrid(vg.axis(1), vg.axis(2), indexing="ij")
    water = Volume(MU_WATER * (torch.hypot(y, x) < 28).to(torch.float32)[None], vg)
    for pixel in (0.9, 1.8, 3.6):
        columns = round(115.2 / pixel) // 2 * 2 + 1  # odd: the middle ray meets the axis
        pg = ConeBeam([0.0], (1, columns), (1.5, pixel), 120, 180)
        middle = simulate(water, Projector(vg, pg)).projections[0, 0, columns // 2]
        # a chord of 56 mm; within a pixel of at most 2.4 mm on the axis it is 0.05 mm shorter
        assert float(middle) == pytest.approx(56 * MU_WATER, rel=0.02)


def test_a_row_that_looks_half_past_the_volume_lets_half_of_the_light_through():
    fine = VolumeGeometry((4, 16, 16), (2.0, 1.0, 1.0))
    A = Projector(fine, ParallelBeam.circular(fine, num_views=1, det_shape=(3, 1), pixel_size=(8.0, 4.0)))
    volume = Volume(torch.full(fine.shape, 0.05), fine)
    inside = math.exp(-16 * 0.05)
    for row, seen in ((0, 0.0), (1, 1.0), (2, 0.0)):
        expected = 1 + seen * (inside - 1)
        measured = math.exp(-float(simulate(volume, A).projections[row, 0, 0]))
        assert measured == pytest.approx(expected, abs=1e-4)
    shifted = ParallelBeam.circular(
        fine, num_views=1, det_shape=(1, 1), pixel_size=(8.0, 4.0), det_offset=(4.0, 0.0)
    )
    measured = math.exp(-float(simulate(volume, Projector(fine, shifted)).projections[0, 0, 0]))
    assert measured == pytest.approx(1 + 0.5 * (inside - 1), abs=1e-4)


# ---- what people pass ---------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.float16, torch.float64])
def test_numpy_and_torch_of_any_type_make_a_measurement(small, A, kind):
    y = simulate(small, A).projections
    given = y.to(kind) if isinstance(kind, torch.dtype) else y.numpy().astype(kind)
    m = Measurement(given, A.pg, weights=given * 0 + 1)
    assert m.projections.dtype == m.weights.dtype == torch.float32
    # half precision: 11 bits
    torch.testing.assert_close(m.projections, y, rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda y, pg: Measurement(y.tolist()[0], pg), ValueError, "projections have shape"),
        (
            lambda y, pg: Measurement("y", pg),
            TypeError,
            "projections must be a torch tensor or a numpy array",
        ),
        (lambda y, pg: Measurement([[1, 2], [3]], pg), TypeError, "not an array of numbers"),
        (lambda y, pg: Measurement(y, "parallel"), TypeError, "ParallelBeam, ConeBeam or Views, got str"),
        (lambda y, pg: Measurement(y, pg, weights=-torch.ones_like(y)), ValueError, "at least 0"),
        (lambda y, pg: Measurement(y, pg, weights=torch.ones_like(y) / 0), ValueError, "weights hold NaN"),
        (lambda y, pg: Measurement(y, pg).subset([99]), ValueError, r"outside 0\.\.7"),
    ],
)
def test_what_is_no_measurement_is_refused_in_a_sentence(small, A, make, error, words):
    with pytest.raises(error, match=words):
        make(simulate(small, A).projections, A.pg)


def test_a_projector_of_another_scan_is_refused(small, A):
    m = simulate(small, A)
    m.check_projector(A)
    m.check_projector(Projector(small.geometry, A.pg.views()))  # the same scan, written as vectors
    m.check_projector(
        Projector(small.geometry, replace(A.pg, angles=tuple(a + 2 * math.pi for a in A.pg.angles)))
    )
    finer = VolumeGeometry((32, 96, 96), tuple(s / 2 for s in small.geometry.voxel_size))
    m.check_projector(Projector(finer, A.pg))  # another grid is no other scan
    for other, words in (
        (replace(A.pg, angles=tuple(a + 0.1 for a in A.pg.angles)), "ray direction differs"),
        (replace(A.pg, det_offset=(0.0, 0.5)), "detector position differs"),
        (replace(A.pg, pixel_size=(2.0, 1.1)), "differs"),
        (A.pg.subset([0, 1, 2]), "same angle_index"),
        (ConeBeam(A.pg.angles, A.pg.det_shape, A.pg.pixel_size, 500, 800), "cone beam"),
    ):
        with pytest.raises(ValueError, match=words):
            m.check_projector(Projector(small.geometry, other))


# ---- nothing that is not finite -----------------------------------------------------------------


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("photon_count", [None, 1e4])
def test_volumes_that_are_not_finite_are_not_scanned(small, A, bad, photon_count):
    data = small.data.clone()
    data[3, 4, 5] = bad
    with pytest.raises(ValueError, match=r"1 voxel of NaN or infinity.*to be scanned"):
        simulate(small.with_data(data), A, photon_count=photon_count)


@pytest.mark.parametrize("hu", [1e9, -1e9])
@pytest.mark.parametrize("photon_count", [None, 1e4])
def test_extreme_volumes_give_finite_measurements_or_a_sentence(small, A, hu, photon_count):
    volume = Volume.from_hu(small.hu + hu, small.geometry)
    refused = hu < 0 and photon_count is not None  # more light than was sent out
    with pytest.raises(ValueError, match="negative attenuation") if refused else contextlib.nullcontext():
        m = simulate(volume, A, photon_count=photon_count)
        assert bool(torch.isfinite(m.projections).all())


@pytest.mark.parametrize("photon_count", [1e-300, 1e300, 0, -1, float("nan"), float("inf"), 10**400, "many"])
def test_impossible_photon_counts_are_refused(small, A, photon_count):
    with pytest.raises(ValueError, match="photon_count must lie between"):
        simulate(small, A, photon_count=photon_count)


def test_counts_may_be_a_numpy_array(A):
    counts = np.full(A.range_shape, 500, np.uint16)
    m = from_counts(counts, A.pg, photon_count=1000)
    assert float(m.projections.max()) == pytest.approx(math.log(2), rel=1e-6)


def test_rays_through_a_thick_object_keep_their_line_integrals():
    """Two metres of water: exp(-40) of the light is left, far below the rounding of 1 in float32."""
    vg = VolumeGeometry((4, 16, 16), (130.0, 130.0, 130.0))
    fine = VolumeGeometry((8, 32, 32), (65.0, 65.0, 65.0))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=2))
    found = simulate(Volume(torch.full(fine.shape, MU_WATER), fine), A).projections
    expected = 16 * 130 * MU_WATER
    middle = found[1:-1, 0, found.shape[2] // 2]
    torch.testing.assert_close(middle, torch.full_like(middle, expected), rtol=1e-3, atol=0)
