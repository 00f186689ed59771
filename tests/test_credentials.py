"""What is shown and what is left behind: no password of an address, and nothing that a terminal obeys."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table

from conftest import Run, write_tree
from pidlab.cli import main
from pidlab.cli.printable import printable
from pidlab.cli.terminal import PlainConsole
from pidlab.credentials import address_without_secrets, without_mask, without_secrets
from pidlab.errors import ConfigError, DataError, Mistake, UsageError
from pidlab.read import Source, with_friends

SECRET = "hunter2@with/slash"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://me:pa55word@host/base", "postgresql://me:***@host/base"),
        ("postgresql://me:pa@55/wo:rd@host:5432/base", "postgresql://me:***@host:5432/base"),
        ("mysql+pymysql://me:8080/pa55@host/base", "mysql+pymysql://me:***@host/base"),
        ("https://me:pa55word@host:8443/a.root", "https://me:***@host:8443/a.root"),
        ("https://host:8443/a@b.root", "https://host:8443/a@b.root"),
        ("https://host/a.root?token=pa55word&x=1", "https://host/a.root?token=***&x=1"),
        ("https://s3/a.root?X-Amz-Signature=pa55&X-Amz-Date=1", "https://s3/a.root?X-Amz-Signature=***&X-Amz-Date=1"),
        ("postgresql://host/base?user=me&password=pa55word", "postgresql://host/base?user=me&password=***"),
        ("root://eospublic.cern.ch//eos/a.root", "root://eospublic.cern.ch//eos/a.root"),
        ("root://host:1094//a.root?authz=pa55", "root://host:1094//a.root?authz=***"),
        ("/data/run:1@home/a.root", "/data/run:1@home/a.root"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert address_without_secrets(address) == shown
    assert without_secrets(f"{address}: cannot be read (of '{address}')") == f"{shown}: cannot be read (of '{shown}')"
    assert Source(address, "t").place == shown
    assert "***" not in without_mask(shown)


@given(st.text(st.characters(categories=("L", "N", "P", "S"), exclude_characters="<>"), min_size=4))
def test_no_password_is_shown_whatever_is_in_it(password: str) -> None:
    address = f"postgresql://somebody:{password}@host.example/base"
    for shown in (
        address_without_secrets(address),
        without_secrets(f"it says {address} there"),
        str(DataError(address)),
    ):
        assert password not in shown.replace("somebody", "").replace("host.example/base", "").replace("it says", "")


def test_every_sentence_is_without_it() -> None:
    mistake = Mistake("a.yaml:1:1", "data.files", f"https://me:{SECRET}@host/a.root: is not there")
    for error in (ConfigError([mistake]), DataError(mistake.message), UsageError(mistake.message)):
        assert SECRET not in str(error)
        assert "https://me:***@host/a.root" in str(error)


class Handler(BaseHTTPRequestHandler):
    """Gives the bytes of one file, whole or in parts, to whoever has the password."""

    def __init__(self, content: bytes, *rest: object) -> None:
        self.content = content
        super().__init__(*rest)  # type: ignore[arg-type]

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if "missing" in self.path:
            self.send_error(404, f"no {self.path}")
            return
        part, status = self.content, 200
        found = re.match(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if found:
            part, status = self.content[int(found[1]) : int(found[2]) + 1], 206
        self.send_response(status)
        if found:
            self.send_header("Content-Range", f"bytes {found[1]}-{found[2]}/{len(self.content)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(part)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a sample, with a password before the host and another one behind."""
    pytest.importorskip("aiohttp")
    rng = np.random.default_rng(3)
    label = rng.integers(0, 2, 1500)
    values = {"x": rng.normal(label, 1), "y": rng.normal(label, 1), "label": label, "event": np.arange(1500)}
    path = write_tree(tmp_path_factory.mktemp("served") / "a.root", values)
    made = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, path.read_bytes()))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"http://me:pa55-first@127.0.0.1:{made.server_port}/a.root?token=pa55-second"
    made.shutdown()
    made.server_close()


@pytest.mark.slow
def test_no_file_that_a_run_leaves_and_no_message_holds_a_password(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.yaml").write_text(
        f"data: {{files: '{server}', event_id: [event]}}\nclasses: {{s: label == 1, b: label == 0}}\n"
        "features: [x, y]\nmodels: {fisher: {type: fisher}}\nevaluate: {robustness: null, importance: false}\n"
    )
    monkeypatch.chdir(tmp_path)
    away = server.replace("a.root", "missing.root")
    for words, code in {
        ("run", "a.yaml", "-o", "run", "-v"): 0,
        ("apply", "run", server, "-o", "friends"): 0,
        ("inspect", server): 0,
        ("inspect", away): 1,
        ("--debug", "inspect", away): 1,
        ("inspect", server, "--what", away): 2,
    }.items():
        with pytest.raises(SystemExit) as ended:
            main(words)
        said = capsys.readouterr()
        assert ended.value.code == code, said.err
        assert "pa55" not in said.out + said.err
    left = [p for folder in ("run", "friends") for p in (tmp_path / folder).rglob("*") if p.is_file()]
    assert {"config.yaml", "report.html", "manifest.json", "attach.C", "a_pid.root"} <= {p.name for p in left}
    assert [p.name for p in left if b"pa55" in p.read_bytes()] == []
    assert "***@127.0.0.1" in (tmp_path / "run" / "config.yaml").read_text()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("a\rb\x9bc\x7f", r"a\x0db\x9bc\x7f"),
        ("\N{RIGHT-TO-LEFT OVERRIDE}toor", r"\u202etoor"),
        ("a\udcffb", r"a\xffb"),
        ("π⁺ 电子 👩‍🔬", "π⁺ 电子 👩‍🔬"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
    ],
)
def test_text_is_shown_and_not_obeyed(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_tables_and_sentences_show_names_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console, table = PlainConsole(width=100, force_terminal=True), Table(title="\x1b[5mtitle")
    table.add_column("\x1b[2Jbranch")
    table.add_row("[red]x[/] :smile: \x1b[31m")
    table.add_row("[/bold]")
    console.print(table)
    console.print("https://me:pa55@host/ [bold]\x07", highlight=False)
    shown = capsys.readouterr().out
    for wanted in (r"\x1b[2Jbranch", r"[red]x[/] :smile: \x1b[31m", "[/bold]", r"https://me:***@host/ [bold]\x07"):
        assert wanted in shown
    assert "\x1b[2J" not in shown
    assert "\x07" not in shown


def test_a_branch_with_an_escape_sequence_is_inspected(tmp_path: Path, pidlab: Run) -> None:
    write_tree(tmp_path / "a.root", {"\x1bcevil :smile:": np.arange(5), "x": np.arange(5)})
    done: subprocess.CompletedProcess[str] = pidlab("inspect", "a.root", "--ranges")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout
    assert r"\x1bcevil :smile:" in done.stdout


@pytest.mark.parametrize("friend", ["https://host/take?it={folder}/{stem}", "https://{stem}.host/a.root"])
def test_no_server_is_told_folders(tmp_path: Path, friend: str) -> None:
    source = Source(str(write_tree(tmp_path / "a.root", {"x": np.arange(5)})), "T")
    with pytest.raises(UsageError, match="would tell a server the folder"):
        with_friends([source], [friend], tmp_path)


def test_the_mask_in_a_resolved_configuration_is_no_password() -> None:
    assert without_mask("postgresql://me:***@host/base?sslmode=require&password=***") == (
        "postgresql://me@host/base?sslmode=require"
    )
