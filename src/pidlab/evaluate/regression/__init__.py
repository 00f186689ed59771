"""Evaluation of a regression: from predictions and targets to results with intervals."""
