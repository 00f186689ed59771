"""How the score of a model goes with its features, measured on the scores alone."""
