"""The rows that benchmarks print and write: a name, a value, the bar it is compared with, and whether it holds."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

Part = Callable[[], "Iterable[Row]"]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table; `value` is None if nothing was measured, `bar` is None if nothing is required."""

    name: str
    value: float | None
    bar: float | None = None
    holds: bool | None = None
    detail: str = ""

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.4g}"
        bar = "" if self.bar is None else f"{self.bar:g}"
        verdict = {None: "", True: "holds", False: "MISSED"}[self.holds]
        return f"{self.name:66} {value:>12} {bar:>8}  {verdict:6}  {self.detail}".rstrip()


def shown(name: str, value: float, detail: str = "") -> Row:
    """Returns a row without a bar."""
    return Row(name, float(value), detail=detail)


def at_least(name: str, value: float, bar: float, detail: str = "") -> Row:
    """Returns a row that holds if the value is not below `bar`."""
    return Row(name, float(value), bar, bool(value >= bar), detail)


def at_most(name: str, value: float, bar: float, detail: str = "") -> Row:
    """Returns a row that holds if the value is not above `bar`."""
    return Row(name, float(value), bar, bool(value <= bar), detail)


def arguments_of(description: str, parts: Mapping[str, Part]) -> argparse.ArgumentParser:
    """Returns the options that every benchmark of several parts has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=list(parts), help="measure this part; may be repeated")
    parser.add_argument("--json", type=Path, help="write the rows there: a list of {name, value, bar, holds}")
    return parser


def measure(description: str, parts: Mapping[str, Part]) -> None:
    """Measures the parts that the command line asks for, prints each row as it is known, and writes the rows."""
    run(parts, arguments_of(description, parts).parse_args())


def run(parts: Mapping[str, Part], options: argparse.Namespace) -> list[Row]:
    """Measures the parts that `options` ask for, prints each row as it is known, writes the rows and returns them."""
    rows: list[Row] = []
    for name, part in parts.items():
        if options.only is None or name in options.only:
            for row in part():
                print(row, flush=True)
                rows.append(row)
    if options.json:
        write(options.json, rows)
    return rows


def write(path: Path, rows: Iterable[Row]) -> None:
    """Writes the rows as JSON."""
    content = [{"name": r.name, "value": r.value, "bar": r.bar, "holds": r.holds} for r in rows]
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
