"""The sheets of the gallery: a figure, its table and where it belongs."""
