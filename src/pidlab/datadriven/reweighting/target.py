"""Target: the rows of files of their own to which classes are made alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pidlab.config.schema import ReweightTarget
from pidlab.datadriven.reweighting.ratio import Weighted
from pidlab.errors import DataError
from pidlab.expressions import parse, selects
from pidlab.preprocess.events import Digests, Input, input_keys
from pidlab.preprocess.features import event_keys, refuse_infinite, values_of
from pidlab.preprocess.recipe import LocatedExpression, Recipe
from pidlab.preprocess.selection import selected
from pidlab.progress import Watcher
from pidlab.read import Table, find_sources, with_friends
from pidlab.split import Keys


class TargetRows(NamedTuple):
    """Rows to which classes are made alike.

    Attributes:
        rows: the matched variables and the weights.
        event: (n,) hashes of their events.
        inputs: the files that were read; empty for a class.
    """

    rows: Weighted
    event: Keys
    inputs: tuple[Input, ...]


def read_target(recipe: Recipe, target: ReweightTarget, match: list[LocatedExpression], watcher: Watcher) -> TargetRows:
    """Reads the rows of the target that pass its cut and the selection.

    Raises:
        ConfigError: an expression does not fit the branches of a file.
        DataError: a file cannot be read, a weight is not finite, or no row is left.
    """
    loaded, aliases = recipe.loaded, dict(recipe.loaded.config.data.aliases)
    key = ("reweight", "to")
    cut = LocatedExpression((*key, "cut"), parse(target.cut, aliases))
    weight = LocatedExpression((*key, "weight"), parse(target.weight, aliases))
    asked = [*(located for _, located in recipe.selection), *match, cut, weight]
    asked += [recipe.best.by] if recipe.best is not None else []
    branches = {name for each in asked for name in each.expression.reads} | set(recipe.event_id)
    found = find_sources(target.files, target.tree or loaded.config.data.tree, loaded.folder)
    befriended = with_friends(found, target.friends, loaded.folder, loaded.config.data.event_id)
    sources = [befriended[source] for source in found]
    keys, z, w, event, inputs = input_keys(sources), [], [], [], []
    with watcher.task("reading the target of reweight", 0, "entries") as task:
        for source in sources:
            digests, n_rows = Digests(), 0
            with Table(source, recipe.per) as table:
                recipe.check(table, asked, recipe.event_id)
                for chunk in table.chunks(branches):
                    digests.update(chunk)
                    passed = selected(recipe, chunk) & selects(cut.expression, chunk.arrays, chunk.n_rows)
                    rows = chunk.take(np.flatnonzero(passed))
                    z.append(np.column_stack([values_of(each, rows) for each in match]))
                    w.append(values_of(weight, rows))
                    what = f"{source}: reweight.to.weight {weight.expression.text!r}"
                    refuse_infinite(w[-1], rows.entry, what)
                    event.append(event_keys(recipe, rows, f"reweight {keys[source]}"))
                    n_rows += chunk.n_rows
                    task.advance(chunk.n_entries)
                inputs.append(Input(source, table.n_entries, n_rows, 0, digests.hashes))
    if not sum(map(len, w)):
        raise DataError(str(loaded.mistake(key, "no row of the files passes the selection and the cut")))
    return TargetRows(Weighted(np.concatenate(z), np.concatenate(w)), np.concatenate(event), tuple(inputs))
