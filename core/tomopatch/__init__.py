"""TomoPatch: sparse-view CT, simulated and reconstructed, with a 3D patch diffusion prior.

    from tomopatch import ConeBeam, Projector, load_prior, phantom, reconstruct, simulate
    volume = phantom("thorax", shape=(64, 128, 128))
    A = Projector(volume.geometry, ConeBeam.circular(volume.geometry, num_views=20))
    measurement = simulate(volume, A, photon_count=1e5)
    result = reconstruct("diffusion", A, measurement, prior=load_prior())

Conventions
-----------
- Volumes are (z, y, x): z to the head, y to the back, x to the patient's left. Projections are (v, angle, u).
- float32; lengths in mm; angles in rad; attenuation mu in 1/mm (water 0.0192). Degrees and Hounsfield units
  appear only in the interfaces for people: the readers, the runs, the command and the pages.
- *shape* counts voxels or pixels, *size* is an extent in mm, *pos* is a centre in mm.
- `A` is the projector, `A.T` its exact transpose. `vg` and `pg` are the two geometries.
- `sigma` is a diffusion noise level, in units of water's attenuation (1000 HU), and nothing else.
- Between modules an array travels with its geometry, as `Volume` or `Measurement`.
- Progress, randomness and device are passed in: `callback=`, `generator=`, and the tensors carry the device.
- Importing the package sets the environment variable OMP_WAIT_POLICY to PASSIVE, if it is not set: threads
  that spin while they wait make the projector two to four times slower.
- A callback gets a `Step` per iteration and may raise StopIteration: the method then returns its estimate.
"""

import os as _os
import sys as _sys
from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING

__version__ = "0.2.0"

# read when torch starts its threads
_os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

if TYPE_CHECKING:
    from tomopatch.analysis.metrics import Quality, quality
    from tomopatch.geometry.beams import ConeBeam, ParallelBeam
    from tomopatch.geometry.scanners import SCANNERS
    from tomopatch.geometry.views import Views
    from tomopatch.io.nifti import write_nifti
    from tomopatch.io.projections import Projections, read_projections
    from tomopatch.library import load_volume
    from tomopatch.phantoms.catalogue import PHANTOMS, phantom
    from tomopatch.physics.corrections import prepare_projections
    from tomopatch.physics.measurement import Measurement, relative_dose, simulate
    from tomopatch.prior.denoiser import PatchPrior
    from tomopatch.prior.files import load_prior
    from tomopatch.progress import Step
    from tomopatch.projector import Projector
    from tomopatch.reconstruct.methods import METHODS
    from tomopatch.reconstruct.run import Result, reconstruct
    from tomopatch.volume import MU_WATER, Volume, VolumeGeometry, crop, pad, resample

_MODULES = {
    "analysis.metrics": ("Quality", "quality"),
    "geometry.beams": ("ConeBeam", "ParallelBeam"),
    "geometry.scanners": ("SCANNERS",),
    "geometry.views": ("Views",),
    "io.nifti": ("write_nifti",),
    "io.projections": ("Projections", "read_projections"),
    "library": ("load_volume",),
    "phantoms.catalogue": ("PHANTOMS", "phantom"),
    "physics.corrections": ("prepare_projections",),
    "physics.measurement": ("Measurement", "relative_dose", "simulate"),
    "prior.denoiser": ("PatchPrior",),
    "prior.files": ("load_prior",),
    "progress": ("Step",),
    "projector": ("Projector",),
    "reconstruct.methods": ("METHODS",),
    "reconstruct.run": ("Result", "reconstruct"),
    "volume": ("MU_WATER", "Volume", "VolumeGeometry", "crop", "pad", "resample"),
}
"""The modules of the public names, as above."""

__all__ = [
    "METHODS",
    "MU_WATER",
    "PHANTOMS",
    "SCANNERS",
    "ConeBeam",
    "Measurement",
    "ParallelBeam",
    "PatchPrior",
    "Projections",
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
    "prepare_projections",
    "quality",
    "read_projections",
    "reconstruct",
    "relative_dose",
    "resample",
    "simulate",
    "write_nifti",
]


class _Package(_ModuleType):
    """The package. It imports a public name when it is first used, since torch alone takes a second."""

    def __getattr__(self, name: str) -> object:
        for module, names in _MODULES.items():
            if name in names:
                value = getattr(_import_module(f"tomopatch.{module}"), name)
                setattr(self, name, value)
                return value
        raise AttributeError(f"module 'tomopatch' has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        # the import of the subpackage `reconstruct` would hide the function
        if name not in __all__ or not isinstance(value, _ModuleType):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


_sys.modules[__name__].__class__ = _Package

if "IPython" in _sys.modules:
    from tomopatch.export import notebook as _notebook

    _notebook.register()
