"""Models that are trained without labels, or on one class alone."""
