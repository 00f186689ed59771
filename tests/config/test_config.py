"""The configuration: every mistake at once, each with its place and the nearest valid name."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pidlab.config.load import load_config
from pidlab.config.schema import Config, json_schema
from pidlab.errors import ConfigError, UsageError
from pidlab.runs.bundle import config_yaml

GOOD = """\
data: {files: a.root}
classes:
  electron: "species == 0"
  pion: "species == 1"
features:
  - eop
  - {name: log_npe, expression: "log(1 + npe)", missing: [-999]}
models:
  mlp: {type: mlp, hidden: [20, 20], learning_rate: 1e-4}
  bdt: {type: bdt, subsample: 0.5}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "analysis.yaml"
    path.write_text(text)
    return path


def mistakes(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(write(folder, text), overrides)
    return str(caught.value)


def test_a_good_configuration_is_typed_and_its_first_class_is_the_signal(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD)).config
    assert config.signal_class == "electron"
    assert [f.expression for f in config.feature_list] == ["eop", "log(1 + npe)"]
    assert config.models["mlp"].model_dump()["learning_rate"] == 1e-4


def test_all_mistakes_are_told_at_once_with_place_and_nearest_name(tmp_path: Path) -> None:
    text = GOOD.replace("hidden:", "hiden:").replace("files:", "fils:").replace("expression:", "expresion:")
    said = mistakes(tmp_path, text).splitlines()
    path = tmp_path / "analysis.yaml"
    assert f"{path}:1:8: data.fils: unknown key; did you mean 'files' or 'friends'?" in said
    assert f"{path}:7:21: features[1].expresion: unknown key; did you mean 'expression'?" in said
    assert f"{path}:9:20: models.mlp.hiden: unknown key; did you mean 'hidden'?" in said
    assert f"{path}:7:5: features[1].expression: missing; this key is needed" in said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "type: bdt",
            "type: btd",
            "models.bdt: must be one of expression, score, cuts, fisher, logistic, naive_bayes, tree, "
            "mixture, autoencoder, band, likelihood, bdt",
        ),
        ("hidden: [20, 20]", 'hidden: ["20"]', "9:29: models.mlp.hidden[0]: must be a valid integer, not '20'"),
        ("learning_rate: 1e-4", "learning_rate: -1", "must be greater than 0, not -1"),
        (
            "features:",
            "signal: electrn\nfeatures:",
            "signal: 'electrn' is none of the classes; did you mean 'electron'?",
        ),
        (
            "models:",
            "style: {reference: bdtt}\nmodels:",
            "style.reference: 'bdtt' is none of the models; did you mean 'bdt'?",
        ),
        ("  - eop", "  - log_npe", "the feature 'log_npe' stands here twice"),
        ("pion:", "electron:", "stands here twice"),
        ("  pion:", "  pi-on:", "letters, digits and underscores"),
        ('  pion: "species == 1"\n', "", "classes: name two classes or more"),
        ("a.root", "&anchor a.root", "anchors and aliases are not read"),
        ("a.root", "!!python/object/apply:os.system ['true']", "tag"),
        ("a.root}", "a.root", "not valid YAML"),
        ("models:", "evaluate: {abundance: {muon: 1}}\nmodels:", "evaluate.abundance.muon: is none of the classes"),
        ("models:", "evaluate: {maps: [{x: p, bins: [3, 2]}]}\nmodels:", "bin edges must rise"),
        (
            "type: bdt, subsample: 0.5",
            "type: cuts, sides: {eopp: min}",
            "models.bdt.sides.eopp: is none of the features",
        ),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in GOOD
    assert said in mistakes(tmp_path, GOOD.replace(before, after))


def test_yaml_is_read_as_version_1_2(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD.replace("a.root", "no"))).config
    assert config.data.files == "no"


def test_set_overrides_a_key_and_is_named_when_it_is_wrong(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, GOOD), ["models.mlp.epochs=20", "split.test=0.5"]).config
    assert config.models["mlp"].model_dump()["epochs"] == 20
    assert config.split.test == 0.5
    assert mistakes(tmp_path, GOOD, "models.mlp.epochs=many").startswith("--set models.mlp.epochs: ")
    with pytest.raises(UsageError, match="expected KEY=VALUE"):
        load_config(write(tmp_path, GOOD), ["models.mlp.epochs"])


def test_a_bomb_of_aliases_is_refused_at_once(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    assert "anchors and aliases" in mistakes(tmp_path, "\n".join(lines))


@pytest.mark.slow
@pytest.mark.parametrize("text", ["", "- 1\n- 2\n", "[" * 5000, "a: \x00"])
def test_what_is_no_configuration_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    assert "analysis.yaml" in mistakes(tmp_path, text)


def test_a_missing_file_says_how_to_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="pidlab init"):
        load_config(tmp_path / "none.yaml")


def test_the_resolved_configuration_reads_back_as_the_same(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, GOOD))
    again = Config.model_validate(YAML(typ="safe", pure=True).load(config_yaml(loaded)))
    assert again.data.files == [str(tmp_path / "a.root")]
    assert again.models == loaded.config.models
    assert again.evaluate == loaded.config.evaluate


def test_the_schema_names_every_section() -> None:
    properties = json_schema()["properties"]
    assert set(properties) == set(Config.model_fields)


@pytest.mark.slow
@pytest.mark.usefixtures("without_the_objects_of_others")
def test_five_thousand_unknown_keys_take_about_five_times_as_long_as_a_thousand(tmp_path: Path) -> None:
    """About 0.7 CPU seconds; if each key were compared with all others it would be 25 times as long."""
    seconds = {1000: float("inf"), 5000: float("inf")}
    for n in 2 * [*seconds]:  # the shorter of two times, since a busy machine makes one longer and never shorter
        path = write(tmp_path, GOOD + "".join(f"unknown_{i}: 1\n" for i in range(n)))
        start = time.thread_time()
        with pytest.raises(ConfigError) as caught:
            load_config(path)
        assert len(caught.value.mistakes) == n
        assert f"unknown_{n - 1}: unknown key" in str(caught.value)
        seconds[n] = min(seconds[n], time.thread_time() - start)
    assert seconds[5000] < 12 * seconds[1000]


def test_a_pipe_or_a_device_is_no_configuration(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path in (tmp_path / "pipe.yaml", Path("/dev/zero"), tmp_path):
        with pytest.raises(UsageError, match="is a folder, a pipe or a device"):
            load_config(path)
