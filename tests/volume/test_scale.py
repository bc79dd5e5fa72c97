"""Lengths have no natural unit: a chip with voxels of half a micrometre is scanned and reconstructed like a
patient.

If all lengths are scaled by s and the attenuation by 1/s, no line integral changes, and so no result.
"""

import pytest
import torch

from tomopatch import (
    METHODS,
    ConeBeam,
    Measurement,
    ParallelBeam,
    Projector,
    Volume,
    VolumeGeometry,
    load_volume,
    reconstruct,
    simulate,
    write_nifti,
)
from tomopatch.cli.main import main
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.phantoms.lesions import plant
from tomopatch.phantoms.scene import Lesion

SCALES = [0.5e-3, 20.0]  # mm; 1 is what the others are compared with
CLASSIC = [name for name, method in METHODS.items() if not method.needs_prior]


def scaled(volume: Volume, s: float) -> Volume:
    vg = volume.geometry
    sizes = ([s * v for v in values] for values in (vg.voxel_size, vg.pos))
    return Volume(volume.data / s, VolumeGeometry(vg.shape, *map(tuple, sizes)))


def projector(volume: Volume, beam: str, s: float) -> Projector:
    vg = volume.geometry
    if beam == "parallel":
        return Projector(vg, ParallelBeam.circular(vg, num_views=16))
    return Projector(vg, ConeBeam.circular(vg, num_views=16, src_orig_dist=150 * s, src_det_dist=220 * s))


@pytest.mark.parametrize("s", SCALES)
@pytest.mark.parametrize("beam", ["parallel", "cone"])
def test_scans_are_the_same_on_every_scale(small, beam, s):
    fine = Volume(small.data.repeat_interleave(2, 2), VolumeGeometry((16, 48, 96), (2.0, 1.0, 0.5)))
    for volume in (small, fine):  # the second with finite pixels
        expected = simulate(volume, projector(small, beam, 1.0)).projections
        got = simulate(scaled(volume, s), projector(scaled(small, s), beam, s)).projections
        # float32 sums, and cuts of rays at voxel edges that round to the other side
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("s", SCALES)
@pytest.mark.parametrize("name", CLASSIC)
def test_methods_are_the_same_on_every_scale(small, name, s):
    beam = "cone" if name == "fdk" else "parallel"
    options = {"num_iterations": 10} if name in ("sirt", "cgls", "tv") else {}
    results = []
    for k in (1.0, s):
        A = projector(scaled(small, k), beam, k)
        y = simulate(small, projector(small, beam, 1.0), photon_count=1e5)
        extra = {"lam": METHODS["tv"].params().lam / k} if name == "tv" else {}  # a contrast [1/mm]
        m = Measurement(y.projections, A.pg, y.weights, y.photon_count)
        results.append(reconstruct(name, A, m, **options, **extra).volume.data * k)
    # ten iterations in float32
    torch.testing.assert_close(results[1], results[0], atol=2e-5, rtol=1e-3)


@pytest.mark.parametrize("s", SCALES)
def test_lesions_are_planted_alike_on_every_scale(small, s):
    hu = [
        plant(
            Volume.from_hu(torch.zeros(v.shape), v.geometry),
            [Lesion((0.0, 3.0 * k, 1.0 * k), 5.0 * k, 100.0)],
        ).hu
        for k, v in ((1.0, small), (s, scaled(small, s)))
    ]
    torch.testing.assert_close(hu[1], hu[0], atol=1e-2, rtol=0)


@pytest.mark.parametrize("name", [name for name in CLASSIC if name not in ("fbp", "fdk")])
def test_a_scan_that_misses_the_object_gives_a_finite_volume(name):
    vg = VolumeGeometry((4, 32, 32))
    A = Projector(
        vg, ParallelBeam.circular(vg, num_views=3, det_shape=(4, 4), pixel_size=(1, 1), det_offset=(0, 1e4))
    )
    volume = Volume(torch.full(vg.shape, 0.02), vg)
    assert bool(torch.isfinite(reconstruct(name, A, simulate(volume, A)).volume.data).all())


@pytest.mark.parametrize("name", CLASSIC)
def test_another_default_type_of_torch_changes_nothing(small, name):
    def run():
        A = projector(small, "cone" if name == "fdk" else "parallel", 1.0)
        return reconstruct(name, A, simulate(small, A, photon_count=1e5)).volume.data

    expected = run()
    torch.set_default_dtype(torch.float64)
    try:
        got = run()
    finally:
        torch.set_default_dtype(torch.float32)
    assert got.dtype == torch.float32
    # random numbers of the noise are drawn in the default type; the counts of 1e5 photons vary by 0.3 %
    assert float((got - expected).abs().mean()) < 0.05 * float(expected.abs().mean())


LENGTHS = [5e-4, 6.5e-4, 1e-2, 1.0, 20.0]


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("form", ["nii", "nii.gz", "dicom"])
def test_files_keep_voxels_of_every_size(tmp_path, form, length):
    sizes = (1.3 * length, length, 0.9 * length)
    hu = (torch.arange(5 * 6 * 7).reshape(5, 6, 7) * 3 - 500).float()
    volume = Volume.from_hu(hu, VolumeGeometry((5, 6, 7), sizes))
    if form == "dicom":
        again = load_volume(write_dicom(tmp_path / "series", volume))
    else:
        again = load_volume(write_nifti(tmp_path / f"v.{form}", volume))
    assert again.geometry.voxel_size == pytest.approx(sizes, rel=1e-5)
    torch.testing.assert_close(again.hu, volume.hu, atol=1e-2, rtol=0)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_command_compares_volumes_of_every_voxel_size(tmp_path, capsys, length):
    """From a file, with both beams; the distances of the cone follow the object's size."""
    hu = torch.full((4, 24, 24), -1000.0)
    hu[:, 6:18, 8:18] = 0.0
    write_nifti(tmp_path / "a.nii", Volume.from_hu(hu, VolumeGeometry(hu.shape, (length,) * 3)))
    far = ["--src-orig-dist", str(100 * length), "--src-det-dist", str(150 * length)]
    for scan, method in ((["--views", "60"], "fbp"), (["--geometry", "cone", *far, "--views", "90"], "fdk")):
        out = tmp_path / method
        assert main(["compare", str(tmp_path / "a.nii"), *scan, "--methods", method, "--out", str(out)]) == 0
        middle = load_volume(out / f"{method}.nii.gz").hu[1:3, 9:15, 10:16]
        assert float(middle.mean()) == pytest.approx(0, abs=15)
        assert "Truncated" not in capsys.readouterr().err
