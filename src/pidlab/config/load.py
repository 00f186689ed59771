"""Load: a YAML file as a checked `Config`, or all mistakes at once, each with its place."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pidlab.config.choose import only_models, without_model
from pidlab.config.columns import own_column_names
from pidlab.config.names import KeyPath, collisions, dotted
from pidlab.config.polygons import with_points
from pidlab.config.schema import (
    AnyModel,
    AutoencoderModel,
    BandFeature,
    BandModel,
    BdtModel,
    CategoryBins,
    Config,
    CutsModel,
    LikelihoodModel,
    MixtureModel,
    RegressionConfig,
    SklearnModel,
    TrainedModel,
)
from pidlab.config.stated import contradictions, is_pattern, mistakes_of_branches, parsed, spectator_keys, stated_texts
from pidlab.config.tree_parameters import wrong_parameters
from pidlab.config.usable import place_of, quoted_number, usable_part
from pidlab.config.yaml_text import MAX_BYTES, YamlText, read_yaml
from pidlab.errors import ConfigError, Mistake, UsageError, in_order, nearest

_COMMENT = "\nWhat follows ' #' on its line is a comment of YAML; if it belongs to the text, put the whole in quotes."
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Unicode's categories of control characters, of halves of characters, and of ends of lines and paragraphs."""


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A checked configuration and the place of each of its keys.

    Attributes:
        config: the typed sections.
        content: the same as dicts and lists, as written (after `--set`).
        folder: the folder to which its paths are relative.
        places: key path to `file.yaml:line:column`.
        name: the file's name without its ending.
        arrays: name to column, if the events are arrays in memory in place of `data.files`.
    """

    config: Config
    content: Mapping[str, Any]
    folder: Path
    places: Mapping[KeyPath, str]
    name: str
    arrays: Mapping[str, Any] | None = None

    def mistake(self, path: KeyPath, message: str) -> Mistake:
        """Returns a mistake at `path`, or at the nearest key above it that is in the file."""
        return Mistake(place_of(self.places, path), dotted(path), message)


def load_config(path: Path, overrides: Sequence[str] = (), only: Collection[str] = ()) -> LoadedConfig:
    """Reads and checks a configuration.

    Args:
        path: a YAML file.
        overrides: `KEY=VALUE` with dotted keys and YAML values; `models.NAME=null` removes the model.
        only: names of the models to keep; empty for all.

    Raises:
        UsageError: the file cannot be read, or it has no such model.
        ConfigError: it holds mistakes; all are listed.
    """
    written = read_yaml(_text_of(path), str(path))
    content, places = written.content, written.places
    if not isinstance(content, dict):
        joined = f"; write a space behind the colon of {content[:40]!r}" if isinstance(content, str) else ""
        message = f"expected keys such as data, classes, features and models{joined}"
        raise ConfigError([*written.mistakes, Mistake(f"{path}:1:1", "", message)])
    for override in overrides:
        _apply_override(content, places, override)
    if only:
        only_models(content, only)
    return check_config(content, places, path, written)


def check_config(
    content: dict[str, Any], places: Mapping[KeyPath, str], path: Path, written: YamlText | None = None
) -> LoadedConfig:
    """Checks the content of a configuration that was read from `path`.

    Each check runs although an earlier one found mistakes: what is wrong is left out of the later ones, and so is
    what they could only say because of it. If anything is wrong, the branches of inputs on this machine are looked
    at too.

    Args:
        content: the values, as dicts and lists.
        places: key path to `file.yaml:line:column`.
        path: the file, which gives the run its name and relative paths their folder.
        written: what its text says, with mistakes of YAML.

    Raises:
        ConfigError: it holds mistakes; all are listed, in the order of the file.
    """
    places = {(): f"{path}:1:1", **places}
    mistakes = list(written.mistakes) if written is not None else []
    mistakes += [Mistake(place_of(places, key), dotted(key), message) for key, message in _unprintable(content)]
    usable = usable_part(content, places)
    mistakes += usable.mistakes
    folder = path.resolve().parent
    if usable.config is not None:
        config, wrong_polygons, first_use = with_points(usable.config, stated_texts(usable.config), folder)
        places = {**usable.places, **{key: place_of(usable.places, use) for key, use in first_use.items()}}
        incomplete = usable.incomplete
        if any(isinstance(each, str) and is_pattern(each) for each in config.features):
            incomplete |= {"features"}  # its branches are known when an input is opened; then this is checked again
        found = [each for each in _disagreements(config) if not _referred(each[0]) & incomplete]
        found += wrong_polygons
        expressions = parsed(config, found)
        found += contradictions(config, expressions)
        found = [(key, message) for key, message in found if not usable.is_doubtful(key) and not usable.lacks(key)]
        cut_short = written.cut_short if written is not None else set()
        found = [(key, f"{message}{_COMMENT}" if key in cut_short else message) for key, message in found]
        mistakes += [Mistake(place_of(places, key), dotted(key), message) for key, message in found]
        mistakes += [] if usable.mistakes else _collisions(config, places)
        if mistakes:
            kept = {key: each for key, each in expressions.items() if not usable.is_doubtful(key)}
            missing = mistakes_of_branches(config, folder, kept)
            mistakes += [Mistake(place_of(places, key), dotted(key), message) for key, message in missing]
        else:
            return LoadedConfig(config, content, folder, places, path.stem)
    raise ConfigError(in_order(mistakes))


def _unprintable(content: Any, key: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yields texts with control characters, which files, figures and terminals would show as something else."""
    if isinstance(content, str):
        wrong = next((c for c in content if c not in "\t\n" and unicodedata.category(c) in _UNPRINTABLE), None)
        if wrong is not None:
            yield key, f"holds the control character U+{ord(wrong):04X}, which cannot be shown; take it out"
    elif isinstance(content, dict):
        for name, value in content.items():
            yield from _unprintable(name, (*key, name))
            yield from _unprintable(value, (*key, name))
    elif isinstance(content, list | tuple):
        for i, value in enumerate(content):
            yield from _unprintable(value, (*key, i))


