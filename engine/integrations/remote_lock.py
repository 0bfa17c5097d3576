"""The lock of a run at a URL, which keeps drivers on different machines from running it at once."""

import json
import os
import platform
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from core.errors import PlanError, StorageError
from core.storage import Store
from core.text import word

STALE = 300.0  # seconds without a heartbeat after which a driver counts as dead
CONTEST = 1.0  # seconds after which two drivers that start at once see each other
LOCK = "driver.lock"


class RemoteLock:
    """A lock file at a URL. Few stores can create it atomically, so it is written and then read again."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.owner = {"host": platform.node(), "pid": os.getpid(), "space": _pid_space(), "token": uuid.uuid4().hex}

    def __enter__(self) -> Self:
        for pause in (CONTEST, 0.0):
            if other := self.other():
                raise PlanError([self._refusal(other)])
            if pause:
                self.beat()
                time.sleep(pause)
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(StorageError):  # a lock left behind is soon stale, or its process is seen to be gone
            self.store.patient = False
            if (self._read() or {}).get("token") == self.owner["token"]:
                self.store.delete(LOCK)

    def beat(self) -> None:
        self.store.put(LOCK, json.dumps({**self.owner, "time": time.time()}).encode())

    def other(self) -> dict[str, Any] | None:
        """Another driver that holds the URL and may be alive."""
        found = self._read()
        if found is None or found["token"] == self.owner["token"] or time.time() - found["time"] > STALE:
            return None
        return None if found["space"] == self.owner["space"] and not _alive(found["pid"]) else found

    def _read(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.store.read(LOCK) or b"{}")
        except ValueError:
            return None
        return {"time": 0.0, **found} if isinstance(found, dict) and self.owner.keys() <= found.keys() else None

    def _refusal(self, other: dict[str, Any]) -> str:
        url, age = self.store.url, time.time() - other["time"]
        return (
            f"{url}: another process is running this study (process {other['pid']} on {other['host']}, seen "
            f"{age:.0f} s ago); `status {word(url)}` shows how far it is; if it is gone, wait {STALE / 60:.0f} "
            f"minutes, or delete {LOCK} there"
        )


def _pid_space() -> str:
    """Identifies where a process id is unique: this boot of this machine and its PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return f"{platform.node()} {uuid.getnode()}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True
