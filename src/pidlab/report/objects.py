"""The ROOT objects behind a figure: which names in `results.root` show the same numbers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from pidlab.evaluate.results import Results
from pidlab.plots.gallery import sanitised

# Kind of figure to patterns of objects, the first to be drawn first; {model} and {rest} are parts of its name.
_PATTERNS = {
    "inputs": ("inputs/[!c]*", "inputs/c[!o]*"),
    "correlation": ("inputs/correlation_{rest}",),
    "learning": ("{model}/history_validation_auc", "{model}/history_*"),
    "response": ("{model}/score_*",),
    "confusion": ("{model}/confusion",),
    "compare": ("compare/pairs", "compare/delta_auc", "compare/*"),
    "robustness": ("robustness/*/auc_{rest}_all", "robustness/*/auc_{rest}*", "robustness/*/*_{rest}*"),
    "cutflow": ("cutflow/*",),
    "map": ("maps/{model}/*{rest}*_value", "maps/{model}/*{rest}*"),
    "calibration": ("{model}/calibration*", "{model}/reliability*"),
    "importance": ("{model}/importance*",),
    "merit": ("{model}/merit*",),
    "matrix": ("{model}/matrix*",),
    "roc_pairs": ("{model}/roc_*", "{model}/rejection_*"),
    "flat": ("{model}/*flat*", "maps/{model}/*flat*"),
}


def key(name: str) -> str:
    """A model, class or feature as a part of a path in `results.root`."""
    return re.sub(r"[^A-Za-z0-9_]+", "_", name) or "_"


def kind_of(figure: str, kinds: Sequence[str]) -> str:
    """Which of `kinds` a figure's name begins with, the longest; empty for none."""
    fitting = (kind for kind in kinds if figure == kind or figure.startswith(f"{kind}_"))
    return max(fitting, key=len, default="")


def objects_of(figure: str, results: Results, objects: Sequence[str]) -> list[str]:
    """Names among `objects` that show what the figure of this name shows, the best first."""
    found = dict.fromkeys(o for pattern in _patterns(figure, results) for o in objects if fnmatchcase(o, pattern))
    return list(found)


def _patterns(figure: str, results: Results) -> Iterator[str]:
    kind = kind_of(figure, [*_PATTERNS, "roc", "efficiency"])
    rest = figure.removeprefix(kind).strip("_")
    if kind == "roc":
        suffix = f"_{rest}" if rest else ""
        yield from (f"*/rejection{suffix}", f"*/roc{suffix}")
        return
    models = [m for m in results.models if rest == sanitised(m) or rest.endswith(f"_{sanitised(m)}")]
    model = max(models, key=len, default="")
    if model:
        rest = rest[: len(rest) - len(sanitised(model))].strip("_")
    if kind == "efficiency":
        for axis in _axis_names(rest, results):
            yield from (f"{key(model)}/efficiency_{axis}_*_graph", f"{key(model)}/*_{axis}_*")
    for pattern in _PATTERNS.get(kind, ()):
        if model or "{model}" not in pattern:
            for name in _axis_names(rest, results) if kind == "map" else [rest]:
                yield pattern.format(model=key(model), rest=name)


def _axis_names(rest: str, results: Results) -> list[str]:
    """How spectators whose names make up `rest` are called in names of objects: by their ends, or in full."""
    axes = {one.names for model in results.models.values() for one in model.maps}
    names = next((n for n in axes if sanitised("_".join(n)) == rest), ())
    return ["_".join(key(n.rpartition(".")[2]) for n in names), "_".join(map(key, names))] if names else []
