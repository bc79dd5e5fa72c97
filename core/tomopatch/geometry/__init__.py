"""Scan geometries: parallel and cone beams, general views, scanner presets, and which frequencies and voxels
they see.
"""
