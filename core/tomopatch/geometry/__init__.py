"""Scan geometries: parallel and cone beams, views, scanner presets, visibility, Fourier coverage."""
