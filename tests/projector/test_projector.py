import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.geometry.beams import Views
from tomopatch.phantoms.catalogue import SPHERES, phantom, sphere_line_integrals
from tomopatch.projector import best_backend
from tomopatch.projector.cuda import TomosipoOperator
from tomopatch.projector.joseph import JosephOperator
from tomopatch.projector.layout import first_to_last, last_to_first


def adjoint_error(A, generator):
    x = torch.randn(A.domain_shape, generator=generator)
    y = torch.randn(A.range_shape, generator=generator)
    Ax, ATy = A(x), A.T(y)
    difference = (Ax.double() * y.double()).sum() - (x.double() * ATy.double()).sum()
    return float(difference.abs() / (Ax.double().norm() * y.double().norm()))


def random_views(rng):
    """A geometry of no symmetry at all, whose rays pass near the origin."""
    n, cone = int(rng.integers(1, 5)), bool(rng.random() < 0.6)
    direction = rng.normal(size=(n, 3)) * (1, 1, 1) + rng.normal(size=3) * 0.1
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    across = np.cross(direction, rng.normal(size=(n, 3)))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(direction, across) + 0.2 * rng.normal(size=(n, 3))
    source = -direction * rng.uniform(40, 90) if cone else direction
    det_pos = direction * rng.uniform(20, 60) + rng.normal(size=(n, 3)) * 3
    shape = (int(rng.integers(1, 20)), int(rng.integers(1, 20)))
    return Views(cone, source, det_pos, up * rng.uniform(0.5, 3), across * rng.uniform(0.5, 3), shape)


def test_transpose_is_exact_for_200_random_geometries():
    """The bar is 1e-6 of the norms; float32 sums of this size stay far below it when the maps are
    transposes.
    """
    rng = np.random.default_rng(3)
    generator = torch.Generator().manual_seed(3)
    for _ in range(200):
        shape = tuple(int(n) for n in rng.integers(1, 18, 3))
        vg = VolumeGeometry(shape, tuple(rng.uniform(0.5, 3, 3)), tuple(rng.uniform(-4, 4, 3)))
        assert adjoint_error(Projector(vg, random_views(rng), "joseph"), generator) < 1e-6


def test_transpose_is_exact_for_every_kind_of_scan(any_scan, vg, generator):
    assert adjoint_error(Projector(vg, any_scan(vg), "joseph"), generator) < 1e-6


def test_fast_paths_agree_with_the_general_one(any_scan, vg, generator):
    pg = any_scan(vg)
    views = pg if isinstance(pg, Views) else pg.views()
    fast, general = JosephOperator(vg, views), JosephOperator(vg, views, path="general")
    x, y = torch.rand(vg.shape, generator=generator), torch.rand(fast.range_shape, generator=generator)
    # the same arithmetic in another order: float32 rounding of sums of some 40 terms, in mm
    torch.testing.assert_close(fast.forward(x), general.forward(x), atol=2e-3, rtol=2e-5)
    torch.testing.assert_close(fast.transpose(y), general.transpose(y), atol=2e-3, rtol=2e-4)


