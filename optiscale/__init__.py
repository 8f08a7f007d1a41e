"""OptiScale: neural scaling laws in materials science."""

__version__ = "0.1.0"
