"""Readers of measured projections in several formats; each returns `Projections`."""

from tomopatch.io.projections.geometry_file import KEYS, read_geometry_file
from tomopatch.io.projections.projections import QUANTITIES, Projections
from tomopatch.io.projections.reading import FORMATS, QuantityError, is_projections, read_projections

__all__ = [
    "FORMATS",
    "KEYS",
    "QUANTITIES",
    "Projections",
    "QuantityError",
    "is_projections",
    "read_geometry_file",
    "read_projections",
]