@pytest.mark.parametrize("num_columns", [1, 2, 40])
@pytest.mark.parametrize("width", [0.15, 0.6, 1.0, 3.0])
def test_transpose_is_exact_for_detector_columns_of_any_width(width, num_columns, generator):
    """A voxel gathers many rays of a fine detector, and none from most voxels of a coarse one."""
    vg = VolumeGeometry((5, 17, 24), (2.0, 1.5, 1.5))
    views = ParallelBeam.circular(vg, num_views=9, start=0.1).views()
    step = views.det_u * (width * 1.5 / np.linalg.norm(views.det_u, axis=1, keepdims=True))
    views = replace(views, det_u=step, det_shape=(views.det_shape[0], num_columns))
    A = JosephOperator(vg, views)
    assert A.path == "parallel"
    x, y = torch.rand(vg.shape, generator=generator), torch.rand(A.range_shape, generator=generator)
    forward, back = (A.forward(x).double() * y).sum(), (A.transpose(y).double() * x).sum()
    assert float(abs(forward - back)) < 1e-6 * float(A.forward(x).double().norm() * y.double().norm())


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2), (16, 3, 33), (40, 1, 17)])
@pytest.mark.parametrize("pad", [0, 1])
def test_layouts_are_permutations(shape, pad):
    x = np.random.default_rng(0).random(shape, np.float32)
    last = first_to_last(x, pad)
    np.testing.assert_array_equal(last[..., pad : pad + shape[0]], x.transpose(1, 2, 0))
    if pad:
        assert not last[..., [0, -1]].any()
    np.testing.assert_array_equal(last_to_first(last, pad), x)
    wider = np.pad(last, ((0, 0), (0, 2), (0, 0)), constant_values=np.nan)
    np.testing.assert_array_equal(last_to_first(wider, pad, num_c=shape[2]), x)


@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
def test_a_single_detector_row_agrees_with_the_kernels_for_many_rows(beam, generator):
    """It takes the kernels without a run along z, which are several times faster there."""
    vg = VolumeGeometry((1, 24, 20), (2.0, 1.0, 1.5))
    views = beam.circular(vg, num_views=7).views()
    assert views.det_shape[0] == 1
    single, columns = JosephOperator(vg, views), JosephOperator(vg, views, path="columns")
    assert single.path == "general"
    x, y = torch.rand(vg.shape, generator=generator), torch.rand(single.range_shape, generator=generator)
    torch.testing.assert_close(single.forward(x), columns.forward(x), atol=2e-3, rtol=2e-5)
    torch.testing.assert_close(single.transpose(y), columns.transpose(y), atol=2e-3, rtol=2e-4)


def test_rows_may_count_downwards(vg, blobs):
    views = ConeBeam.circular(vg, num_views=5, src_orig_dist=120, src_det_dist=200).views()
    upside_down = Views(True, views.source, views.det_pos, -views.det_v, views.det_u, views.det_shape)
    A, B = Projector(vg, views, "joseph"), Projector(vg, upside_down, "joseph")
    assert JosephOperator(vg, upside_down).path == "columns"
    torch.testing.assert_close(B(blobs.data).flip(0), A(blobs.data))


