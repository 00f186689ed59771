"""Drawings of fits: a distribution with the fitted curves, its pulls, and functions of the fitted variable."""
