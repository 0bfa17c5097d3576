"""A run at a URL: the driver works in a local mirror and sends all files to the URL, the copy of record.

A mirror is a run directory in the user's cache with the file `remote.url` (`RunDirectory.remote`). Without that file it
is an ordinary run directory; deleted, it is fetched again. Trials send and fetch their own files
(`trainables.trial.remote_checkpoints`) before their rows are in the log at the URL.
"""

import re
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import takewhile
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from analysis.records.log_lines import read_line
from analysis.records.run_directory import RunDirectory, mirror_folder
from core.errors import Interrupted, PlanError, StorageError, first_line
from core.files import inside
from core.storage import Store, opened, unwritable
from core.text import ELSEWHERE, redacted, secrets_in, word
from datasets.cache.cache import cache_folder
from engine.integrations.remote_lock import RemoteLock
from engine.runlog.history import History
from engine.runlog.study_file import read_request

SCHEMES = "file, s3, gs, abfs, hdfs, or one of fsspec's whose package is installed"
LOOK = 0.5  # seconds between two reads of the log
BEAT = 30.0  # seconds after which log and lock are sent even if no trial has ended
_RECORDS, _TABLES = ("study.json", "log.jsonl"), ("trials.parquet", "epochs.parquet")
SHARE = 0.1  # greatest share of the time for sending the log


def mirror_of(url: str, cache_dir: str | None = None) -> Path:
    """The mirror of the run at `url`, made if absent; PlanError for an invalid URL, StorageError if unreachable."""
    url = url.rstrip("/")
    parts = urlsplit(url)
    allowed = f"allowed: a path, or a URL of {SCHEMES}"
    if secrets := secrets_in(url):
        raise PlanError(
            f"{redacted(url)}: holds {' and '.join(secrets)}, which the records would show; {ELSEWHERE}; {allowed}"
        )
    if parts.scheme == "memory":
        raise PlanError(f"{url}: is seen by one process alone; {allowed}")
    try:
        opened(url)
    except Exception as error:
        raise PlanError(f"{url}: cannot be opened ({first_line(error)}); {allowed}") from None
    Store(url, patient=False).has("study.json")
    mirror = mirror_folder(url, cache_folder(Path(cache_dir) if cache_dir else None, []))
    mirror.mkdir(parents=True, exist_ok=True)
    (mirror / "remote.url").write_text(url, encoding="utf-8")
    return mirror


def refresh(directory: Path) -> int:
    """Update a mirror's study.json and log from the URL, unless a driver of this machine is running in it.

    Returns the size of the URL's log in bytes (0 while a driver runs). PlanError if each log has lines of its own.
    """
    run, store = RunDirectory(directory), _store(directory, patient=False)
    try:
        with FileLock(directory / ".lock", timeout=0):
            theirs, ours = store.read("log.jsonl") or b"", run.log.read_bytes() if run.log.exists() else b""
            theirs, ours = (text[: text.rfind(b"\n") + 1] for text in (theirs, ours))
            if not (theirs.startswith(ours) or ours.startswith(theirs)):
                pairs = zip(theirs.splitlines(), ours.splitlines(), strict=False)
                common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
                counts = [text.count(b"\n") - common for text in (theirs, ours)]
                raise PlanError(
                    f"{store.url}: its log went on by {counts[0]} lines and that of its mirror on this machine by "
                    f"{counts[1]} others; to go on with the URL's, delete the mirror {directory}"
                )
            if len(theirs) > len(ours):
                store.get("log.jsonl", run.log)
            if (len(theirs) >= len(ours) or not run.study.exists()) and store.has("study.json"):
                store.get("study.json", run.study)
                code = store.files("code") if b'"code"' in run.study.read_bytes() else []
                _fetch(store, directory, code)
            return len(theirs)
    except Timeout:
        return 0


def fetch_outputs(directory: Path) -> None:
    """Fetch predictions and artifacts of trials that other machines ran."""
    store = _store(directory)
    _fetch(store, directory, [*store.files("predictions"), *store.files("artifacts")])


def copy_of(directory: Path, folder: Path) -> None:
    """Copy all that the URL of a mirror holds of its run into a folder."""
    store = _store(directory)
    names = [name for name in (*_RECORDS, *_TABLES) if store.has(name)]
    for below in ("code", "predictions", "artifacts", "checkpoints", "report"):
        names += store.files(below)
    _fetch(store, folder, names)


def send_report(directory: Path) -> None:
    """Send a mirror's Parquet tables and report to its URL; delete report files there that the mirror lacks."""
    run, store = RunDirectory(directory), _store(directory)
    files = [run.trials, run.epochs, *(file for file in run.report.rglob("*") if file.is_file())]
    _all((store.put, file.relative_to(directory).as_posix(), file) for file in files)
    _all((store.delete, name) for name in store.files("report") if not (directory / name).exists())


