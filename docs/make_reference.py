"""Write the reference of the configuration and of the commands, from the schema and from the command line itself.

python docs/make_reference.py           rewrites docs/configuration.md and docs/commands.md
python docs/make_reference.py --check   writes nothing; exits with 1 where one of them is not what would be written
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pidlab.cli import cli
from pidlab.config.schema import Predicting, RegressionConfig, json_schema
from pidlab.config.schema.base import Section

FOLDER = Path(__file__).parent
MADE = "<!-- Written by docs/make_reference.py, from {source}; edit that. -->"
Schema = Mapping[str, Any]

PLACES = {
    "Data": "data",
    "ClassTable": "classes.NAME",
    "Feature": "features",
    "BandFeature": "features, from a band",
    "CategoryBins": "models.NAME.by",
    "PolygonSection": "polygons.NAME",
    "Reweight": "reweight",
    "ReweightTarget": "reweight.to",
    "Split": "split",
    "Evaluate": "evaluate",
    "Map": "evaluate.maps",
    "Flat": "evaluate.flat",
    "Robustness": "evaluate.robustness",
    "FigureOfMerit": "models.NAME.figure_of_merit",
    "Style": "style",
    "Target": "target",
    "RegressionEvaluate": "evaluate, with a target",
}
"""Section of the schema to where it stands in a configuration; models have their type besides."""

REMARKS = {
    "BdtModel": "Further keys are parameters of xgboost's trees (`min_child_weight`, `gamma`, `lambda`, "
    "`monotone_constraints: {FEATURE: 1}` …).",
    "ClassTable": "A class is an expression, or one of these.",
    "Feature": "A feature is an expression, or one of these.",
    "SklearnModel": "Classes of other packages than scikit-learn, xgboost and lightgbm need `--allow-import PACKAGE`.",
}

CONFIGURATION = """\
# Configuration

YAML 1.2. It is checked as a whole before anything is read: unknown keys and wrong values are told all at once, each
with its place and the nearest valid name. Numbers are not texts: `"5"` is no number. Paths are relative to the folder
of the configuration, `output` to the folder that `pidlab run` is called in. `pidlab run CONFIG --set
models.mlp.epochs=20` replaces a value. `pidlab schema` prints all this as JSON schema, for editors.

An *expression* is what [Cuts](cuts.md) describes. This is enough:

```yaml
data: {files: shms.root}
classes: {electron: species == 0, pion: species == 1}
features: [P.cal.etottracknorm, P.hgcer.npeSum]
models: {bdt: {type: bdt}}
```
"""

REGRESSION = """\
## With a target {: #regression-config }

A configuration that has the key `target` is of a [regression](regression.md): models predict a number in place of
telling classes apart. These keys are new, or have other values than those above; `classes`, `signal` and `balance` do
not go with them, and `reweight` needs files to make the events alike to.
"""

COMMANDS = """\
# Commands

