"""Calibration of a prior: deviation of its samples against the errors of scans with known truth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import annotate, load_prior
from tomopatch.progress import last
from tomopatch.reconstruct.diffusion.calibration import Calibration, Known, fit, interval_coverage
from tomopatch.reconstruct.diffusion.method import diffusion
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.training.pairs import TrainingVolume, VoxelRanges, draw_scan
from tomopatch.training.volumes import VolumeFolder


def calibrate(
    volume_folder: VolumeFolder,
    out: Path,
    voxels: VoxelRanges,
    *,
    prior: str,
    params: DiffusionParams,
    num_scans: int,
    report: Callable[[str], None] = lambda text: None,
) -> Calibration:
    """Fit a prior's calibration for the mode of `params` to random scans of the volumes in a folder.

    The prior with the calibration is written to `out`.

    Parameters
    ----------
    volume_folder : VolumeFolder
        The same number of scans of the held-out volumes measures the quality of the calibration, without
        influence on it.
    prior : str
        Name or file.
    params : DiffusionParams
        Parameters of each reconstruction, with two or more samples. All scans and their seeds follow from its
        seed.
    num_scans : int
        Number of scans to fit to.
    report : f(text)
        Called with a line per scan, and with the share of the errors within one and two deviations.
    """
    if params.num_samples < 2 or num_scans < 1:
        raise ValueError(
            f"a calibration needs at least one scan and two samples of it, got {num_scans} and"
            f" {params.num_samples}."
        )
    known, held_out = volume_folder.read()
    bare = load_prior(prior)
    others = bare.info.pop("calibrations", None) or {}

    def reconstructed(volumes: Sequence[TrainingVolume], what: str, stream: int) -> list[Known]:
        rng = np.random.default_rng([params.seed, stream])
        cases = []
        for i in range(num_scans):
            case, text = _case(volumes, voxels, bare, params, rng)
            cases.append(case)
            report(f"{what} {i + 1} of {num_scans}: {text}")
        return cases

    cases = reconstructed(known, "scan", 4)
    found = fit(cases)
    report(f"spread {found.spread:.3g}, edges {found.edges:.3g}, level {found.level:.3g}")
    checks = [("scans that it was fitted to", cases)]
    if held_out:
        checks.append(("scans of held-out volumes", reconstructed(held_out, "held-out scan", 5)))
    for name, some in checks:
        shares = [
            f"{interval_coverage(some, c, reach=reach):.2f}"
            for reach in (1.0, 2.0)
            for c in (Calibration(), found)
        ]
        report(
            f"{name}: within 1 deviation {shares[0]} -> {shares[1]} (0.68 if normal), "
            f"within 2 {shares[2]} -> {shares[3]} (0.95)"
        )
    annotate(prior, out, calibrations=others | {params.mode: asdict(found)})
    return found


def _case(
    volumes: Sequence[TrainingVolume],
    voxels: VoxelRanges,
    prior: PatchPrior,
    params: DiffusionParams,
    rng: np.random.Generator,
) -> tuple[Known, str]:
    """A random scan reconstructed several times, and a line about it."""
    reference, A, measurement = draw_scan(volumes, voxels, rng)
    params = replace(params, seed=int(rng.integers(2**31)))
    result = last(diffusion(A, measurement.projections, prior, params=params, weights=measurement.weights))
    assert result.std is not None
    assert result.plan is not None
    x, s, truth = (PatchPrior.to_network(v) for v in (result.x, result.std, reference.data))
    error, deviation = (1000 * float(v.square().mean().sqrt()) for v in (x - truth, s))
    grid = " x ".join(map(str, A.domain_shape))
    expected = result.plan.expected_error or prior.config.sigma_data
    return Known(x, s, truth, expected), (
        f"{grid}, {A.pg.num_views} views, RMSE {error:.0f} HU, deviation of the samples {deviation:.0f} HU"
    )
