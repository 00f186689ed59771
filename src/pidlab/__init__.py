"""Particle identification on real ROOT files, from the first look to the published plot."""

__version__ = "0.1.0"