@contextmanager
def session(directory: Path, new: bool) -> Iterator[None]:
    """Locks the mirror's URL for this driver and sends there all that the block writes; PlanError if it cannot.

    With `new`, neither the URL nor the mirror may hold a run. If the URL fails for long, the block is Interrupted.
    """
    run, store = RunDirectory(directory), _store(directory)
    if fault := unwritable(store.url):
        raise PlanError([fault])
    with RemoteLock(store) as claim:
        if new and (run.study.exists() or store.has("study.json")):
            where = "" if store.has("study.json") else f" (in its mirror {directory}, which may be deleted)"
            raise PlanError(
                f"--out {store.url}: holds a run already{where}; go on with `resume {word(store.url)}`, or choose "
                f"another"
            )
        with Sender(run, store, claim, sent=refresh(directory)):
            yield


class Sender(threading.Thread):
    """Thread that sends study.json and the log as they change; a lasting failure ends the block as Interrupted."""

    def __init__(self, run: RunDirectory, store: Store, claim: RemoteLock, sent: int) -> None:
        super().__init__(name="sender", daemon=True)
        self.directory, self.store, self.claim = run, store, claim
        self.over, self.fault = threading.Event(), ""
        self.sent, self.beaten, self.wait_until, self.study = sent, time.monotonic(), 0.0, 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self.join()
        if self.fault and (error is None or isinstance(error, KeyboardInterrupt)):
            raise Interrupted(self.fault) from None
        if self.fault or not self.directory.study.exists():
            return
        self.store.patient = error is None  # after an error `resume` sends the rest
        self.look(at_once=True)
        if error is None:
            send_report(self.directory.root)
            self._delete_spare()

    def run(self) -> None:
        try:
            while not self.over.wait(LOOK):
                self.look()
        except Exception as error:
            self.fault = first_line(error)
            if not self.over.is_set():
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def look(self, at_once: bool = False) -> None:
        """Send study.json when it changed, the log when a trial ended, and log and lock every BEAT seconds."""
        late = time.monotonic() - self.beaten > BEAT
        if late or at_once:
            if other := self.claim.other():
                raise StorageError(f"{self.store.url} was taken over by process {other['pid']} on {other['host']}")
            self.claim.beat()
            self.beaten = time.monotonic()
        study, log = self.directory.study, self.directory.log
        if study.exists() and (written := study.stat().st_mtime_ns) != self.study:
            if not self.study and self.directory.code.is_dir():  # a run at the URL has its code from the first moment
                files = (file for file in self.directory.code.rglob("*") if file.is_file())
                _all((self.store.put, file.relative_to(self.directory.root).as_posix(), file) for file in files)
            self.store.put("study.json", study)
            self.study = written
        if not log.exists() or (time.monotonic() < self.wait_until and not at_once):
            return
        with log.open("rb") as file:
            file.seek(self.sent)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        ended = [read_line(line).event["trial"] for line in new.splitlines() if b'"event": "end"' in line]
        if new and (ended or late or at_once):
            began = time.monotonic()
            for trial in ended:
                lines = self.directory.artifact(trial, "epochs.log")
                if lines.exists():
                    self.store.put(f"artifacts/{trial}/epochs.log", lines)
            self.store.put("log.jsonl", log)
            self.sent += len(new)
            self.wait_until = time.monotonic() + (time.monotonic() - began) / SHARE

    def _delete_spare(self) -> None:
        """Delete the generation checkpoints of populations at the URL, once all trials have ended; with `--keep best`
        the last states too."""
        history, (_, record) = History.of(self.directory), read_request(self.directory.root)
        if history.starts.keys() <= history.ends.keys():
            last = "|last" if record.get("request", {}).get("options", {}).get("keep") == "best" else ""
            spare, names = re.compile(rf"(epoch-\d+{last})\.pt"), self.store.files("checkpoints")
            _all((self.store.delete, name) for name in names if spare.fullmatch(Path(name).name))


def _fetch(store: Store, directory: Path, names: Iterable[str]) -> None:
    """Fetch the files that are not there yet."""
    places = {name: inside(directory, *name.split("/")) for name in names}
    _all((store.get, name, place) for name, place in places.items() if not place.exists())


def _store(directory: Path, patient: bool = True) -> Store:
    return Store(RunDirectory(directory).remote or "", patient)


def _all(calls: Iterable[tuple[Any, ...]]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(*call) for call in calls]:
            done.result()
