"""Studies at a URL: trials on nodes that share nothing else, drivers that come and go, a storage that fails."""

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.filesize import decimal

from analysis.console import describe
from analysis.records.run_directory import RunDirectory
from analysis.report.build import write_report
from core.errors import Interrupted, PlanError, StorageError
from core.storage import Store
from engine.execution.cluster import inspect_node, node_faults
from engine.integrations import remote_lock
from engine.integrations import remote_sync as remote
from engine.integrations.remote_lock import LOCK
from engine.integrations.remote_sync import mirror_of, refresh, session
from tests.analysis import runs
from tests.core.storage import failing, lost, url_of
from tests.engine import sequential
from tests.engine.runlog.test_log_prefixes import STUDIES as PREFIX_STUDIES
from tests.engine.search.test_search_runs import STUDIES as SEARCHES
from tests.engine.search.test_search_runs import outcome
from tests.engine.sequential import Drive
from tests.records import ends, epoch_rows, events
from trainables.trial.spec import TrialSpec
from trainables.trial.trial import Trial

pytestmark = pytest.mark.usefixtures("tables_only")

ABLATION = PREFIX_STUDIES["ablation"]


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "LOOK", 0.01)
    monkeypatch.setattr(remote_lock, "CONTEST", 0.01)


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    return tmp_path / "storage"


def mirror(tmp_path: Path, machine: str = "a") -> Path:
    """A machine's mirror of the storage, as the command line asks for it."""
    found = mirror_of(url_of(tmp_path / "storage"), str(tmp_path / machine))
    refresh(found)
    return found


def at_work(drive: Drive, directory: Path, **options: Any) -> None:
    """What `run` and `resume` do, the report included."""
    new = not (directory / "study.json").exists()
    with session(directory, new):
        drive(options.pop("study", ABLATION), directory, **options)
        remote.fetch_outputs(directory)
        write_report(directory)


def same(one: Path, other: Path) -> bool:
    return (epoch_rows(one), ends(one)) == (epoch_rows(other), ends(other))


