"""Weights that make the distributions of one sample those of another, in variables that no model should see."""
