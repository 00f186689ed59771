"""Efficiencies from data by tag and probe, scale factors to simulation, and what an analysis weighs its events with."""
