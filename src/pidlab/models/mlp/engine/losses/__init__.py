"""Losses of networks: of classes, of a target, and of the core of several variables."""
