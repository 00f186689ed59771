"""Bundle: recipe, models and thresholds of a finished run, as `apply` and `export` need them, written and read."""

from __future__ import annotations

import hashlib
import io
import math
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from pidlab.config.load import LoadedConfig, load_config
from pidlab.config.schema import Config
from pidlab.config.stated import branch_mistakes
from pidlab.credentials import address_without_secrets
from pidlab.errors import DataError, ModelError, UsageError, nearest
from pidlab.evaluate.points.flat import flat_from_json, thresholds_at
from pidlab.evaluate.results import FlatThreshold, ModelResult, RegressionModel, json_value
from pidlab.jsonfile import read_json, write_json
from pidlab.models.model import Model
from pidlab.preprocess.recipe import LocatedExpression, Recipe, compile_recipe, without_models
from pidlab.read import absolute
from pidlab.runs.manifest import from_run, refuse_other_folder, verify
from pidlab.sample import IntArray

if TYPE_CHECKING:
    from pidlab.datadriven.reweighting.reweighter import Reweighter
    from pidlab.read import Chunk, Table

SCHEMA = 1
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_PLAIN = re.compile(r"[A-Za-z0-9_./($][ -~]*")
_IN_ONE_LINE = 100
"""Characters of a list or mapping in config.yaml that is written in one line."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A working point of a model: scores above the threshold pass; `flat` is a threshold that follows spectators."""

    name: str
    threshold: float
    flat: FlatThreshold | None = None

    def passed(
        self, score: NDArray[np.float32], spectators: Mapping[str, NDArray[np.floating[Any]]]
    ) -> NDArray[np.bool_]:
        """Returns (n,) true where a signal's score (n,) passes; `spectators` holds those of `flat`, (n,) each."""
        threshold = np.float32(self.threshold)
        if self.flat is None:
            return np.asarray(score > threshold)
        return np.asarray(score > thresholds_at(self.flat, spectators).astype(np.float32))


class Additions(Protocol):
    """Columns that are computed beside scores and decisions, such as the efficiency of a decision.

    They travel to the processes that score, and two of the same `fingerprint` are equal.
    """

    @property
    def fingerprint(self) -> str:
        """A hash of everything that decides the values."""

    @property
    def types(self) -> Mapping[str, np.dtype[Any]]:
        """The columns with a value for each row, in order; NaN or false for rows that are not selected."""

    @property
    def entry_types(self) -> Mapping[str, np.dtype[Any]]:
        """The columns with a value for each entry, which exist if rows are candidates."""

    @property
    def expressions(self) -> Sequence[LocatedExpression]:
        """What is evaluated on the branches of an input; their keys are options of the command line."""

    def fill(self, columns: Mapping[str, NDArray[Any]], chunk: Chunk, rows: IntArray) -> None:
        """Writes the values of the m selected rows, which `chunk` holds, into `columns` (n,) at `rows` (m,)."""

    def by_entry(self, columns: Mapping[str, NDArray[Any]], counts: IntArray) -> Mapping[str, NDArray[Any]]:
        """Returns the columns of `entry_types`, from those of the rows and the number of rows of each entry."""


def check_located(table: Table, expressions: Sequence[LocatedExpression]) -> None:
    """Checks the expressions of `Additions` against the branches of an input.

    Raises:
        UsageError: branches are missing or of another kind; all mistakes are listed.
    """
    for_each = [next(branch_mistakes(table, {each.key: each.expression}), None) for each in expressions]
    if found := [f"{key[0]}: {said}" for key, said in (mistake for mistake in for_each if mistake is not None)]:
        raise UsageError("\n".join(dict.fromkeys(found)))


@dataclass(frozen=True, slots=True)
class Bundle:
    """Models that can score any file.

    Attributes:
        decisions: model to its working points.
        fingerprint: a hash of configuration, models and thresholds.
        folder: the absolute path of the run, from which other processes load it; None while the run is being made.
        verified: false if the run is of a version that kept no checksums.
        additions: what is computed beside scores and decisions; None for nothing.
        reweighter: gives the weights that make classes alike; None if the run has none.
    """

    recipe: Recipe
    models: Mapping[str, Model]
    decisions: Mapping[str, tuple[Decision, ...]]
    fingerprint: str
    folder: Path | None = None
    verified: bool = True
    additions: Additions | None = None
    reweighter: Reweighter | None = None

    def with_additions(self, additions: Additions) -> Bundle:
        """Returns the bundle with further columns, whose fingerprint is another one."""
        both = hashlib.blake2b(f"{self.fingerprint} {additions.fingerprint}".encode(), digest_size=16).hexdigest()
        return replace(self, additions=additions, fingerprint=both)


def decisions_of(results: Mapping[str, ModelResult | RegressionModel]) -> dict[str, tuple[Decision, ...]]:
    """Returns the working points of evaluated models; those of a regression have none."""
    return {
        name: tuple(Decision(w.name, w.threshold, w.flat) for w in r.working_points)
        if isinstance(r, ModelResult)
        else ()
        for name, r in results.items()
    }


