"""Pages of one file: the templates of this folder, and pages that need neither scripts nor other files."""

from __future__ import annotations

import base64
import re
from importlib.resources import files
from typing import Any

import jinja2
from markupsafe import Markup, escape


def render_offline(template: str, **content: Any) -> str:
    """Returns a page as HTML, the same for the same input.

    Args:
        template: the name of a template in this folder that extends `offline.html.jinja`.
        content: its `title`, `settings`, and what else the template asks for.
    """
    return environment().get_template(template).render(style=asset("report.css").decode(), **content)


def environment() -> jinja2.Environment:
    """Returns the templates of this folder, which escape every text and refuse what is not defined."""
    found = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: files("pidlab.report").joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters.update(data_uri=data_uri, prose=with_code)
    return found


def with_code(sentence: str) -> Markup:
    """Returns a sentence for HTML, escaped, in which what stands between two backticks is code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(sentence))))


def asset(name: str) -> bytes:
    """Returns the content of a file of the folder `assets`."""
    return files("pidlab.report").joinpath("assets", name).read_bytes()


def data_uri(content: str | bytes, kind: str) -> str:
    """Returns content as a data URI, so that nothing in it can clash with the page or with another figure."""
    return f"data:{kind};base64,{as_base64(content.encode() if isinstance(content, str) else content)}"


def as_base64(content: bytes) -> str:
    """Returns bytes in base64."""
    return base64.b64encode(content).decode()