@pytest.mark.parametrize(
    "name", ["asha", *(pytest.param(name, marks=pytest.mark.matrix) for name in ("ablation", "pbt"))]
)
@pytest.mark.matrix
def test_trials_on_nodes_that_share_only_the_url_end_as_on_one_machine(
    name: str, tmp_path: Path, storage: Path, drive: Drive, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = SEARCHES.get(name, ABLATION)
    plain = drive(study, tmp_path / "plain")
    write_report(plain)
    nodes = 0

    def elsewhere(spec: TrialSpec) -> Trial:
        nonlocal nodes
        nodes += 1
        return Trial(replace(spec, directory=str(tmp_path / f"node{nodes}")))

    monkeypatch.setattr(sequential, "Trial", elsewhere)
    directory = mirror(tmp_path)
    at_work(drive, directory, study=study)
    assert outcome(directory) == outcome(plain) == outcome(storage)
    for table in plain.glob("report/*.csv"):
        assert (storage / "report" / table.name).read_text() == table.read_text()
    assert nodes >= len(ends(plain))
    assert not list(directory.glob("checkpoints/*/*.pt")), "they lie on the nodes"
    kept = {path.relative_to(storage).as_posix() for path in storage.rglob("*.p*t*") if "report" not in path.parts}
    assert kept == {path.relative_to(plain).as_posix() for path in plain.rglob("*.p*t*") if "report" not in path.parts}
    assert not (storage / LOCK).exists()


@pytest.mark.matrix
def test_a_copy_of_the_url_s_folder_is_a_run_directory(tmp_path: Path, storage: Path, drive: Drive) -> None:
    at_work(drive, mirror(tmp_path))
    copy = shutil.copytree(storage, tmp_path / "copy")
    before = events(copy)
    drive(ABLATION, copy)
    assert [event["event"] for event in events(copy)[len(before) :]] == ["session"]


@pytest.mark.parametrize(
    "second",
    [pytest.param("a", id="the same machine", marks=pytest.mark.matrix), pytest.param("b", id="another machine")],
)
def test_whatever_the_url_holds_at_any_moment_can_be_gone_on_from(
    second: str, tmp_path: Path, storage: Path, drive: Drive
) -> None:
    """The storage is cut off in the middle of a run; nothing that its processes do afterwards reaches it."""
    drive(ABLATION, tmp_path / "plain")
    left = None

    def cut(verb: str, path: str) -> None:
        nonlocal left
        if left is None and (verb, Path(path).name) == ("move", "log.jsonl"):
            left = 10
        elif left is not None:
            left -= 1
            if left < 0:
                lost(verb, path)

    with failing(cut), pytest.raises((KeyboardInterrupt, StorageError)):
        at_work(drive, mirror(tmp_path))
    assert 0 < len(events(storage)) < len(events(tmp_path / "plain"))
    (storage / LOCK).unlink()  # this very process holds it, and is alive
    directory = mirror(tmp_path, second)
    at_work(drive, directory)
    assert same(directory, tmp_path / "plain")
    assert same(storage, tmp_path / "plain")
    rows = [(event["trial"], event["epoch"]) for event in events(directory) if event["event"] == "epoch"]
    assert len(rows) == len(set(rows))


def test_storage_that_is_lost_interrupts_the_run_even_if_no_trial_notices(tmp_path: Path, storage: Path) -> None:
    directory = mirror(tmp_path)
    broken = False

    def breaking(verb: str, path: str) -> None:
        if broken:
            lost(verb, path)

    with (  # noqa: PT012
        failing(breaking),
        pytest.raises(Interrupted, match=r"study\.json cannot be written") as caught,
        session(directory, new=True),
    ):
        broken = True
        (directory / "study.json").write_text("{}")
        time.sleep(30)
    assert url_of(storage) in str(caught.value)


def test_the_log_is_sent_when_a_trial_ends_and_in_time_and_is_whole(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, key = mirror(tmp_path), "e" * 12
    end = f'{{"event": "end", "trial": "{key}", "status": "finished"}}\n'
    epoch = f'{{"event": "epoch", "trial": "{key}", "epoch": 1}}\n'
    run = RunDirectory(directory)
    with session(directory, new=True):
        run.study.write_text(json.dumps(runs.study() | {"request": {"study": {}, "options": {}}}))
        _wait(lambda: (storage / "study.json").exists())
        run.log.write_text(epoch)
        time.sleep(0.1)
        assert not (storage / "log.jsonl").exists(), "an epoch alone waits for its turn"
        (directory / "artifacts" / key).mkdir(parents=True)
        (directory / "artifacts" / key / "epochs.log").write_text("epoch 1")
        with run.log.open("a") as log:
            log.write(end)
        _wait(lambda: (storage / "log.jsonl").exists())
        assert (storage / "artifacts" / key / "epochs.log").read_text() == "epoch 1"
        before = (storage / LOCK).read_bytes()
        monkeypatch.setattr(remote, "BEAT", 0.05)
        with run.log.open("a") as log:
            log.write(epoch)
        _wait(lambda: (storage / "log.jsonl").read_text().endswith(end + epoch))
        assert (storage / LOCK).read_bytes() != before
        run.trials.write_text("")
        run.epochs.write_text("")


def _wait(moment: Callable[[], bool]) -> None:
    began = time.monotonic()
    while not moment():
        assert time.monotonic() - began < 10
        time.sleep(0.01)


def test_a_second_driver_is_refused_while_the_first_is_heard_of(tmp_path: Path, storage: Path) -> None:
    second = mirror(tmp_path, "b")
    with (
        session(mirror(tmp_path), new=True),
        pytest.raises(PlanError, match="another process") as caught,
        session(second, new=True),
    ):
        pass
    assert f"process {os.getpid()} on" in str(caught.value)
    assert f"delete {LOCK} there" in str(caught.value)
    with session(mirror(tmp_path, "b"), new=True):
        pass


@pytest.mark.parametrize(
    ("change", "held"),
    [
        ({"space": "another machine"}, True),
        ({"space": "another machine", "time": time.time() - 1000}, False),
        ({"pid": 2**22 + 1}, False),
        ({"space": "another machine", "pid": 2**22 + 1}, True),
        ({"pid": 1}, True),
    ],
    ids=["elsewhere", "elsewhere and long ago", "here and gone", "elsewhere, gone for all we know", "here and alive"],
)
def test_a_lock_counts_while_its_process_may_be_alive(
    change: dict[str, Any], held: bool, tmp_path: Path, storage: Path
) -> None:
    directory = mirror(tmp_path)
    with session(directory, new=True):
        left = json.loads((storage / LOCK).read_text())
    (storage / LOCK).write_text(json.dumps(left | {"token": "other", "time": time.time()} | change))
    if held:
        with pytest.raises(PlanError, match="another process"), session(directory, new=True):
            pass
    else:
        with session(directory, new=True):
            assert json.loads((storage / LOCK).read_text())["token"] != "other"


def test_a_driver_whose_lock_was_taken_over_stops_and_sends_nothing_more(
    tmp_path: Path, storage: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "BEAT", 0.05)
    directory = mirror(tmp_path)
    with pytest.raises(Interrupted, match="taken over by process 7"), session(directory, new=True):  # noqa: PT012
        theirs = json.loads((storage / LOCK).read_text()) | {"token": "other", "space": "x", "pid": 7}
        (storage / LOCK).write_text(json.dumps(theirs | {"host": "elsewhere", "time": time.time()}))
        time.sleep(30)
    assert json.loads((storage / LOCK).read_text())["pid"] == 7, "and leaves the other's lock"


@pytest.mark.parametrize(
    ("ours", "theirs", "after"),
    [
        ("", "1\n2\n", "1\n2\n"),
        ("1\n", "1\n2\n", "1\n2\n"),
        ("1\n2\n", "1\n", "1\n2\n"),
        ("1\n2\n", "", "1\n2\n"),
        ('1\n{"to', "1\n2\n", "1\n2\n"),
        ("1\n2\n", '1\n{"to', "1\n2\n"),
        ("1\n2\n", "1\n3\n", None),
    ],
)
def test_the_longer_log_wins_and_two_histories_are_refused(
    ours: str, theirs: str, after: str | None, tmp_path: Path, storage: Path
) -> None:
    storage.mkdir()
    directory = mirror(tmp_path)
    for folder, log in ((directory, ours), (storage, theirs)):
        (folder / "study.json").write_text(json.dumps(str(folder)))
        (folder / "log.jsonl").write_text(log)
    if after is None:
        with pytest.raises(PlanError, match=r"by 1 lines and .* by 1 others") as caught:
            refresh(directory)
        assert str(directory) in str(caught.value)
        return
    refresh(directory)
    assert (directory / "log.jsonl").read_text() == after
    newer = directory if "2" in ours else storage
    assert json.loads((directory / "study.json").read_text()) == str(newer)


def test_a_mirror_in_which_a_driver_works_is_left_alone(tmp_path: Path, storage: Path) -> None:
    from engine.runlog.study_file import hold

    directory = mirror(tmp_path)
    storage.mkdir()
    (storage / "log.jsonl").write_text("1\n")
    lock = hold(RunDirectory(directory))
    refresh(directory)
    lock.release()
    assert not (directory / "log.jsonl").exists()


def test_a_url_that_holds_a_run_is_refused_for_another(tmp_path: Path, storage: Path) -> None:
    storage.mkdir()
    (storage / "study.json").write_text("{}")
    directory = mirror(tmp_path)
    with pytest.raises(PlanError, match="holds a run already; go on with `resume faulty:"), session(directory, True):
        pass
    (storage / "study.json").unlink()
    with pytest.raises(PlanError, match=r"holds a run already \(in its mirror"), session(directory, True):
        pass
    assert not (storage / LOCK).exists()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s4://bucket/run", "s4"),
        ("memory://run", "one process"),
        ("sftp://name:secret@host/run", "password"),
        ("file://relative/run", "cannot be opened"),
    ],
)
def test_what_is_no_storage_is_refused_with_what_is_allowed(url: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="allowed: a path, or a URL of file, s3") as caught:
        mirror_of(url, str(tmp_path))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_storage_that_cannot_be_written_is_refused_before_anything_starts(tmp_path: Path, storage: Path) -> None:
    directory = mirror(tmp_path)
    with failing(lost), pytest.raises(PlanError, match="the line is dead") as caught, session(directory, new=True):
        raise AssertionError
    assert url_of(storage) in str(caught.value)


