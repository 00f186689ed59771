"""Distributed: a run whose events stay in the memory of the workers of a cluster."""
