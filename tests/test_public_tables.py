"""A fetched table is the one that the tests' expectations belong to, or it is refused."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path

import numpy as np
import pytest
import uproot
from sklearn.metrics import roc_auc_score

import public_tables
from public_tables import MAGIC_FILE, digest, fetch_magic, log_likelihood_ratio


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing of it."""

    def log_message(self, *_: object) -> None:
        """Nothing on the terminal."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address at which it is offered."""
    with HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield tmp_path, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def packed(folder: Path, text: str) -> str:
    with zipfile.ZipFile(folder / "table.zip", "w") as archive:
        archive.writestr(MAGIC_FILE, text)
    return "table.zip"


def test_a_fetched_table_is_kept_and_fetched_once(
    server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, address = server
    monkeypatch.setattr(public_tables, "MAGIC_SHA256", digest(["1,2,g", "3,4,h"]))
    name = packed(folder, "1,2,g\r\n3,4,h\r\n")
    path = fetch_magic(tmp_path / "kept" / MAGIC_FILE, f"{address}/{name}")
    assert path.read_text() == "1,2,g\n3,4,h\n"
    assert [p.name for p in path.parent.iterdir()] == [MAGIC_FILE]
    (folder / name).unlink()
    assert fetch_magic(path, f"{address}/{name}") == path


def test_another_table_is_refused_and_a_missing_one_is_an_error_of_the_network(
    server: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = server
    name = packed(folder, "1,2,g\n")
    path = tmp_path / "kept" / MAGIC_FILE
    with pytest.raises(ValueError, match=r"magic04\.data has SHA-256 \w+, the table known here has 042bcf99"):
        fetch_magic(path, f"{address}/{name}")
    with pytest.raises(OSError, match="404"):
        fetch_magic(path, f"{address}/nothing.zip")
    assert not path.exists()


def test_magic_is_the_table_that_is_named(magic: Path) -> None:
    assert digest(magic.read_text().split()) == public_tables.MAGIC_SHA256


def test_the_toys_stored_ratio_bounds_what_its_variables_tell(tmva_toy: Path) -> None:
    """The ratio of the stored variables is the stored ratio, and the areas are those of the public table's models."""
    ratios, truth = [], []
    with uproot.open(tmva_toy) as file:
        for tree in ("TreeS", "TreeB"):
            arrays = file[tree].arrays(library="np")
            x = np.stack([arrays[name] for name in public_tables.FEATURES], axis=1)
            np.testing.assert_allclose(log_likelihood_ratio(x), arrays["llr"], rtol=1e-4, atol=1e-4)
            ratios.extend(arrays["llr"])
            truth.extend([tree == "TreeS"] * len(x))
        assert "weight" not in file["TreeS"]
    assert roc_auc_score(truth, ratios) == pytest.approx(0.940, abs=0.003)
