"""Properties of the methods."""

import itertools
import math
from dataclasses import replace

import pytest
import torch

from tomopatch import (
    METHODS,
    ConeBeam,
    ParallelBeam,
    Projector,
    Volume,
    VolumeGeometry,
    phantom,
    quality,
    reconstruct,
    resample,
    simulate,
)
from tomopatch.analysis.metrics import psnr
from tomopatch.progress import Step, last
from tomopatch.reconstruct import FILTERS, available, cgls, fbp, fdk, make_params, sirt, tv
from tomopatch.reconstruct.classical.redundancy import angular_weights, redundancy_weights
from tomopatch.volume import MU_WATER

CLASSIC = [name for name, method in METHODS.items() if not method.needs_prior]
ITERATIVE = [name for name, method in METHODS.items() if hasattr(method.params, "num_iterations")]


def final(steps):
    """The last estimate of a method."""
    return last(steps).x


def parallel(volume, num_views=40, **options):
    return Projector(volume.geometry, ParallelBeam.circular(volume.geometry, num_views=num_views, **options))


def cone(volume, num_views=60, **options):
    options = {"src_orig_dist": 150, "src_det_dist": 220} | options
    return Projector(volume.geometry, ConeBeam.circular(volume.geometry, num_views=num_views, **options))


# ---- analytic -------------------------------------------------------------------------------------------