Exit codes: 0 done; 1 the work failed, with a sentence on stderr; 2 wrong usage or configuration;
130 stopped by Ctrl-C, 143 by SIGTERM, 129 by SIGHUP.
`pidlab --debug COMMAND …` shows the traceback of an error. Results go to stdout, progress to stderr.
"""


def configuration() -> str:
    """The reference of the configuration, in Markdown."""
    schema = json_schema()
    parts = [MADE.format(source="src/pidlab/config/schema"), CONFIGURATION]
    parts += ["## Keys\n", keys("Config", schema)]
    known = sections(schema)
    parts += described(known, schema)
    of_target = json_schema(RegressionConfig)
    new = {key: value for key, value in of_target["properties"].items() if value != schema["properties"].get(key)}
    parts += [REGRESSION, keys("RegressionConfig", {**of_target, "properties": new})]
    parts += described([name for name in sections(of_target) if name not in known], of_target)
    return "\n".join(parts)


def described(names: Sequence[str], schema: Schema) -> list[str]:
    """The headings, the texts and the tables of keys of some sections."""
    parts: list[str] = []
    for name in names:
        section = schema["$defs"][name]
        parts += [f"## {title(name, schema)} {{: #{anchor(name)} }}\n", told(section["description"])]
        parts += [REMARKS[name] + "\n"] if name in REMARKS else []
        parts.append(keys(name, section))
    return parts


def sections(schema: Schema) -> list[str]:
    """The names of all sections, in the order in which a reader comes upon them."""
    found: dict[str, None] = {}

    def visit(part: Any) -> None:
        for name in dict.fromkeys(references(part)):
            if name not in found:
                found[name] = None
                visit(schema["$defs"][name]["properties"])

    visit(schema["properties"])
    return list(found)


def references(part: Any) -> Iterator[str]:
    """The sections that a part of the schema refers to."""
    if isinstance(part, Mapping):
        if "$ref" in part:
            yield part["$ref"].rpartition("/")[2]
        part = [value for key, value in part.items() if key != "discriminator"]
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def section_class(name: str) -> type[Section]:
    """The section of this name; every section is derived from `Section`."""
    return next(section for section in derived(Section) if section.__name__ == name)


def derived(base: type[Section]) -> Iterator[type[Section]]:
    """The sections that are derived from one, at any depth."""
    for section in base.__subclasses__():
        yield section
        yield from derived(section)


def title(name: str, schema: Schema) -> str:
    """The heading of a section."""
    kind = schema["$defs"][name]["properties"].get("type", {}).get("const")
    of_target = ", with a target" if issubclass(section_class(name), Predicting) else ""
    return f"models.NAME, type: {kind}{of_target}" if kind else PLACES[name]


def anchor(name: str) -> str:
    """The id of a section's heading: `CutsModel` is `cuts-model`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


def told(text: str) -> str:
    """A docstring, its lines joined to paragraphs; those that click leaves as they are stay as they are."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    parts = [f"```text\n{p[2:].rstrip()}\n```" if p.startswith("\b") else " ".join(p.split()) for p in paragraphs]
    return "\n\n".join(parts) + "\n"


def keys(name: str, section: Schema) -> str:
    """A table of the keys of one section."""
    rows = [("key", "value", "left out", "")]
    fields = {field.alias or key: field for key, field in section_class(name).model_fields.items()}
    for key, value in section["properties"].items():
        if "const" not in value:
            meaning, _, otherwise = value["description"].partition("left out: ")
            otherwise = "required" if key in section.get("required", ()) else otherwise or default(fields[key])
            rows.append((f"`{key}`", kind(value), otherwise, meaning.rstrip("; ")))
    return table(rows) if len(rows) > 1 else "No further keys.\n"


def default(field: FieldInfo) -> str:
    """What stands for a key that is left out; nothing for sections and for empty values."""
    found = field.get_default(call_default_factory=True)
    return "" if found in (None, "", [], {}) or isinstance(found, BaseModel) else f"`{json.dumps(found)}`"


def kind(value: Schema) -> str:
    """What may stand at a key, in words."""
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{anchor(name)})"
    if "const" in value:
        return f"`{value['const']}`"
    if "enum" in value:
        return " ".join(f"`{choice}`" for choice in value["enum"])
    for key in ("anyOf", "oneOf"):
        if key in value:
            return either(value[key])
    return KINDS.get(value.get("type", ""), lambda _: "any value")(value)


def either(choices: list[Schema]) -> str:
    """Alternatives; null is told by what stands for a key left out."""
    if len(choices) > 2 and all("$ref" in choice for choice in choices):
        names = [choice["$ref"].rpartition("/")[2] for choice in choices]
        words = {n: re.sub("-(model|regression)$", "", anchor(n)).replace("-", "_") for n in names}
        return "model: " + ", ".join(f"[{word}](#{anchor(n)})" for n, word in words.items())
    words = list(dict.fromkeys(kind(choice) for choice in choices if choice.get("type") != "null"))
    return " or ".join(word for word in words if word != "whole number" or "number" not in words)


def number(word: str) -> Callable[[Schema], str]:
    """The words for a number with its bounds."""
    signs = {"exclusiveMinimum": "> {:g}", "minimum": "≥ {:g}", "exclusiveMaximum": "< {:g}", "maximum": "≤ {:g}"}

    def words(value: Schema) -> str:
        bounds = [text.format(value[key]) for key, text in signs.items() if key in value]
        return " ".join([word, *[", ".join(bounds)] * bool(bounds)])

    return words


def listed(value: Schema) -> str:
    """The words for a list."""
    low, high = value.get("minItems", 0), value.get("maxItems")
    many = f", {low} or more" if low > 1 and high is None else ""
    if high is not None:
        many = f", {high} of them" if low == high else f", {low} to {high} of them"
    return f"[{kind(value['items'])}, …]{many}"


def mapped(value: Schema) -> str:
    """The words for a mapping."""
    inner = next(iter(value.get("patternProperties", {}).values()), None) or value.get("additionalProperties")
    return f"name → {kind(inner) if isinstance(inner, Mapping) else 'any value'}"


KINDS: dict[str, Callable[[Schema], str]] = {
    "string": lambda value: "expression" if value.get("maxLength") == 10_000 else "text",
    "boolean": lambda _: "`true` `false`",
    "integer": number("whole number"),
    "number": number("number"),
    "array": listed,
    "object": mapped,
}


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown; the first row is its head."""
    head, *body = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def commands() -> str:
    """The reference of the commands, in Markdown."""
    return "\n".join(
        [
            MADE.format(source="the commands in src/pidlab/cli"),
            COMMANDS,
            *(command(n, c) for n, c in cli.commands.items()),
        ]
    )


