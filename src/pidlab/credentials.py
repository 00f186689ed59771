"""Credentials: passwords and keys in addresses, which no message prints and no file that is left behind holds.

Everything that shows an address, or text that may hold one, goes through `without_secrets`: the sentences of errors,
the notes of a run, its configuration, manifest and report, the metadata of friend trees, and the terminal.
"""

from __future__ import annotations

import re

MASK = "***"

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s<>]+")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DATABASES = ("sqlite", "postgres", "mysql", "mariadb", "oracle", "mssql", "duckdb")
_PORT = re.compile(r"[0-9]{1,5}(?:[/?#]|$)")
_KEYS = re.compile(
    r"(?i)([?&;][^=&;?]*(?:pass|pwd|secret|token|api_?key|accesskey|key_?id|signature|credential|auth|odbc_connect)"
    r"[^=&;?]*|[?&;](?:key|sig|pw|p))=[^&\s]*"
)
# The same in the rest of an address, as libraries quote it in their errors: path and parameters without the server.
_PARAMETER = re.compile(
    r"(?i)([?&;][^\s=&;?]*(?:pass|pwd|secret|token|api_?key|accesskey|key_?id|signature|credential|auth)"
    r"[^\s=&;?]*)=(?!=|[*]{3})[^&\s'\"]*"
)


def without_secrets(text: str) -> str:
    """The text, with `***` for each password and key in the addresses that it holds.

    Hidden are what stands between the user's name and the host, which may hold `@` and `/` itself, and the values of
    parameters that are called password, token, key, signature and the like.
    """
    hidden = _ADDRESS.sub(lambda found: _in_a_sentence(found[0]), text) if "://" in text else text
    return _PARAMETER.sub(rf"\1={MASK}", hidden) if "=" in hidden else hidden


def _in_a_sentence(word: str) -> str:
    """An address with what a sentence puts behind it."""
    address = word.rstrip(".,:;)]}\"'`")
    return _hidden(address) + word[len(address) :]


def address_without_secrets(address: str) -> str:
    """As `without_secrets`, of a text that is one address as a whole: it may hold spaces and quotes."""
    return _hidden(address) if _SCHEME.match(address) else address


def without_mask(address: str) -> str:
    """An address from which a secret was taken, without what stands in its place.

    The user's own configuration of the driver (`PGPASSWORD`, `~/.pgpass`, `~/.netrc` and the like) can then give it.
    """
    return re.sub(r"[?&;][^=&;?]*=\*\*\*", "", address.replace(f":{MASK}@", "@")) if MASK in address else address


def _hidden(address: str) -> str:
    """The address with its secrets hidden: rather more than the password than a part of it less.

    A password ends at the last `@`. What looks like a port and a path is none where the scheme is that of files.
    """
    scheme, _, rest = address.partition("://")
    user, colon, secret = rest.partition(":")
    is_port = not scheme.lower().startswith(_DATABASES) and _PORT.match(secret) is not None
    if colon and "@" in secret and not is_port and not set(user) & set("/?#@"):
        rest = f"{user}:{MASK}@{secret.rpartition('@')[2]}"
    return f"{scheme}://{_KEYS.sub(rf'{chr(92)}1={MASK}', rest)}"
