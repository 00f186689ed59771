"""Preprocess: from chunks of the inputs to the samples that models are trained on."""
