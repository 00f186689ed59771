"""Figures of efficiencies from data: the fit of each bin, and what all bins give together."""
