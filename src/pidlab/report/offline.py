"""Pages that need neither scripts nor other files: one template for what they share, and one for each kind of page."""

from __future__ import annotations

import base64
from importlib.resources import files
from typing import Any

import jinja2


def render_offline(template: str, **content: Any) -> str:
    """Returns a page as HTML, the same for the same input.

    Args:
        template: the name of a template in this folder that extends `offline.html.jinja`.
        content: its `title`, `settings`, and what else the template asks for.
    """
    folder = files("pidlab.report")
    names = (template, "offline.html.jinja")
    loader = jinja2.DictLoader({name: folder.joinpath(name).read_text(encoding="utf-8") for name in names})
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=loader
    )
    environment.filters["uri"] = _data_uri
    style = folder.joinpath("assets", "report.css").read_text(encoding="utf-8")
    return environment.get_template(template).render(style=style, **content)


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
