"""A finished run: its record, its models, and what is done with them."""
