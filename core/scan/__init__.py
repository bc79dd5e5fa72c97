"""Sources of volumes: DICOM, NIfTI and built-in phantoms. Readers convert from Hounsfield units to attenuation."""

from core.scan.dicom import read_dicom
from core.scan.library import SOURCES, load_volume
from core.scan.nifti import read_nifti, write_nifti
from core.scan.phantom import PHANTOMS, SPHERES, Sphere, draw, lesions, phantom, sphere_line_integrals
from core.scan.scene import Lesion
from core.scan.slices import MAX_VOXELS

__all__ = [
    "MAX_VOXELS",
    "PHANTOMS",
    "SOURCES",
    "SPHERES",
    "Lesion",
    "Sphere",
    "draw",
    "lesions",
    "load_volume",
    "phantom",
    "read_dicom",
    "read_nifti",
    "sphere_line_integrals",
    "write_nifti",
]
