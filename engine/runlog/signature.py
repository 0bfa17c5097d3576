"""The signature of a study.json: whose it is. It is an HMAC over all else in the file, under a key of this user's.

The key stands in the user's configuration folder and is made at its first use; no cluster's worker needs it.
"""

import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from core.files import write_atomically

BYTES = 32  # of the key
SIGNATURE = "signature"


class KeyUnavailableError(Exception):
    """No key can be read or made; the text says why."""


def key_file() -> Path:
    """Where the key stands; RuntimeError where the user has no home folder."""
    given = Path(os.environ.get("XDG_CONFIG_HOME", ""))
    folder = given if given.is_absolute() else Path("~/.config").expanduser()  # as the XDG specification has it
    return folder / "vision-ablation" / "key"


def canonical(record: Mapping[str, Any]) -> bytes:
    """What is signed: the record as JSON without its signature, the same bytes in whatever order its keys stand."""
    as_read = json.loads(json.dumps({name: value for name, value in record.items() if name != SIGNATURE}))
    return json.dumps(as_read, sort_keys=True, separators=(",", ":")).encode()


def signed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its signature as its last key; without one where no key can be had."""
    unsigned = {name: value for name, value in record.items() if name != SIGNATURE}
    try:
        return {**unsigned, SIGNATURE: _signature(unsigned, _key())}
    except KeyUnavailableError:
        return unsigned


def is_valid(record: Mapping[str, Any]) -> bool:
    """Whether this user's key has signed the record as it is; makes no key."""
    found = record.get(SIGNATURE)
    try:
        key = _read(key_file())
    except (KeyUnavailableError, RuntimeError, OSError):
        return False
    return isinstance(found, str) and hmac.compare_digest(found.encode(), _signature(record, key).encode())


def unavailable() -> str | None:
    """A sentence, if what this process writes is not signed; else None."""
    try:
        _key()
    except KeyUnavailableError as error:
        return f"study.json is not signed ({error}): `resume` will ask for --trust where it executes or connects"
    return None


def _signature(record: Mapping[str, Any], key: bytes) -> str:
    return hmac.digest(key, canonical(record), "sha256").hex()


def _key() -> bytes:
    """The user's key, made if there is none: of several processes that make one at a time, all get the same."""
    try:
        file = key_file()
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(file, _write_key, _if_none)
        return _read(file)
    except (OSError, RuntimeError) as error:
        raise KeyUnavailableError(f"the key cannot be kept: {error}") from None


def _write_key(temporary: Path) -> None:
    temporary.chmod(0o600)
    temporary.write_bytes(secrets.token_bytes(BYTES))


def _if_none(temporary: Path, file: Path) -> None:
    try:
        os.link(temporary, file)
    except FileExistsError:  # another process was first
        return


def _read(file: Path) -> bytes:
    key = file.read_bytes()
    if len(key) != BYTES:
        raise KeyUnavailableError(f"{file} holds {len(key)} bytes and not {BYTES}; delete it, and a new one is made")
    return key
