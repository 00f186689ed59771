"""What the inputs of a network contribute to what it says."""
