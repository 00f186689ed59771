"""The ROOT objects of a run."""
