"""Calibrating a prior: what the deviation of its samples is worth, from scans whose truth is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from core.prior.data import DataConfig, Scan
from core.prior.denoiser import PatchPrior
from core.prior.files import annotate, load_prior
from core.reconstruct.calibration import Calibration, Known, coverage, fit
from core.reconstruct.diffusion import diffusion
from core.reconstruct.starts import expected_error
from core.runs.drafts import draw_scan
from core.runs.train import read_scans


def calibrate(
    folder: Path,
    out: Path,
    config: DataConfig,
    *,
    prior: str,
    num_scans: int,
    num_samples: int = 4,
    validation: Sequence[str] = (),
    cache: Path | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> Calibration:
    """Fit a prior's calibration to random scans of the volumes in a folder; `out` is the prior with it.

    Parameters
    ----------
    folder, validation, cache : see `core.runs.train.train`
        Of the held-out volumes as many scans are made to tell how good the calibration is; they do not shape it.
    prior : str
        Name or file.
    num_scans, num_samples : int
        Scans to fit to; samples of each, two or more.
    say : f(text)
        Told a line per scan, and what share of the errors is within one and two deviations.
    """
    if num_samples < 2 or num_scans < 1:
        raise ValueError(
            f"a calibration needs a scan and two samples of it or more, got {num_scans} and {num_samples}."
        )
    known, held_out = read_scans(folder, validation, cache)
    bare = load_prior(prior)
    bare.info.pop("calibration", None)

    def reconstructed(scans: Sequence[Scan], what: str, stream: int) -> list[Known]:
        rng = np.random.default_rng([seed, stream])
        cases = []
        for i in range(num_scans):
            case, text = _case(scans, config, bare, num_samples, rng)
            cases.append(case)
            say(f"{what} {i + 1} of {num_scans}: {text}")
        return cases

    cases = reconstructed(known, "scan", 4)
    found = fit(cases)
    say(f"spread {found.spread:.3g}, edges {found.edges:.3g}, level {found.level:.3g}")
    checks = [("of the scans it was fitted to", cases)]
    if held_out:
        checks.append(("of scans of held-out volumes", reconstructed(held_out, "held-out scan", 5)))
    for name, some in checks:
        shares = [
            f"{coverage(some, c, reach=reach):.2f}" for reach in (1.0, 2.0) for c in (Calibration(), found)
        ]
        say(
            f"{name}, within 1 deviation {shares[0]} -> {shares[1]} (0.68 if normal), "
            f"within 2 {shares[2]} -> {shares[3]} (0.95)"
        )
    annotate(prior, out, calibration=asdict(found))
    return found


def _case(
    scans: Sequence[Scan], config: DataConfig, prior: PatchPrior, num_samples: int, rng: np.random.Generator
) -> tuple[Known, str]:
    """A random scan reconstructed several times, and a word about it."""
    prepared = draw_scan(scans, config, rng)
    A, measurement = prepared.A, prepared.measurement
    y, weights = measurement.projections, measurement.weights
    seed = int(rng.integers(2**31))
    mean, std = diffusion(
        A, y, prior.at(A.vg.voxel_size), weights=weights, num_samples=num_samples,
        generator=torch.Generator().manual_seed(seed),
    )  # fmt: skip
    assert std is not None
    x, s, truth = (PatchPrior.to_network(v) for v in (mean, std, prepared.reference.data))
    rms = float((x - truth).square().mean().sqrt())
    grid = " x ".join(map(str, A.domain_shape))
    return Known(x, s, truth, expected_error(A, y, weights)), (
        f"{grid}, {A.pg.num_views} views, off by {1000 * rms:.0f} HU, samples by {1000 * float(s.square().mean().sqrt()):.0f}"
    )
