"""Builds weights that make classes alike by bins in correctionlib's schema, and the places where to check them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from pidlab.datadriven.reweighting.ratio import BinRatio
from pidlab.datadriven.reweighting.reweighter import Group, Reweighter
from pidlab.export.correctionlib.content import Node, binning, correction, just_below, variable
from pidlab.measured import Array


def bin_groups(reweighter: Reweighter | None) -> dict[str, Group]:
    """Returns branch to group of weights that are bins; empty for other methods."""
    return {} if reweighter is None or reweighter.method != "bins" else reweighter.branches


def weight_corrections(reweighter: Reweighter | None) -> Iterator[Node]:
    """Yields a correction for each group; values beyond the edges count to the outermost bins."""
    for branch, group in bin_groups(reweighter).items():
        assert reweighter is not None
        edges, values = _mean(group)
        inner = values[tuple(slice(0, len(own) - 1) for own in edges)]
        sides = [[just_below(edge) for edge in own] for own in edges]
        variables = [variable(name, "a matched variable") for name in reweighter.match]
        description = (
            f"The weight that makes {group.name or 'the classes'} like {reweighter.target or 'the target'} in "
            f"{', '.join(reweighter.match)}, the mean over the folds. Missing values (NaN) are not taken."
        )
        bins = binning(reweighter.match, sides, inner.ravel().tolist(), "clamp")
        yield correction(branch, description, variables, "weight", bins)


def _mean(group: Group) -> tuple[tuple[Array, ...], Array]:
    """Returns the edges, and the weights of their cells as the mean over the folds."""
    ratios = [ratio for ratio in group.ratios if isinstance(ratio, BinRatio)]
    return ratios[0].edges, np.mean([ratio.values for ratio in ratios], axis=0) * group.scale


def places(group: Group) -> Array:
    """Returns places (n, d) on each edge, between each two edges, and beyond the outermost ones."""
    axes = [np.concatenate([own, (own[1:] + own[:-1]) / 2, [own[0] - 1, own[-1] + 1]]) for own in _mean(group)[0]]
    return np.array(list(itertools.product(*axes)))
