"""Figures of a regression: residuals, predictions, pulls and trends of its models, and what goes into them."""
