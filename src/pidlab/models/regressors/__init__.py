"""Regressors: estimators that predict a number of each candidate, and where asked its width or its quantiles."""