def centre_value(x):
    z, y, w = (n // 2 for n in x.shape)
    return float(x[z - 1 : z + 1, y - 4 : y + 4, w - 4 : w + 4].mean())


@pytest.fixture
def disc():
    vg = VolumeGeometry((8, 64, 64), (2.0, 1.0, 1.0))
    y, x = torch.meshgrid(vg.axis(1), vg.axis(2), indexing="ij")
    return Volume((0.02 * (y**2 + x**2 < 24**2)).to(torch.float32).expand(vg.shape).contiguous(), vg)


def test_without_a_filter_everything_is_blurred(disc):
    """Backprojection alone convolves with 1 / r: bright in the middle, falling within the disc, a halo
    outside.
    """
    volume, A = disc.data, parallel(disc, 180)
    x = final(fbp(A, A(volume), filter="none"))
    middle = x[x.shape[0] // 2, x.shape[1] // 2]
    inside = middle[volume[x.shape[0] // 2, x.shape[1] // 2] > 0.019]
    assert 0.01 < float(inside.max()) < 0.04  # 0.02 is true
    assert float(inside.min()) < 0.8 * float(inside.max())
    assert float(middle[0]) > 0.15 * float(inside.max())


@pytest.mark.parametrize("filter", [name for name in FILTERS if name != "none"])
def test_fbp_keeps_the_value_of_a_disc(disc, filter):
    A = parallel(disc, 180)
    assert centre_value(final(fbp(A, A(disc.data), filter=filter))) == pytest.approx(0.02, rel=0.01)


@pytest.mark.parametrize("angle_range", [math.pi, 1.5 * math.pi, 2 * math.pi])
def test_fbp_does_not_depend_on_how_often_the_circle_was_gone(disc, angle_range):
    A = parallel(disc, 240, angle_range=angle_range)
    assert centre_value(final(fbp(A, A(disc.data)))) == pytest.approx(0.02, rel=0.015)


@pytest.mark.parametrize(
    "scan",
    [
        {},
        {"angle_range": math.radians(250)},
        {"angle_range": math.radians(215)},
        {"src_orig_dist": 400, "src_det_dist": 900},
        {"pixel_size": (4.0, 3.0)},
    ],
    ids=["circle", "overscan", "short", "far", "coarse pixels"],
)
def test_fdk_keeps_the_value_of_a_disc(disc, scan):
    A = cone(disc, 240, **scan)
    assert centre_value(final(fdk(A, A(disc.data)))) == pytest.approx(0.02, rel=0.02)


def test_fdk_of_a_shifted_detector_sees_the_whole_disc(disc):
    pixel = (2.0, 1.0)
    A = cone(disc, 360, det_shape=(30, 80), pixel_size=pixel, det_offset=(0.0, 30.0))  # reaches -10..70 mm
    x = final(fdk(A, A(disc.data)))
    assert centre_value(x) == pytest.approx(0.02, rel=0.03)
    assert float(x[3:5, 30:34, 10:14].mean()) == pytest.approx(0.02, rel=0.05)  # seen from one side at a time


def test_rays_measured_twice_share_their_weight():
    """w(ray) + w(opposite ray) = 1 wherever both were measured: here over a full circle and a shifted
    detector.
    """
    angles = tuple(2 * math.pi * i / 360 for i in range(360))
    for offset in (0.0, 20.0):
        w = redundancy_weights(ConeBeam(angles, (1, 81), (1.0, 1.0), 500, 800, det_offset=(0.0, offset)))
        u = torch.arange(81) - 40 + offset
        for column in range(81):
            mirror = (u == -u[column]).nonzero().flatten()
            other = float(w[0, mirror[0]]) if len(mirror) else 0.0
            assert float(w[0, column]) + other == pytest.approx(1.0, abs=1e-3)


def test_angular_weights_cover_the_half_circle_however_the_angles_lie(generator):
    for angles in (torch.linspace(0, math.pi, 31)[:-1], torch.rand(200, generator=generator) * 20):
        assert angular_weights(angles.double().numpy(), math.pi).sum() == pytest.approx(math.pi, rel=0.02)
    limited = torch.arange(30) * 0.02
    assert angular_weights(limited.double().numpy(), math.pi).sum() == pytest.approx(0.6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("views", "fbp_bar", "fdk_bar"), [(180, 33.49, 32.31), (360, 33.57, 33.45), (720, 33.58, 33.49)]
)
def test_analytic_bars_on_the_shepp_logan_phantom(views, fbp_bar, fdk_bar):
    """PSNR at 128^3 with Ram-Lak; the bars are what careful implementations of both formulas reach."""
    volume = phantom("shepp-logan", (128, 128, 128))
    data_range = float(volume.data.max() - volume.data.min())
    A = parallel(volume, views)
    assert psnr(volume.data, final(fbp(A, A(volume.data))), data_range=data_range) >= fbp_bar
    width, pixel = volume.geometry.size[2], volume.geometry.voxel_size[1:]
    A = cone(volume, views, src_orig_dist=4 * width, src_det_dist=6 * width, pixel_size=pixel)
    assert psnr(volume.data, final(fdk(A, A(volume.data))), data_range=data_range) >= fdk_bar


# ---- iterative ------------------------------------------------------------------------------------------


def test_more_iterations_fit_better(small):
    A = parallel(small, 12)
    y = A(small.data)
    for method in (sirt, cgls):
        residuals = [step.residual for step in method(A, y, num_iterations=15)]
        assert len(residuals) == 15
        assert all(b <= a * 1.001 for a, b in itertools.pairwise(residuals))


def test_sirt_goes_on_where_it_stopped(small):
    A = parallel(small, 12)
    y = A(small.data)
    x = None
    for _ in range(3):
        x = final(sirt(A, y, num_iterations=10, x_init=x))
    torch.testing.assert_close(x, final(sirt(A, y, num_iterations=30)))


def test_cgls_solves_a_consistent_system(generator):
    vg = VolumeGeometry((2, 8, 8))
    x = torch.rand(vg.shape, generator=generator)
    A = Projector(vg, ParallelBeam.circular(vg, num_views=40))
    torch.testing.assert_close(final(cgls(A, A(x), num_iterations=120)), x, atol=1e-2, rtol=0)


def test_weights_tell_cgls_which_rays_to_believe(small, generator):
    A = parallel(small, 30)
    y = A(small.data)
    corrupted = y.clone()
    corrupted[:, ::3] += 0.5 * torch.randn(y[:, ::3].shape, generator=generator)
    weights = torch.ones_like(y)
    weights[:, ::3] = 1e-3
    believed = final(cgls(A, corrupted, num_iterations=15))
    doubted = final(cgls(A, corrupted, num_iterations=15, weights=weights))
    assert float((doubted - small.data).norm()) < 0.5 * float((believed - small.data).norm())


@pytest.mark.parametrize("method", [sirt, tv])
def test_limits_hold(method, small):
    A = parallel(small, 10)
    x = final(method(A, A(small.data), num_iterations=12, low=0.0, high=0.015))
    assert float(x.min()) >= 0
    assert float(x.max()) <= 0.015


def test_tv_removes_noise_from_a_constant_and_couples_slices(generator):
    vg = VolumeGeometry((6, 20, 20))
    A = Projector(vg, ParallelBeam.circular(vg, num_views=40))
    y = A(torch.full(vg.shape, 0.02))
    noisy = y + 0.01 * torch.randn(y.shape, generator=generator)
    weak, strong = (final(tv(A, noisy, lam=lam, num_iterations=300)) for lam in (5e-6, 0.05))
    assert float(strong.std()) < 0.1 * float(weak.std())
    assert float(strong.diff(dim=0).abs().max()) < 0.1 * float(weak.diff(dim=0).abs().max())


def test_tv_minimises_its_objective(disc):
    """No step away from the solution, in a few directions and sizes, may lower the objective it documents."""
    small = resample(disc, (4, 32, 32))
    A = parallel(small, 8)
    y = A(small.data)
    lam = 0.01
    x = final(tv(A, y, lam=lam, num_iterations=600))
    L = float(A(torch.ones(A.domain_shape)).max()) * float(A.T(torch.ones(A.range_shape)).max())
    ratio = [min(A.vg.voxel_size) / s for s in A.vg.voxel_size]

    def objective(x):
        x = x.double()
        d = [torch.diff(x, dim=a, append=x.narrow(a, -1, 1)) * r for a, r in enumerate(ratio)]
        fit = 0.5 / L * float((A(x.float()).double() - y).square().sum())
        return fit + lam * MU_WATER * float((d[0] ** 2 + d[1] ** 2 + d[2] ** 2).sqrt().sum())

    best = objective(x)
    generator = torch.Generator().manual_seed(1)
    directions = [
        small.data - x,
        final(sirt(A, y, num_iterations=50)) - x,
        torch.randn(x.shape, generator=generator) * 1e-3,
    ]
    for direction in directions:
        for size in (0.3, 0.03, -0.03):
            assert objective((x + size * direction).clamp(min=0)) > best * (1 - 2e-3)


@pytest.mark.parametrize("name", ITERATIVE)
def test_stopping_returns_the_iterate_of_that_moment(name, small):
    A = parallel(small, 10)
    m = simulate(small, A)

    def stop_at_three(step):
        if step.i == 3:
            raise StopIteration

    stopped = reconstruct(name, A, m, num_iterations=9, callback=stop_at_three)
    assert stopped.status == "stopped"
    full = reconstruct(name, A, m, num_iterations=3)
    assert full.status == "done"
    torch.testing.assert_close(stopped.volume.data, full.volume.data)


# ---- reconstruct ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIC)
def test_every_method_beats_doing_nothing(name, small):
    A = cone(small, 40) if METHODS["fbp"].unsuited and name == "fdk" else parallel(small, 40)
    result = reconstruct(name, A, simulate(small, A, photon_count=1e5))
    assert result.volume.geometry == small.geometry
    assert bool(torch.isfinite(result.volume.data).all())
    nothing = Volume(torch.zeros_like(small.data), small.geometry)
    assert quality(small, result.volume).psnr > quality(small, nothing).psnr + 6
    assert result.params == make_params(name).__dict__
    assert result.seconds > 0


def test_more_views_are_better(small):
    for name in ("fbp", "sirt", "tv"):
        psnrs = []
        for views in (5, 12, 30):
            A = parallel(small, views)
            psnrs.append(quality(small, reconstruct(name, A, simulate(small, A)).volume).psnr)
        assert psnrs == sorted(psnrs)


def test_only_what_the_scan_supports_is_offered(small):
    assert "fdk" not in available(parallel(small).pg)
    assert "fbp" not in available(cone(small).pg)
    helix = ConeBeam.helical(
        small.geometry, views_per_turn=8, pitch=20.0, src_orig_dist=150, src_det_dist=220
    )
    assert not {"fbp", "fdk"} & set(available(helix))
    A = cone(small, 10)
    with pytest.raises(ValueError, match=r"FBP is unavailable.*parallel beam.*fdk, sirt"):
        reconstruct("fbp", A, simulate(small, A))


@pytest.mark.parametrize(
    ("method", "values", "words"),
    [
        ("magic", {}, "known are fbp"),
        ("sirt", {"num_iteration": 3}, "it has num_iterations"),
        ("sirt", {"num_iterations": 0}, "between 1"),
        ("sirt", {"num_iterations": 2.5}, "type int"),
        ("fbp", {"filter": "hanning"}, "one of ram-lak"),
        ("tv", {"lam": float("nan")}, "finite number"),
    ],
)
def test_wrong_parameters_are_refused_with_what_is_right(method, values, words):
    with pytest.raises(ValueError, match=words):
        make_params(method, values)


def test_measurement_of_another_scan_is_refused(small):
    A = parallel(small, 10)
    with pytest.raises(ValueError, match="same angle_index"):
        reconstruct("sirt", A, simulate(small, parallel(small, 11)))


def test_a_projector_that_starts_elsewhere_is_refused(small):
    A = parallel(small, 10)
    with pytest.raises(ValueError, match="different geometries: their ray direction differs"):
        reconstruct("sirt", A, simulate(small, parallel(small, 10, start=0.1)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_result_that_is_not_finite_is_an_error(small, monkeypatch, bad):
    broken = replace(
        METHODS["sirt"], steps=lambda job: iter([Step(1, 1, torch.full(job.A.domain_shape, bad))])
    )
    monkeypatch.setitem(METHODS, "sirt", broken)
    A = parallel(small, 4)
    with pytest.raises(ValueError, match="SIRT gave a volume that is not finite"):
        reconstruct("sirt", A, simulate(small, A))


@pytest.mark.parametrize(("beam", "method"), [(ParallelBeam, "fbp"), (ConeBeam, "fdk")])
def test_extrapolation_removes_most_of_the_rim_of_a_truncated_body(beam, method):
    body = phantom("thorax", shape=(4, 96, 96))
    full = beam.circular(body.geometry, num_views=120)
    pg = replace(full, det_shape=(full.det_shape[0], int(0.45 * full.det_shape[1])))
    A = Projector(body.geometry, pg)
    measurement = simulate(body, A)
    magnification = pg.src_det_dist / pg.src_orig_dist if beam is ConeBeam else 1
    r = 0.9 * pg.det_shape[1] * pg.pixel_size[1] / 2 / magnification
    y, x = torch.meshgrid(
        *[s * (torch.arange(96) - 47.5) for s in body.geometry.voxel_size[1:]], indexing="ij"
    )
    distance = (x**2 + y**2).sqrt()
    rim = (distance < r) & (distance > 0.8 * r)
    plain, extended = (
        float((reconstruct(method, A, measurement, extrapolate=e).volume.hu - body.hu)[1:3, rim].mean())
        for e in (False, True)
    )
    assert plain > 80
    assert abs(extended) < 0.35 * plain


def test_extrapolation_leaves_an_object_in_view_as_it_is(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=30))
    measurement = simulate(small, A)
    plain, extended = (reconstruct("fbp", A, measurement, extrapolate=e).volume.data for e in (False, True))
    torch.testing.assert_close(extended, plain, atol=1e-6, rtol=1e-4)


def test_extrapolation_of_a_shifted_detector_is_refused(small):
    pg = ConeBeam.circular(small.geometry, num_views=30, det_offset=(0.0, 5.0))
    A = Projector(small.geometry, pg)
    with pytest.raises(ValueError, match="centred on the axis"):
        reconstruct("fdk", A, simulate(small, A), extrapolate=True)


def test_swapped_arguments_and_bare_arrays_get_a_sentence(disc):
    A = parallel(disc, 4)
    measurement = simulate(disc, A)
    for wrong in [(measurement, A), (A, measurement.projections), (A, measurement.projections.numpy())]:
        with pytest.raises(TypeError, match="reconstruct takes a method, a Projector and a Measurement"):
            reconstruct("sirt", *wrong)
