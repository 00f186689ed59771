"""Figures: a module draws one kind of result on axes; `gallery` makes and writes all figures of a run."""
