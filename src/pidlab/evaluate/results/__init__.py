"""Results: frozen values, which everything after the evaluation reads."""
