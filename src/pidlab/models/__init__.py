"""Models: what takes part in the comparison, one file a family; `contender` is how it takes part."""
