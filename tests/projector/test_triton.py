"""The Triton projector's kernels, interpreted on the CPU in a process of their own. Skips where triton is
missing.
"""

import importlib.util
import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")

COMPARE = """
import json
import numpy as np
import torch
from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.projector import triton_joseph
from tests.projector.test_projector import adjoint_error, random_views

triton_joseph.BLOCK = (8, 32)  # fewer programs: the interpreter's time goes by them
rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
vg = VolumeGeometry((7, 12, 9), (2.0, 1.5, 1.0), (1.0, -2.0, 3.0))
options = {"src_orig_dist": 60, "src_det_dist": 100}
scans = {
    "parallel": ParallelBeam.circular(vg, num_views=3, start=0.1),
    "tilted": ParallelBeam.circular(vg, num_views=2, tilt=0.4),
    "cone": ConeBeam.circular(vg, num_views=3, **options),
    "helix": ConeBeam.helical(vg, views_per_turn=2, pitch=20.0, **options),
} | {f"random {i}": random_views(rng) for i in range(6)}
errors = {}
for name, pg in scans.items():
    A, B = Projector(vg, pg, "joseph"), Projector(vg, pg, "triton")
    x, y = torch.rand(A.domain_shape, generator=generator), torch.rand(A.range_shape, generator=generator)
    pairs = (A(x), B(x)), (A.T(y), B.T(y))
    errors[name] = [float((a - b).norm() / a.norm()) for a, b in pairs] + [adjoint_error(B, generator)]
print(json.dumps(errors))
"""


def test_interpreted_kernels_do_what_the_cpu_projector_does():
    """Float32 rounding of sums of some 30 terms: about 1e-6 of the norms, of A, of A.T and of their
    adjointness.
    """
    done = subprocess.run(
        [sys.executable, "-c", COMPARE],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr
    errors = json.loads(done.stdout.splitlines()[-1])
    assert len(errors) == 10
    for name, of in errors.items():
        assert max(of) < 5e-6, (name, of)
