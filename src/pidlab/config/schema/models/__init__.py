"""Sections of the models: their keys, and what code may ask of them."""
