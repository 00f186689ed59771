"""Methods that TMVA trained."""
