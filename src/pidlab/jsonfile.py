"""JSON of run folders and measurements, which is not trusted.

Only finite numbers, integers of 64 bits and limited nesting are read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from pidlab.errors import ModelError

_SUM = "sha256"
_LARGEST_INTEGER = 2**64  # seeds and counts are smaller; a longer one overflows in numpy


def strict_json(text: str | bytes) -> Any:
    """Returns the content of `text`.

    Raises:
        ValueError: it is no JSON, or has NaN, an infinity, an integer beyond 64 bits, or brackets nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite, parse_int=_integer)
    except RecursionError:
        raise ValueError("brackets are nested too deep") from None


def _refuse(word: str) -> NoReturn:
    raise ValueError(f"{word} stands where a finite number should")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:30]} is too large for a number")
    return value


def _integer(text: str) -> int:
    if len(text) > 21 or abs(int(text)) >= _LARGEST_INTEGER:
        raise ValueError(f"the integer {text[:30]} is too large")
    return int(text)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes `content` as JSON. NaN and infinities raise a ValueError."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Returns the JSON object in `path`.

    Raises:
        ModelError: the file is missing or not a JSON object of finite numbers.
    """
    try:
        content = strict_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); make the run again") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object; make the run again")
    return content


def with_sum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the content with the SHA-256 of its values, by which `checked_sum` finds damage."""
    return {**content, _SUM: _sum_of(content)}


def checked_sum(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Returns the content of `path` without its checksum; of a version that wrote none, as it is.

    Raises:
        ModelError: the content is not what the checksum was made of.
    """
    rest = {name: value for name, value in content.items() if name != _SUM}
    if _SUM in content and content[_SUM] != _sum_of(rest):
        raise ModelError(
            f"{path}: is damaged, or was edited: its content is not that of its checksum; copy it again from where it "
            "is whole, or measure again"
        )
    return rest


def _sum_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