def test_files_of_trials_taken_over_from_another_run_are_sent(tmp_path: Path, storage: Path, drive: Drive) -> None:
    plain = drive(ABLATION, tmp_path / "plain")
    at_work(drive, mirror(tmp_path), reuse_from=str(plain))
    assert not [event for event in events(storage) if event["event"] == "start" and event["attempt"] > 1]
    for file in (*plain.rglob("best.pt"), *plain.glob("predictions/*")):
        assert (storage / file.relative_to(plain)).read_bytes() == file.read_bytes()


@pytest.mark.matrix
def test_a_larger_budget_goes_on_from_checkpoints_that_only_the_url_has(
    tmp_path: Path, storage: Path, drive: Drive
) -> None:
    at_work(drive, mirror(tmp_path))
    directory = mirror(tmp_path, "b")
    at_work(drive, directory, epochs=5)
    begun = [event for event in events(directory) if event["event"] == "start" and "continues" in event]
    assert len(begun) == 4
    drive(ABLATION, plain := tmp_path / "plain", epochs=5)
    assert {key: row for key, row in epoch_rows(storage).items() if key in epoch_rows(plain)} == epoch_rows(plain)


def test_models_alone_are_kept_at_the_url_too_once_all_trials_have_ended(
    tmp_path: Path, storage: Path, drive: Drive
) -> None:
    at_work(drive, mirror(tmp_path), keep="best", lines=10)  # in the second trial
    assert list(storage.rglob("last.pt"))
    at_work(drive, mirror(tmp_path, "b"))
    kept = [file.name for folder in (storage, tmp_path / "b") for file in folder.rglob("*.pt")]
    assert set(kept) == {"best.pt"}
    models = list(storage.rglob("best.pt"))
    assert len(models) == 4
    told = [line for line in describe(mirror(tmp_path, "c"), at_work=False) if line.startswith("checkpoints: ")]
    assert told == [f"checkpoints: {decimal(sum(file.stat().st_size for file in models))} in 4 files"]


def test_a_node_makes_its_mirror_and_says_where_the_url_is_out_of_reach(tmp_path: Path, storage: Path) -> None:
    directory = tmp_path / "node" / "mirror"
    assert list(node_faults(inspect_node(directory, url_of(storage)), directory)) == []
    with failing(lost):
        (fault,) = node_faults(inspect_node(directory, url_of(storage)), directory)
    assert url_of(storage) in fault
    assert "the line is dead" in fault


def test_store_names_are_relative(storage: Path) -> None:
    store = Store(url_of(storage) + "/")
    store.put("a/b", b"1")
    assert store.files("a") == ["a/b"]
