"""Drawings to explore a sample and its models: two features at once, ratios, contributions and trees."""
