"""Colours, curves and figures."""
