"""Rectangular cuts, optimised and nested."""
