"""Evaluation: from scores and samples to results with intervals."""
