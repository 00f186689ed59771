"""Boosted decision trees."""
