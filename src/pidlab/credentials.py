"""Credentials: passwords and keys in addresses, which are neither printed in messages nor written to files.

Every address, and text that may hold one, is passed through `without_secrets`: the messages of errors, the notes of a
run, its configuration, manifest and report, the metadata of friend trees, and the output on the terminal.
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
    """Returns the text with each password and key in its addresses replaced by `***`.

    These are what is between the user's name and the host, which may contain `@` and `/`, and the values of parameters
    that are called password, token, key, signature and the like.
    """
    hidden = _ADDRESS.sub(lambda found: _in_a_sentence(found[0]), text) if "://" in text else text
    return _PARAMETER.sub(rf"\1={MASK}", hidden) if "=" in hidden else hidden


def _in_a_sentence(word: str) -> str:
    """Returns an address without secrets, followed by the punctuation of the sentence."""
    address = word.rstrip(".,:;)]}\"'`")
    return _hidden(address) + word[len(address) :]


def address_without_secrets(address: str) -> str:
    """Returns the same as `without_secrets` for a text that is one address, which may contain spaces and quotes."""
    return _hidden(address) if _SCHEME.match(address) else address


def without_mask(address: str) -> str:
    """Returns an address from which a secret was removed, without the mask.

    The user's configuration of the driver (`PGPASSWORD`, `~/.pgpass`, `~/.netrc` and the like) can then supply it.
    """
    return re.sub(r"[?&;][^=&;?]*=\*\*\*", "", address.replace(f":{MASK}@", "@")) if MASK in address else address


def _hidden(address: str) -> str:
    """Returns the address with its secrets hidden; in case of doubt more than the password is hidden.

    A password ends at the last `@`. A port followed by a path is no password, except in addresses of databases.
    """
    scheme, _, rest = address.partition("://")
    user, colon, secret = rest.partition(":")
    is_port = not scheme.lower().startswith(_DATABASES) and _PORT.match(secret) is not None
    if colon and "@" in secret and not is_port and not set(user) & set("/?#@"):
        rest = f"{user}:{MASK}@{secret.rpartition('@')[2]}"
    return f"{scheme}://{_KEYS.sub(rf'{chr(92)}1={MASK}', rest)}"
