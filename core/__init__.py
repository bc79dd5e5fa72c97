"""TomoPatch: sparse-view CT, simulated and reconstructed, with a 3D patch diffusion prior.

    from core import ConeBeam, Projector, load_prior, phantom, reconstruct, simulate
    volume = phantom("thorax", shape=(64, 128, 128))
    A = Projector(volume.geometry, ConeBeam.circular(volume.geometry, num_views=20))
    measurement = simulate(volume, A, photon_count=1e5)
    result = reconstruct("diffusion", A, measurement, prior=load_prior())

Conventions
-----------
- Volumes are (z, y, x): z to the head, y to the back, x to the patient's left. Projections are (v, angle, u).
- float32; lengths in mm; angles in rad; attenuation mu in 1/mm (water 0.0192). Degrees and Hounsfield units
  appear only where people type and read: in the readers, the runs, the command and the pages.
- *shape* counts voxels or pixels, *size* is an extent in mm, *pos* is a centre in mm.
- `A` is the projector, `A.T` its exact transpose. `vg` and `pg` are the two geometries.
- `sigma` is a diffusion noise level, in units of water's attenuation (1000 HU), and nothing else.
- Between modules an array travels with its geometry, as `Volume` or `Measurement`.
- Progress, randomness and device are passed in: `callback=`, `generator=`, and the tensors carry the device.
- A callback gets a `Step` per iteration and may raise StopIteration: the method then returns what it has.
"""

import os as _os

# threads that spin while they wait slow the projector's down two to four times; read when torch starts its own
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from core.geometry import ConeBeam, ParallelBeam, Views
from core.measurement import Measurement, relative_dose, simulate
from core.metrics import Quality, quality
from core.prior.denoiser import PatchPrior
from core.prior.files import load_prior
from core.progress import Step
from core.projector import Projector
from core.reconstruct.methods import METHODS, Result, reconstruct
from core.scan.library import load_volume
from core.scan.nifti import write_nifti
from core.scan.phantom import PHANTOMS, phantom
from core.scanners import SCANNERS
from core.volume import MU_WATER, Volume, VolumeGeometry, crop, pad, resample

__all__ = [
    "METHODS",
    "MU_WATER",
    "PHANTOMS",
    "SCANNERS",
    "ConeBeam",
    "Measurement",
    "ParallelBeam",
    "PatchPrior",
    "Projector",
    "Quality",
    "Result",
    "Step",
    "Views",
    "Volume",
    "VolumeGeometry",
    "crop",
    "load_prior",
    "load_volume",
    "pad",
    "phantom",
    "quality",
    "reconstruct",
    "relative_dose",
    "resample",
    "simulate",
    "write_nifti",
]
