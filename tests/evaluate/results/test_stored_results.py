"""Results that were written come back as they were."""

import dataclasses
import json
from pathlib import Path

import pytest

from example_results import example
from pidlab.errors import DataError
from pidlab.evaluate.results import Results, read_results, write_results
from stored_values import same


def test_results_come_back_as_they_were(tmp_path: Path) -> None:
    results = example()
    write_results(tmp_path / "results.json", results)
    assert same(read_results(tmp_path / "results.json"), results)


def test_what_an_older_version_did_not_write_takes_its_default(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    write_results(path, example())
    content = json.loads(path.read_text())
    for field in dataclasses.fields(Results):
        if field.default is not dataclasses.MISSING:
            del content["results"][field.name]
    for model in content["results"]["models"].values():
        del model["cut_string"]
    path.write_text(json.dumps(content))
    assert read_results(path).notes == ()


@pytest.mark.parametrize("damage", ["", "{}", "[1]", '{"schema": 1, "results": {}}', '{"schema": 99, "results": {}}'])
def test_a_damaged_file_is_told_in_a_sentence(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(damage)
    with pytest.raises(DataError, match=r"results\.json: .*make the run again"):
        read_results(path)
