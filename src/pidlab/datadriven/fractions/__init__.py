"""Species fractions: how many candidates of each class data hold, from the scores of the models of a run."""
