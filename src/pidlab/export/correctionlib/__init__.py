"""The JSON of correctionlib."""
