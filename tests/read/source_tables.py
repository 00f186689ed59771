"""One table in every format that is read, and how tests read it back."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from pidlab.read import Source, Table

N = 1000
RNG = np.random.default_rng(4)
COLUMNS: dict[str, Any] = {
    "p": RNG.normal(size=N),
    "n": RNG.integers(-5, 5, N),
    "species": RNG.choice(["g", "h"], N).astype(np.dtypes.StringDType()),
}


def rows() -> list[tuple[float, int, str]]:
    return [(float(p), int(n), str(s)) for p, n, s in zip(*COLUMNS.values(), strict=True)]


def write_root(path: Path, kind: str) -> None:
    content = {**COLUMNS, "species": ak.Array([r[2] for r in rows()])}
    with uproot.recreate(path) as file:
        if kind == "mktree":
            types = {name: v.type.content if isinstance(v, ak.Array) else v.dtype for name, v in content.items()}
            tree = file.mktree("T", types)
            for start in range(0, N, 300):
                tree.extend({name: v[start : start + 300] for name, v in content.items()})
        else:
            file.mkrntuple("T", content)


def write_text(path: Path, delimiter: str, header: bool = True) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt") as file:
        if header:
            file.write(delimiter.join(COLUMNS) + "\n")
        file.writelines(f"{p!r}{delimiter}{n}{delimiter}{s}\n" for p, n, s in rows())


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({name: v.tolist() for name, v in COLUMNS.items()})
    parquet.write_table(table, path, row_group_size=130)


def write_npy(path: Path) -> None:
    array = np.empty(N, [("p", "f8"), ("n", "i8"), ("species", "U1")])
    for name, values in COLUMNS.items():
        array[name] = values
    np.save(path, array)


def write_json(path: Path, form: str) -> None:
    records = [dict(zip(COLUMNS, row, strict=True)) for row in rows()]
    if form == "lines":
        path.write_text("\n".join(map(json.dumps, records)))
    else:
        path.write_text(json.dumps(records if form == "records" else {k: v.tolist() for k, v in COLUMNS.items()}))


def write_sqlite(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE "T" (i INTEGER PRIMARY KEY, p DOUBLE, n INTEGER, species TEXT)')
        database.executemany('INSERT INTO "T" VALUES (?, ?, ?, ?)', [(i, *row) for i, row in enumerate(rows())])
        database.commit()


WRITERS: dict[str, Callable[[Path], None]] = {
    "ttree.root": functools.partial(write_root, kind="mktree"),
    "rntuple.root": functools.partial(write_root, kind="mkrntuple"),
    "comma.csv": functools.partial(write_text, delimiter=","),
    "packed.csv.gz": functools.partial(write_text, delimiter=","),
    "semicolon.csv": functools.partial(write_text, delimiter=";"),
    "tabs.tsv": functools.partial(write_text, delimiter="\t"),
    "blanks.txt": functools.partial(write_text, delimiter="   "),
    "groups.parquet": write_parquet,
    "structured.npy": write_npy,
    "columns.npz": lambda path: np.savez(path, **{**COLUMNS, "species": COLUMNS["species"].astype("U1")}),
    "records.json": functools.partial(write_json, form="records"),
    "lists.json": functools.partial(write_json, form="lists"),
    "lines.jsonl": functools.partial(write_json, form="lines"),
    "base.db": write_sqlite,
}


def read(source: Source, *names: str, step: int = 128) -> dict[str, Any]:
    with Table(source) as table:
        chunks = list(table.chunks(names, step))
    assert [c.first_row for c in chunks] == list(range(0, sum(c.n_rows for c in chunks), step))
    return {n: np.concatenate([c.arrays[n] for c in chunks]) for n in names}


def analysis(data: dict[str, Any], classes: dict[str, Any], features: list[str]) -> str:
    content = {
        "data": data,
        "classes": classes,
        "features": features,
        "models": {"bdt": {"type": "bdt", "n_estimators": 40}, "fisher": {"type": "fisher"}},
        "evaluate": {"robustness": None},
    }
    return json.dumps(content)
