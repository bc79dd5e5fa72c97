"""The calibration of the samples' deviation: fitted to known errors, stored in a checkpoint, used by
diffusion.
"""

import json

import pytest
import torch

from tests.conftest import TINY
from tomopatch import ParallelBeam, Projector, load_prior, phantom, simulate
from tomopatch.cli.main import main
from tomopatch.io.nifti import write_nifti
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import annotate, save_prior
from tomopatch.prior.precond import Precond
from tomopatch.progress import Step, last
from tomopatch.reconstruct.diffusion.calibration import Calibration, Known, fit, interval_coverage
from tomopatch.reconstruct.diffusion.method import diffusion
from tomopatch.reconstruct.params import DiffusionParams

pytestmark = pytest.mark.usefixtures("one_thread")
TRUE = Calibration(spread=6.0, edges=0.09, level=0.2)


def case(generator, level: float) -> Known:
    """A volume whose error has exactly the deviation that TRUE predicts."""
    shape = (12, 40, 40)
    mean = 1 + 0.4 * torch.rand(shape, generator=generator)
    std = 0.02 * torch.rand(shape, generator=generator)
    error = TRUE.deviation(mean, std, level) * torch.randn(shape, generator=generator)
    return Known(mean, std, mean - error, level)


def test_fit_finds_what_made_the_errors_and_covers_those_of_other_scans(generator):
    found = fit([case(generator, level) for level in (0.02, 0.05, 0.1)])
    # 58,000 errors: the variance of each part is known to a few percent, less well where it is the smallest
    assert found.spread == pytest.approx(TRUE.spread, rel=0.25)
    assert found.edges == pytest.approx(TRUE.edges, rel=0.1)
    assert found.level == pytest.approx(TRUE.level, rel=0.1)
    other = [case(generator, 0.07)]
    # a normal error is within one deviation in 68.3 % of cases, within two in 95.4 %; 19,200 voxels tell to
    # 0.4 %
    assert interval_coverage(other, found) == pytest.approx(0.683, abs=0.02)
    assert interval_coverage(other, found, reach=2.0) == pytest.approx(0.954, abs=0.01)
    assert interval_coverage(other, Calibration()) < 0.4


def test_errors_with_heavy_tails_are_covered_as_well_as_one_scale_allows(generator):
    """Laplacian errors of the same variance: 76 % and 94 % lie within one and two deviations, unscaled."""

    def heavy(level):
        normal = case(generator, level)
        deviation = TRUE.deviation(normal.mean, normal.std, level)
        uniform = torch.rand(normal.mean.shape, generator=generator) - 0.5
        error = -deviation / 2**0.5 * uniform.sign() * (1 - 2 * uniform.abs()).clamp(min=1e-7).log()
        return Known(normal.mean, normal.std, normal.mean - error, level)

    found = fit([heavy(level) for level in (0.02, 0.05, 0.1)])
    other = [heavy(0.07)]
    one, two = (interval_coverage(other, found, reach=reach) for reach in (1.0, 2.0))
    # scaled by 0.9, they would be 72 % and 92 %
    assert one == pytest.approx(0.683, abs=0.045)
    assert two == pytest.approx(0.954, abs=0.045)
    assert interval_coverage(other, TRUE) > 0.74


def test_without_a_calibration_the_deviation_is_kept(generator):
    mean, std = (torch.rand((6, 8, 1), generator=generator) for _ in range(2))
    torch.testing.assert_close(Calibration.of({}, "restore").deviation(mean, std, 0.1), std)


def test_air_is_not_made_uncertain_by_the_level():
    air = torch.zeros((4, 5, 6))
    assert float(Calibration(1.0, 1.0, 1.0).deviation(air, air, 0.3).max()) == 0


@pytest.mark.parametrize(
    "stored", [{"spread": -1.0}, {"spread": float("nan")}, {"width": 2.0}, {"edges": "1"}]
)
def test_malformed_calibrations_are_refused(stored):
    with pytest.raises(ValueError, match="calibrat"):
        Calibration.of({"calibrations": {"restore": stored}}, "restore")


def test_a_prior_carries_its_calibration_and_diffusion_uses_it(tmp_path):
    torch.manual_seed(0)
    save_prior(tmp_path / "bare.safetensors", Precond(TINY), info={"steps": 3}, dtype=torch.bfloat16)
    annotate(
        tmp_path / "bare.safetensors",
        tmp_path / "wide.safetensors",
        calibrations={"restore": {"spread": 9.0}},
    )
    bare, wide = (load_prior(tmp_path / f"{name}.safetensors") for name in ("bare", "wide"))
    assert wide.info["steps"] == 3
    weights = zip(bare.model.state_dict().values(), wide.model.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in weights)

    volume = phantom("thorax", (8, 24, 24))
    A = Projector(volume.geometry, ParallelBeam.circular(volume.geometry, num_views=6))
    y = simulate(volume, A).projections

    def samples(prior: PatchPrior, **values: object) -> Step:
        params = DiffusionParams(num_steps=2, num_samples=2, seed=1, **values)
        return last(diffusion(A, y, prior, params=params, initial_iterations=5))

    plain, wider = samples(bare), samples(wide)
    assert torch.equal(plain.x, wider.x)
    torch.testing.assert_close(wider.std, 3 * plain.std)
    # each mode has its own calibration
    plain, same = (samples(prior, mode="posterior", condition="none") for prior in (bare, wide))
    torch.testing.assert_close(same.std, plain.std)


def test_calibrate_reads_a_folder_and_says_what_it_found(tmp_path, capsys):
    torch.manual_seed(0)
    save_prior(tmp_path / "tiny.safetensors", Precond(TINY))
    folder = tmp_path / "volumes"
    folder.mkdir()
    for seed in range(2):
        write_nifti(folder / f"v{seed}.nii.gz", phantom("thorax", (10, 32, 32), seed=seed))
    out = tmp_path / "out.safetensors"
    arguments = [
        "calibrate",
        str(folder),
        "--prior",
        str(tmp_path / "tiny.safetensors"),
        "--scans",
        "1",
        "--samples",
        "2",
        "--validation",
        "v1",
        "--voxel-xy",
        "14",
        "16",
        "--voxel-z",
        "20",
        "30",
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "held-out volumes: within 1 deviation" in said
    stored = load_prior(out).info["calibrations"]["restore"]
    assert Calibration(**stored) != Calibration()
    assert json.dumps(stored)
    arguments[arguments.index("--samples") + 1] = "1"
    assert main(arguments) == 2
    assert "two samples" in capsys.readouterr().err