def save_bundle(
    folder: Path,
    recipe: Recipe,
    models: Mapping[str, Model],
    results: Mapping[str, ModelResult | RegressionModel],
    reweighter: Reweighter | None = None,
) -> Bundle:
    """Writes `config.yaml`, `models/` and, if there are weights, `reweighting/` into the folder of a run."""
    (folder / "config.yaml").write_text(config_yaml(recipe.loaded), encoding="utf-8")
    decisions = decisions_of(results)
    for name, model in models.items():
        directory = folder / "models" / name
        directory.mkdir(parents=True)
        model.save(directory)
        content = {
            "schema": SCHEMA,
            "type": model.kind,
            "classes": list(recipe.classes),
            "signal": recipe.classes[recipe.signal],
            "features": [f.name for f, _ in recipe.features],
            "working_points": [
                {"name": d.name, "threshold": d.threshold, **({"flat": json_value(d.flat)} if d.flat else {})}
                for d in decisions[name]
            ],
            "notes": list(model.notes),
        }
        write_json(directory / "model.json", content)
    if reweighter is not None:
        reweighter.save(folder)
    return Bundle(recipe, models, decisions, _fingerprint(folder), reweighter=reweighter)


def load_bundle(run: Path, models: Iterable[str] = ()) -> Bundle:
    """Returns the bundle of a finished run, or of some of its models.

    Raises:
        UsageError: `run` is not the folder of a run, or it has no such model.
        ModelError: a file of the run is damaged.
    """
    refuse_other_folder(run, "config.yaml", "models")
    verified = verify(run, "config.yaml")
    loaded = load_config(run / "config.yaml")
    wanted = list(models) or list(loaded.config.models)
    for name in wanted:
        if name not in loaded.config.models:
            raise UsageError(f"{run}: has no model {name!r}; {nearest(name, loaded.config.models)}")
    verify(run, *(f"models/{name}" for name in wanted))
    recipe = without_models(compile_recipe(loaded), wanted)
    loaded_models: dict[str, Model] = {}
    decisions: dict[str, tuple[Decision, ...]] = {}
    with from_run(run):
        for name in wanted:
            path = run / "models" / name / "model.json"
            decisions[name], notes = _decisions(path, name, recipe)
            loaded_models[name] = replace(Model.load(path.parent, name, recipe), notes=notes)
            _check_decisions(path, loaded_models[name], decisions[name])
        reweighter = saved_reweighter(run, loaded)
    return Bundle(recipe, loaded_models, decisions, _fingerprint(run), run.resolve(), verified, reweighter=reweighter)


def with_classes(bundle: Bundle) -> Bundle:
    """Returns the bundle, whose models must tell classes apart.

    Raises:
        UsageError: it is that of a regression.
    """
    if bundle.recipe.target is not None:
        predicted = bundle.recipe.target.expression.text
        raise UsageError(f"{bundle.folder}: is a regression (of {predicted}), and this needs a run with classes")
    return bundle


def saved_reweighter(run: Path, loaded: LoadedConfig) -> Reweighter | None:
    """Returns the weights of a finished run that make classes alike; None if its configuration asks for none.

    Raises:
        ModelError: a file of the run is damaged, or does not belong to its configuration.
    """
    if loaded.config.reweight is None:
        return None
    from pidlab.datadriven.reweighting.reweighter import FILE, FOLDER, load_reweighter

    verify(run, FOLDER)
    with from_run(run):
        found = load_reweighter(run)
        if list(found.match) != loaded.config.reweight.match:
            raise ModelError(f"{run / FOLDER / FILE}: is not of the configuration beside it; copy the folder again")
        return found


def _decisions(path: Path, name: str, recipe: Recipe) -> tuple[tuple[Decision, ...], tuple[str, ...]]:
    """Returns the working points of a model, and the notes on its training, from its `model.json`.

    Runs of earlier versions have no notes.

    Raises:
        ModelError: the file is damaged, or does not belong to the configuration of the run.
    """
    content = read_json(path)
    if content.get("schema") != SCHEMA:
        raise ModelError(f"{path}: written by another version of pidlab (schema {content.get('schema')!r})")
    expected = {
        "type": recipe.loaded.config.models[name].kind,
        "classes": list(recipe.classes),
        "signal": recipe.classes[recipe.signal],
        "features": [feature.name for feature, _ in recipe.features],
    }
    for key, value in expected.items():
        if content.get(key) != value:
            raise ModelError(
                f"{path}: {key} is {content.get(key)!r}, and in the config.yaml of the run {value!r}; the files are "
                "not of one run: copy the folder again, or make the run again"
            )
    points, notes = content.get("working_points"), content.get("notes", [])
    if not isinstance(points, list):
        raise ModelError(f"{path}: has no list of working points; make the run again")
    if not isinstance(notes, list) or not all(isinstance(note, str) for note in notes):
        raise ModelError(f"{path}: its notes are no list of sentences; make the run again")
    return tuple(_decision(point, path) for point in points), tuple(notes)