def command(name: str, found: click.Command) -> str:
    """One command: how it is called, what it does, its options."""
    context = click.Context(found, info_name=f"pidlab {name}")
    parts = [f"## pidlab {name}\n", f"```text\n{usage(found, context)}\n```\n"]
    parts.append(told(found.help or ""))
    rows = [("option", "left out", "")]
    rows += [option(p) for p in found.params if isinstance(p, click.Option)]
    parts += [table(rows)] if len(rows) > 1 else []
    if found.epilog:
        written = inspect.cleandoc(found.epilog.replace("\b", "")).strip()  # as `--help` shows it, line by line
        parts.append(f"```text\n{written}\n```\n")
    return "\n".join(parts)


def usage(found: click.Command, context: click.Context) -> str:
    """How a command is called; click's own words for it change between versions."""
    words = [str(context.info_name), "[OPTIONS]"]
    for each in (p for p in found.params if isinstance(p, click.Argument)):
        choices = "|".join(each.type.choices) if isinstance(each.type, click.Choice) else ""
        word = each.metavar or choices or str(each.name).upper()
        word += "..." if each.nargs == -1 and not each.metavar else ""
        words.append(word if each.required or each.metavar else f"[{word}]")
    return " ".join(words)


def option(found: click.Option) -> tuple[str, str, str]:
    """Its names with what they take, what stands for it when it is left out, what it means."""
    names = ", ".join(f"`{name}`" for name in found.opts)
    takes = "" if found.is_flag else f" {found.metavar or WORDS.get(found.type.name, found.type.name.upper())}"
    if isinstance(found.type, click.Choice):
        takes = " " + " ".join(f"`{choice}`" for choice in found.type.choices)
    if found.multiple:
        takes += " …"
    value = found.default
    shown = f"`{value}`" if isinstance(value, str | int) and not isinstance(value, bool) and value != "" else ""
    if isinstance(value, list | tuple) and value:
        shown = " ".join(f"`{each}`" for each in value)
    return names + takes, "required" if found.required else shown, found.help or ""


WORDS = {"integer range": "N", "integer": "N"}
PAGES = {"configuration.md": configuration, "commands.md": commands}


def main() -> None:
    """Write the pages, or say which are stale."""
    stale = [
        name for name, made in PAGES.items() if not (FOLDER / name).is_file() or (FOLDER / name).read_text() != made()
    ]
    if "--check" in sys.argv[1:]:
        sys.exit(f"stale: {', '.join(stale)}; run python docs/make_reference.py" if stale else 0)
    for name in stale:
        (FOLDER / name).write_text(PAGES[name](), encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