def _collisions(config: Config, places: Mapping[KeyPath, str]) -> Iterator[Mistake]:
    """Yields the names by which one branch of the friend trees would replace another."""
    for first, second in collisions(config):
        own, other = (second, first) if second.key else (first, second)
        where = f" ({place_of(places, other.key)})" if other.key and other.key != own.key else ""
        message = (
            f"{own.meaning} and {other.meaning}{where} would both be the branch {own.name!r} of the friend trees; "
            "rename one of them"
        )
        yield Mistake(place_of(places, own.key), dotted(own.key), message)


def yaml_value(text: str) -> Any:
    """Returns the value of a YAML text, as numbers, texts, lists and dicts.

    Raises:
        ConfigError: the text is no YAML value.
    """
    written = read_yaml(text, "value")
    if written.mistakes:
        raise ConfigError(written.mistakes)
    return written.content


def _text_of(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{path}: is a folder, a pipe or a device, not a configuration; name a YAML file")
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path}: larger than {MAX_BYTES:,} bytes, which no configuration is; name a YAML file")
        content = path.read_bytes()
        if content.startswith(b"root"):
            raise UsageError(f"{path}: is a ROOT file, not a configuration; `pidlab init {path}` writes one for it")
        return content.decode()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; `pidlab init FILE` writes a configuration to start from") from None
    except (OSError, ValueError) as error:  # ValueError: it is not text, or its name holds a null byte
        raise UsageError(f"{path}: cannot be read as a configuration ({error})") from error