def _check_decisions(path: Path, model: Model, decisions: tuple[Decision, ...]) -> None:
    """Refuses working points that the model, or the spectators of the run, cannot decide."""
    carried = {name for name, _ in model.recipe.spectators}
    for decision in decisions:
        unknown = sorted({*(decision.flat.names if decision.flat else ())} - carried)
        if unknown:
            raise ModelError(f"{path}: {decision.name} follows {unknown[0]!r}, which is no spectator of the run")
    if model.per_point_cuts and [d.name for d in decisions] != [name for name, _ in model.per_point_cuts]:
        raise ModelError(f"{path}: the working points are not those of the configuration; make the run again")


def _decision(content: Any, path: Path) -> Decision:
    """Returns a checked working point: exports make a branch or a function of its name, a literal of its threshold."""
    if not isinstance(content, dict):
        raise ModelError(f"{path}: a working point is damaged; make the run again")
    name, threshold = content.get("name"), content.get("threshold")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ModelError(
            f"{path}: {name!r} cannot be the name of a working point: letters, digits and underscores make one; "
            "make the run again"
        )
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not math.isfinite(threshold):
        raise ModelError(f"{path}: the threshold of {name} is {threshold!r}, and no finite number; make the run again")
    try:
        flat = flat_from_json(content["flat"]) if content.get("flat") is not None else None
    except DataError as error:
        raise ModelError(f"{path}: {name}: {error}") from error
    return Decision(name, float(threshold), flat)


def _fingerprint(run: Path) -> str:
    """Returns the BLAKE2b-128 of the configuration and the files of the models, which decide the scores."""
    digest = hashlib.blake2b(digest_size=16)
    folders = ("models", "reweighting")
    kept = (p for own in folders for p in (run / own).rglob("*") if p.is_file() and not p.name.startswith("."))
    for path in [run / "config.yaml", *sorted(kept)]:
        digest.update(path.relative_to(run).as_posix().encode() + b"\0")
        digest.update(path.read_bytes())
    return digest.hexdigest()


def config_yaml(loaded: LoadedConfig) -> str:
    """Returns the configuration as YAML, with all defaults, with absolute paths, and without passwords in addresses."""
    content = _resolved(loaded.config, loaded.folder)
    stream = io.StringIO()
    yaml = YAML(typ="rt", pure=True)
    # Lines are not folded: a key that is continued in the next line is no valid YAML.
    yaml.width = sys.maxsize
    yaml.dump(_laid_out(content), stream)
    return stream.getvalue()


def _laid_out(value: Any) -> Any:
    """Returns the content for ruamel.yaml, lists and mappings of scalars in one line if they are short enough."""
    if not isinstance(value, dict | list):
        return _quoted(value) if isinstance(value, str) else value
    inner = list(value.values()) if isinstance(value, dict) else value
    in_one_line = len(repr(value)) <= _IN_ONE_LINE and not any(isinstance(each, dict | list) for each in inner)
    made: CommentedMap | CommentedSeq
    if isinstance(value, dict):
        made = CommentedMap((_quoted(name), _laid_out(each)) for name, each in value.items())
    else:
        made = CommentedSeq(map(_laid_out, value))
    if in_one_line:
        made.fa.set_flow_style()
    else:
        made.fa.set_block_style()
    return made


def _quoted(text: str) -> str:
    """Returns the text, to be written in quotes unless YAML and its reader take it for itself without them."""
    return text if _PLAIN.fullmatch(text) else DoubleQuotedScalarString(text)


def plain_values(value: Any) -> Any:
    """Returns a section as plain values; null only if it means something else than leaving the key out."""
    if isinstance(value, BaseModel):
        fields, extra = type(value).model_fields, value.model_extra or {}
        called = {name: field.alias or name for name, field in fields.items()}
        defaults = {called[name]: field.get_default(call_default_factory=True) for name, field in fields.items()}
        values = {called[name]: getattr(value, name) for name in fields} | extra
        return {
            n: plain_values(inner) for n, inner in values.items() if inner is not None or defaults.get(n) is not None
        }
    if isinstance(value, Mapping):
        return {name: plain_values(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(inner) for inner in value]
    return value


def _address(file: str, folder: Path) -> str:
    """Returns a path that means the same from everywhere, or an address without its password."""
    return address_without_secrets(absolute(file, folder))


def _resolved(config: Config, folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = plain_values(config)
    target = content.get("reweight", {}).get("to")
    if isinstance(target, dict):
        target["friends"] = [_address(f, folder) for f in target["friends"]]
    for section in [content["data"], *content.get("classes", {}).values(), target]:
        if isinstance(section, dict) and section.get("files") is not None:
            files = section["files"]
            section["files"] = [_address(f, folder) for f in ([files] if isinstance(files, str) else files)]
    for model in content["models"].values():
        if "file" in model:
            model["file"] = str(folder / model["file"])
    content["data"]["friends"] = [_address(f, folder) for f in content["data"]["friends"]]
    return content