@pytest.mark.parametrize("path", ["parallel", "general"])
@pytest.mark.parametrize("num_views", [4, 8, 12])
def test_rays_that_graze_an_edge_see_nothing_of_the_far_side(path, num_views):
    """A default detector has pixels whose rays at a right angle run a voxel outside the volume, to the
    last digit.
    """
    vg = VolumeGeometry((2, 48, 48))
    A = JosephOperator(vg, ParallelBeam.circular(vg, num_views=num_views).views(), path=path)
    y = A.forward(torch.ones(vg.shape))[:, num_views // 2]  # along x: rays cross 48 voxels, or none
    assert float(torch.minimum(y.abs(), (y - 48).abs()).max()) < 1e-4
    missing = torch.zeros(A.range_shape)
    missing[:, num_views // 2] = (y < 1).float()
    assert float(missing.sum()) > 0
    assert float(A.transpose(missing).max()) < 1e-4


def test_linear(any_scan, vg, generator):
    A = Projector(vg, any_scan(vg), "joseph")
    a, b = (torch.rand(vg.shape, generator=generator) for _ in range(2))
    torch.testing.assert_close(A(2 * a - 3 * b), 2 * A(a) - 3 * A(b), atol=5e-3, rtol=1e-4)


@pytest.mark.parametrize("quarter", range(4))
def test_parallel_views_at_right_angles_are_sums_along_axes(quarter, generator):
    """The orientation of everything: (z, y, x), (v, angle, u), the sense of rotation."""
    n, h = 16, 1.5
    vg = VolumeGeometry((10, n, n), (2.0, h, h))
    x = torch.rand(vg.shape, generator=generator)
    angle = quarter * math.pi / 2
    A = Projector(vg, ParallelBeam((angle,), (10, n), (2.0, h)), "joseph")
    along_y, along_x = x.sum(1) * h, x.sum(2) * h
    expected = [along_y, along_x, along_y.flip(1), along_x.flip(1)][quarter]
    torch.testing.assert_close(A(x)[:, 0], expected, atol=1e-4, rtol=1e-5)


def test_turning_the_volume_is_turning_the_scan(generator):
    vg = VolumeGeometry((6, 20, 20))
    x = torch.rand(vg.shape, generator=generator)
    turned = x.rot90(1, (2, 1))  # +x towards +y, as the gantry turns
    for make in (
        lambda start: ParallelBeam.circular(vg, num_views=5, start=start),
        lambda start: ConeBeam.circular(vg, num_views=5, start=start, src_orig_dist=80, src_det_dist=120),
    ):
        a = Projector(vg, make(0.3), "joseph")(x)
        b = Projector(vg, make(0.3 + math.pi / 2), "joseph")(turned)
        torch.testing.assert_close(a, b, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("beam", ["parallel", "cone", "tilted"])
def test_spheres_against_their_exact_chords(beam):
    """Halving the voxels must lower the error: the sampled sphere is the same object on any grid."""
    errors = []
    for n in (32, 64):
        volume = phantom("spheres", (n, n, n))
        vg = volume.geometry
        pixel = (4.0, 4.0)
        if beam == "cone":
            pg = ConeBeam.circular(vg, num_views=7, src_orig_dist=900, src_det_dist=1300, pixel_size=pixel)
        else:
            pg = ParallelBeam.circular(
                vg, num_views=7, pixel_size=pixel, tilt=0.3 if beam == "tilted" else 0.0
            )
        exact = sphere_line_integrals(SPHERES, pg.views())
        projected = Projector(vg, pg, "joseph")(volume.data)
        errors.append(float((projected - exact).norm() / exact.norm()))
    assert errors[1] < 0.04
    assert errors[1] < 0.65 * errors[0]


def test_gradient_of_least_squares_is_the_transposed_residual(any_scan, vg, blobs, generator):
    A = Projector(vg, any_scan(vg), "joseph")
    y = torch.rand(A.range_shape, generator=generator)
    x = blobs.data.clone().requires_grad_()
    (0.5 * (A(x) - y).square().sum()).backward()
    torch.testing.assert_close(x.grad, A.T(A(blobs.data) - y), atol=1e-4, rtol=1e-4)


def test_transpose_is_differentiable_too(vg, generator):
    A = Projector(vg, ParallelBeam.circular(vg, num_views=4), "joseph")
    y = torch.rand(A.range_shape, generator=generator, requires_grad=True)
    z = torch.rand(A.domain_shape, generator=generator)
    (A.T(y) * z).sum().backward()
    torch.testing.assert_close(y.grad, A(z))


def test_norm_is_the_largest_singular_value(generator):
    vg = VolumeGeometry((3, 6, 6))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=3), "joseph")
    basis = torch.eye(3 * 6 * 6).reshape(-1, 3, 6, 6)
    matrix = torch.stack([A(e).flatten() for e in basis], 1)
    assert A.norm() == pytest.approx(float(torch.linalg.matrix_norm(matrix, 2)), rel=1e-3)


def test_subset_is_the_views_of_the_whole(vg, blobs):
    A = Projector(vg, ConeBeam.circular(vg, num_views=6, src_orig_dist=120, src_det_dist=200), "joseph")
    index = [4, 1, 2]
    torch.testing.assert_close(A.subset(index)(blobs.data), A(blobs.data)[:, index])


def test_wrong_shapes_and_types_are_refused_before_any_work(vg):
    A = Projector(vg, ParallelBeam.circular(vg, num_views=3))
    with pytest.raises(ValueError, match=r"\(3, 3, 3\).*\(20, 24, 28\)"):
        A(torch.zeros(3, 3, 3))
    with pytest.raises(TypeError, match="real numbers, got str"):
        A("volume")
    with pytest.raises(TypeError, match="complex"):
        A(torch.zeros(vg.shape, dtype=torch.complex64))
    with pytest.raises(ValueError, match="unknown projector backend"):
        Projector(vg, ParallelBeam.circular(vg, num_views=3), "astra")
    with pytest.raises(TypeError, match="str"):
        Projector(vg, "parallel")
    assert A.T.T is A
    assert A.T is A.T


@pytest.mark.parametrize("dtype", ["float16", "float64", ">f4", "int16", "uint8", "bool"])
def test_arrays_of_any_type_are_projected(vg, blobs, dtype):
    """As numpy and as torch, whatever the type, contiguous or not, writable or not."""
    A = Projector(vg, ParallelBeam.circular(vg, num_views=3), "joseph")
    array = (blobs.data.numpy() * 1000).astype(dtype)
    expected = A(torch.from_numpy(array.astype(np.float32)))
    read_only = array.copy()
    read_only.flags.writeable = False
    for given in (
        array,
        read_only,
        np.asfortranarray(array),
        array[::-1][::-1],
        torch.from_numpy(array.astype(array.dtype.newbyteorder("="))),
    ):
        torch.testing.assert_close(A(given), expected, atol=0, rtol=0)
    torch.testing.assert_close(A.T(expected.numpy()), A.T(expected), atol=0, rtol=0)


def test_a_scan_that_misses_the_volume_has_norm_zero():
    vg = VolumeGeometry((4, 8, 8))
    far = ParallelBeam.circular(
        vg, num_views=3, det_shape=(4, 4), pixel_size=(1.0, 1.0), det_offset=(0.0, 1e4)
    )
    assert Projector(vg, far, "joseph").norm() == 0


def test_eight_threads_at_once_get_the_same_bits(vg, blobs):
    A = Projector(vg, ConeBeam.circular(vg, num_views=12, src_orig_dist=120, src_det_dist=200), "joseph")
    expected = A(blobs.data)
    with ThreadPoolExecutor(8) as pool:
        for y in pool.map(lambda _: A(blobs.data), range(40)):
            assert torch.equal(y, expected)


@pytest.mark.parametrize(
    ("missing", "best"),
    [
        ((), "triton"),
        (("cuda",), "triton"),
        (("triton_joseph",), "tomosipo"),
        (("cuda", "triton_joseph"), "joseph"),
    ],
)
def test_a_cuda_device_is_used_by_what_works_there(missing, best, monkeypatch, recwarn):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for module in ("cuda", "triton_joseph"):
        reason = f"No {module}." if module in missing else None
        monkeypatch.setattr(f"tomopatch.projector.{module}.why_not", lambda reason=reason: reason)
    vg = VolumeGeometry((4, 8, 8))
    assert best_backend(ParallelBeam.circular(vg, num_views=3).views()) == best
    warned = [str(w.message) for w in recwarn]
    if best == "joseph":  # the device lies idle: said with both reasons
        assert warned == ["No triton_joseph. No cuda. The CPU projector is used."]
    else:
        assert not warned


def test_tomosipo_is_not_used_for_rays_that_it_gets_wrong(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("tomopatch.projector.cuda.why_not", lambda: None)
    monkeypatch.setattr("tomopatch.projector.triton_joseph.why_not", lambda: "No Triton.")
    vg = VolumeGeometry((4, 8, 8))
    tilted = ParallelBeam.circular(vg, num_views=3, tilt=0.3).views()
    with pytest.warns(UserWarning, match="ASTRA is 3 % off"):
        assert best_backend(tilted) == "joseph"
    with pytest.raises(ValueError, match="rays are tilted"):
        TomosipoOperator(vg, tilted)
    assert best_backend(ConeBeam.circular(vg, num_views=3).views()) == "tomosipo"  # no such rays
