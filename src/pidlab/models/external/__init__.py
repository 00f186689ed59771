"""Models that other tools made."""