def _apply_override(content: dict[str, Any], places: dict[KeyPath, str], override: str) -> None:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise UsageError(f"--set {override}: expected KEY=VALUE, for example --set models.mlp.epochs=20")
    name = f"--set {key}"
    written = read_yaml(text, name)
    if written.mistakes:
        raise ConfigError(written.mistakes)
    parts = key.split(".")
    if parts[0] == "models" and len(parts) == 2 and written.content is None:
        without_model(content, parts[1], f"--set {override}")
        return
    section: Any = content
    for part in parts[:-1]:
        section = section.setdefault(part, {}) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            raise UsageError(f"--set {override}: {part!r} is not a section; keys are separated by dots")
    section[parts[-1]] = written.content
    prefix = tuple(parts)
    for path in [p for p in places if p[: len(prefix)] == prefix]:
        del places[path]
    places[prefix] = name


def _disagreements(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields what no single section can check, because it concerns names or values of another section."""
    asked = config.evaluate
    yield from _class_disagreements(config)
    listed = [f if isinstance(f, str) else f.name for f in config.features]
    for i, name in enumerate(listed):
        if name in listed[:i]:
            yield ("features", i), f"the feature {name!r} stands here twice"
    yield from _band_features(config)
    yield from _band_shapes(config)
    names = [*(f.name for f in config.feature_list), *config.band_features]
    for name, model in config.models.items():
        yield from _model_disagreements(config, name, model, names)
    for section, maps in (("maps", asked.maps), ("flat", asked.flat)):
        for i, each in enumerate(maps):
            for axis, edges in (("bins", each.bins), ("y_bins", each.y_bins)):
                if isinstance(edges, list) and not _rise(edges):
                    yield ("evaluate", section, i, axis), "bin edges must rise"
    yield from _reweight_disagreements(config)
    yield from _unknown(config.tune or (), config.models, "the models", ("tune",))
    reference = config.style.reference
    if reference is not None and reference not in config.models:
        yield ("style", "reference"), f"{reference!r} is none of the models; {nearest(reference, config.models)}"
    known = {*names, *(f.expression for f in config.feature_list), *spectator_keys(config)}
    known |= {axis for polygon in config.polygons.values() for axis in (polygon.x, polygon.y) if axis is not None}
    for name in (n for n in config.labels if n not in known):
        yield ("labels", name), f"is no feature, spectator or axis of a map; {nearest(name, known)}"


def _class_disagreements(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with the classes, their files, and the numbers of each class that `evaluate` has."""
    classes, asked = config.classes, config.evaluate
    if config.signal is not None and config.signal not in classes:
        yield ("signal",), f"{config.signal!r} is none of the classes; {nearest(config.signal, classes)}"
    if config.data.best is not None and config.data.per is None:
        yield ("data", "best"), "chooses among the candidates of an event; say in data.per which collection they are"
    yield from _class_numbers(config, ("evaluate", "abundance"), asked.abundance, "its abundance")
    yield from _class_numbers(config, ("evaluate", "expected"), asked.expected, "its number")
    if asked.expected is not None and asked.abundance is not None:
        yield ("evaluate", "expected"), "gives the abundances too; leave evaluate.abundance out"
    if asked.calibration != "none" and config.split.validation == 0:
        yield ("evaluate", "calibration"), "is fitted on validation: give split.validation a share"
    if isinstance(config, RegressionConfig) and config.data.files is None:
        yield ("data", "files"), "missing; name the files of the events"
    for name, spec in classes.items() if not isinstance(config, RegressionConfig) else ():
        if config.data.files is None and (isinstance(spec, str) or (spec.files is None and spec.tree is None)):
            yield ("classes", name), "has no files of its own, and data.files is missing"


def _model_disagreements(
    config: Config, name: str, model: AnyModel, features: Collection[str]
) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with a model: names of features and classes, categories, and parameters of its library."""
    if isinstance(model, CutsModel):
        yield from _merit_disagreements(config, name, model)
        for key in ("sides", "ranges", "min_width", "features"):
            yield from _unknown(getattr(model, key) or (), features, "the features", ("models", name, key))
        for feature, (low, high) in model.ranges.items():
            if not low < high:
                yield ("models", name, "ranges", feature), f"{low:g} is not below {high:g}"
    if isinstance(model, SklearnModel):
        for i, feature in enumerate(model.features or ()):
            if feature not in features:
                wrong = f"{feature!r} is none of the features; {nearest(feature, features)}"
                yield ("models", name, "features", i), wrong
    yield from _category_disagreements(name, model)
    if isinstance(model, LikelihoodModel):
        yield from _likelihood_disagreements(config, name, model)
    if isinstance(model, MixtureModel | AutoencoderModel) and model.train_on not in (None, *config.classes):
        wrong = f"{model.train_on!r} is no class; {nearest(str(model.train_on), config.classes)}"
        yield ("models", name, "train_on"), wrong
    if isinstance(model, BdtModel):
        for parameter, message in wrong_parameters(model.model_extra or {}):
            yield ("models", name, parameter), message
    parameters = model.parameters if isinstance(model, SklearnModel) else model.model_extra or {}
    for parameter, value in parameters.items():
        if isinstance(value, str) and (number := quoted_number(value)) is not None:
            within = ("parameters", parameter) if isinstance(model, SklearnModel) else (parameter,)
            yield ("models", name, *within), f"is the text {value!r}; write {number} without quotes"


def _reweight_disagreements(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with the names and the bins of `reweight`."""
    asked = config.reweight
    if asked is None:
        return
    for i, name in enumerate(asked.match):
        if name in asked.match[:i]:
            yield ("reweight", "match", i), f"{name!r} stands here twice"
    if isinstance(asked.bins, dict):
        yield from _unknown(asked.bins, asked.match, "reweight.match", ("reweight", "bins"))
        wrong = [name for name, edges in asked.bins.items() if isinstance(edges, list) and not _rise(edges)]
        yield from ((("reweight", "bins", name), "bin edges must rise") for name in wrong)
        if asked.method == "classifier":
            yield ("reweight", "bins"), "is read with method: bins only; write that, or leave the bins out"
    if isinstance(config, RegressionConfig):
        if isinstance(asked.to, str):
            yield ("reweight", "to"), "a regression has no classes; name files: to: {files: data.root}"
        if asked.classes is not None:
            yield ("reweight", "classes"), "a regression has no classes; leave it out"
        return
    if isinstance(asked.to, str) and asked.to not in config.classes:
        where = f"{asked.to!r} is none of the classes; {nearest(asked.to, config.classes)}"
        yield ("reweight", "to"), f"{where}; or name files: to: {{files: data.root}}"
    for i, name in enumerate(asked.classes or ()):
        if name not in config.classes:
            yield ("reweight", "classes", i), f"{name!r} is none of the classes; {nearest(name, config.classes)}"
        elif name == asked.to:
            yield ("reweight", "classes", i), f"{name!r} is what the others are made alike to; leave it out"


def _band_shapes(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields what a band's shape does not go with."""
    for name, model in config.models.items():
        if not isinstance(model, BandModel):
            continue
        n = len(model.against_list)
        if n > 2 and model.shape != "network":
            wrong = f"{n} quantities are followed by shape: network only; others take one or two"
            yield ("models", name, "against"), wrong
        if n != 1 and model.shape == "clas12":
            yield ("models", name, "shape"), f"clas12 is a function of one quantity, and against names {n}"
        if model.shape == "network" and model.core == "asymmetric":
            yield ("models", name, "core"), "a network has one width; take core: symmetric, or another shape"


def _band_features(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with features that are numbers of sigmas."""
    bands = [name for name, model in config.models.items() if str(model.type) == "band"]
    for i, feature in enumerate(config.features):
        if not isinstance(feature, BandFeature):
            continue
        key = ("features", i)
        if feature.band not in bands:
            wrong = f"{feature.band!r} is no model of type band"
            yield (*key, "band"), f"{wrong}; {nearest(feature.band, bands)}" if bands else f"{wrong}; there is none"
            continue
        variables = [
            text for place, text in config.models[feature.band].own_columns().items() if place[0] == "variables"
        ]
        if feature.variable is None and len(variables) > 1:
            yield key, f"the band {feature.band!r} has several variables; say which: variable: {variables[0]}"
        if feature.variable is not None and feature.variable not in variables:
            wrong = f"is no variable of the band {feature.band!r}"
            yield (*key, "variable"), f"{feature.variable!r} {wrong}; {nearest(feature.variable, variables)}"
        if config.models[feature.band].categories:
            yield (*key, "band"), f"the band {feature.band!r} has categories (by), and a feature needs one without them"


def _likelihood_disagreements(config: Config, name: str, model: LikelihoodModel) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with the detectors and the priors of a likelihood."""
    seen: dict[str, KeyPath] = {}
    for (place, text), column in zip(model.own_columns().items(), own_column_names(config, name), strict=False):
        if column in seen:
            yield ("models", name, *place), f"{text!r} stands at {dotted(seen[column])} already, and would count twice"
        seen.setdefault(column, ("models", name, *place))
    if isinstance(model.priors, dict):
        yield from _class_numbers(config, ("models", name, "priors"), model.priors, "its prior")


def _rise(numbers: Sequence[float]) -> bool:
    """Returns whether each number is larger than the one before it; none is NaN then."""
    return all(low < high for low, high in itertools.pairwise(numbers))


def _category_disagreements(name: str, model: AnyModel) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with the categories of a model."""
    key: KeyPath = ("models", name, "by")
    if isinstance(model, TrainedModel) and isinstance(model.by, CategoryBins):
        if not _rise(model.by.bins):
            yield (*key, "bins"), "bin edges must rise"
    elif len(model.categories) == 1 and "x" not in model.categories:  # of bins whose edges are wrong
        yield key, "has one category only; name two or more, or leave it out"
    if model.categories and model.point_names():
        what = "a number of sigmas is no threshold of the probability that categories have in common"
        yield ("models", name, "sigma"), f"{what}; leave it out, or the categories (by)"
    if isinstance(model, CutsModel) and model.categories and not model.nested:
        yield key, "needs nested: true; the boxes of all categories become one chain by their scores"
    if isinstance(model, SklearnModel) and model.categories and model.object:
        yield key, "a model that was given as an object in Python is one for all candidates; leave it out"


def _referred(key: KeyPath) -> frozenset[str]:
    """Returns the top-level keys whose names decide whether what stands at `key` disagrees with them."""
    if key[0] == "evaluate":
        return frozenset({"classes"} if key[1] in ("abundance", "expected") else ())
    if key[0] == "models":
        return frozenset(
            {"features"} if key[-1] in ("sides", "ranges", "min_width", "features") or len(key) > 3 else ()
        )
    known = {"signal": {"classes"}, "reweight": {"classes"}, "classes": {"data"}, "tune": {"models"}}
    return frozenset(known.get(str(key[0]), {"features", "spectators", "evaluate"} if key[0] == "labels" else ()))


def _unknown(names: Iterable[str], known: Collection[str], what: str, key: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    for name in names:
        if name not in known:
            yield (*key, name), f"is none of {what}; {nearest(name, known)}"


def _class_numbers(
    config: Config, key: KeyPath, numbers: Mapping[str, float] | None, what: str
) -> Iterator[tuple[KeyPath, str]]:
    """Yields what is wrong with a section that has one number for each class."""
    if numbers is not None:
        yield from _unknown(numbers, config.classes, "the classes", key)
        for name in config.classes.keys() - numbers.keys():
            yield key, f"says nothing of the class {name!r}; give every class {what}"


def _merit_disagreements(config: Config, name: str, model: CutsModel) -> Iterator[tuple[KeyPath, str]]:
    merit, key = model.figure_of_merit, ("models", name, "figure_of_merit")
    if not model.nested and not config.evaluate.working_points:
        yield ("models", name, "nested"), "cuts without nesting need evaluate.working_points, each of which gets a box"
    if merit is None:
        return
    if not model.nested:
        yield key, "needs nested: true; without nesting there are only the boxes of evaluate.working_points"
    if merit.name == "purity" and merit.efficiency == 0:
        yield key, "purity needs the least signal efficiency too, such as efficiency: 0.5; alone it is best at none"
