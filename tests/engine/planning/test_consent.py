"""Whose a run is decides what its record may execute and connect to."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from analysis.records.run_directory import RunDirectory
from core.errors import PlanError
from core.user_code.references import use
from engine.execution.code_proof import under_known_keys
from engine.planning import consent
from engine.planning.consent import needs_consent, read_elsewhere, refuse_strangers, trust, trusted_code
from engine.planning.own_code import with_short_references
from engine.planning.plan import make_plan
from engine.planning.reuse import foresee, sources
from engine.planning.run_options import Options
from engine.planning.study_record import recorded_request
from engine.runlog.history import History
from engine.runlog.signature import is_valid
from engine.runlog.study_file import read_request
from search_spaces.study import parse_study
from tests.conftest import ROOT
from trainables.config import ConfigError, from_tree

Run = tuple[RunDirectory, dict[str, Any]]
OWN = {"settings": {"loss.name": "mine.py:loss"}, "folders": {"": "/home/nobody"}, "code": ["mine.py"]}


def made(folder: Path, own: bool, study: Any = (), **options: Any) -> Run:
    """A run that asks for `options`, of this user's or a stranger's; its code/ has a file that tells when it runs."""
    run = RunDirectory(folder / "run")
    shutil.copytree(ROOT / "tests" / "runs" / "1-code-versions", run.root)
    record = read_request(run.root)[1]
    record["request"]["options"] |= options
    record["request"]["study"] |= dict(study)
    if options.get("code"):
        run.code.mkdir()
        (run.code / "mine.py").write_text(f"open({str(folder / 'executed')!r}, 'w')\nloss = print\n")
        record["code"] = {"folders": options["folders"], "files": {}}
    if own:
        trust(run, record)
        consent._trusted.clear()
    else:
        run.study.write_text(json.dumps(record))
    return read_request(run.root)


def refusal(run: Run, given: dict[str, Any] | None = None) -> str:
    with pytest.raises(PlanError) as error:
        refuse_strangers(*run, given, "`again --trust`")
    assert len(error.value.faults) <= 3
    return str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "10.0.0.1:6379"}, "Ray at 10.0.0.1:6379"),
        ({"address": "auto"}, "Ray at auto"),
        ({"mlflow": "http://tom:secret@host/x"}, "MLflow at http://host/x"),
        ({"mlflow": "http://tom:secret@host//x@y"}, "MLflow at http://host//x@y"),
        ({"address": "tom:secret@host:1"}, "Ray at host:1"),
        ({"mlflow": "sqlite:////home/tom/notes.db"}, "MLflow at sqlite:////home/tom/notes.db"),
        (OWN, "mine.py:loss, mine.py"),
        ({"settings": {"model.name": "os:system", "model.args.command": "true"}}, "os:system"),
        ({"settings": {"metrics": ["subprocess:run"]}}, "subprocess:run"),
        ({"levels": {"network": ["net", "shutil:rmtree"]}}, "shutil:rmtree"),
        ({"enqueue": [{"optimizer.name": "torch.hub:load"}]}, "torch.hub:load"),
        ({"code": ["/tmp/x.py"]}, "/tmp/x.py"),
    ],
)
def test_a_stranger_s_run_executes_and_connects_to_nothing(options: dict[str, Any], said: str, tmp_path: Path) -> None:
    options = {**options, "folders": {"": "/x"}} if "code" in options else options
    text = refusal(made(tmp_path, own=False, **options), given={})
    assert said in text
    assert "secret" not in text
    assert "`again --trust`" in text
    assert not (tmp_path / "executed").exists()


def test_servers_are_named_after_much_code(tmp_path: Path) -> None:
    levels = {"network": [f"mine.py:Net{number}" for number in range(9)]}
    assert "mine.py:Net2 and 6 more, Ray at auto" in refusal(
        made(tmp_path, own=False, levels=levels, address="auto"), {}
    )


@pytest.mark.parametrize("key", ["baseline", "code", "metrics"])
def test_nor_what_its_study_names(key: str, tmp_path: Path) -> None:
    named = {"baseline": {"model.name": "os:system"}, "code": ["evil.py"], "metrics": [{"name": "os:system"}]}
    run = made(tmp_path, own=False, study={key: named[key]})
    assert ("evil.py" if key == "code" else "os:system") in refusal(run)
    with pytest.raises(PlanError, match="execute or connect"):
        recorded_request(run[1], run[0])


@pytest.mark.parametrize(
    ("options", "given"),
    [
        ({}, {}),
        ({"address": "local", "mlflow": "none", "tensorboard": True, "data_root": "/data"}, {}),
        ({"address": "1.2.3.4:5"}, {"address": "local"}),
        ({"mlflow": "http://host"}, {"mlflow": "none"}),
        ({"address": "1.2.3.4:5"}, None),  # of a command that connects to nothing
        ({"settings": {"model.name": "torchvision:resnet18"}}, {}),
    ],
)
def test_a_stranger_s_plain_run_needs_no_consent(options: dict[str, Any], given: Any, tmp_path: Path) -> None:
    refuse_strangers(*made(tmp_path, own=False, **options), given)


def test_titles_are_no_references(tmp_path: Path) -> None:
    factor = {"name": "rate:fast", "levels": [{"name": "sgd:slow", "settings": {}}]}
    refuse_strangers(*made(tmp_path, own=False, study={"factors": [factor]}))


def test_one_s_own_run_executes_what_it_recorded(tmp_path: Path) -> None:
    run = made(tmp_path, own=True, address="auto", **OWN)
    refuse_strangers(*run, {})
    recorded_request(run[1], run[0])
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    "name", ["mine.py", "json.py", "__pycache__/mine.cpython-312.pyc", "fast.so", "gone", "link", "endless"]
)
def test_but_no_file_that_is_not_as_recorded(name: str, tmp_path: Path) -> None:
    run, record = made(tmp_path, own=True, **OWN)
    if name == "gone":
        (run.code / "mine.py").unlink()
    elif name == "endless":
        (run.code / "mine.py").unlink()
        (run.code / "mine.py").symlink_to("/dev/zero")
    elif name == "link":
        (tmp_path / "evil").mkdir()
        (run.code / "link").symlink_to(tmp_path / "evil")
    else:
        (run.code / name).parent.mkdir(exist_ok=True)
        (run.code / name).write_text("import os\n")
    told = refusal((run, record))
    assert str(run.code / ("mine.py" if name in ("gone", "endless") else name)) in told
    with pytest.raises(PlanError, match="not as study"):
        recorded_request(record, run)


def test_their_names_are_printed_without_control_characters(tmp_path: Path) -> None:
    run, record = made(tmp_path, own=True, **OWN)
    (run.code / "a\x1b[2J\n.py").touch()
    assert "a\\x1b[2J\\n.py is not as study.json records" in refusal((run, record))


def test_files_that_nothing_imports_may_come(tmp_path: Path) -> None:
    run, record = made(tmp_path, own=True, **OWN)
    (run.code / "notes.txt").write_text("mine")
    refuse_strangers(run, record)


@pytest.mark.parametrize("name", ["a_script", "a_package.inner"])
def test_nor_a_changed_script_that_a_reference_finds_elsewhere(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    file = tmp_path / f"{name.replace('.', '/')}.py"
    file.parent.mkdir(exist_ok=True)
    (file.parent / "__init__.py").write_text("raise RuntimeError")  # which looking for it does not import
    file.write_text("loss = print")
    run = made(tmp_path, own=True, settings={"loss.name": f"{name}:loss"})
    assert list(run[1]["scripts"]) == [f"{name.replace('.', '/')}.py"]
    refuse_strangers(*run)
    file.write_text("loss = exit")
    assert file.name in refusal(run)


@pytest.mark.parametrize(
    "options", [{"settings": {"loss.name": "~/x.py:loss"}}, {"code": ["~/x.py"], "folders": {"": "/x"}}]
)
def test_nor_one_in_a_folder_of_the_user_s(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.py").write_text("loss = print")
    run = made(tmp_path, own=True, **options)
    refuse_strangers(*run)
    (tmp_path / "x.py").write_text("loss = exit")
    assert "~/x.py is not as study.json records" in refusal(run)


@pytest.mark.parametrize("label", ["../../..", "/etc", "a/b"])
def test_no_label_leads_out_of_the_run(label: str, tmp_path: Path) -> None:
    run = made(tmp_path, own=True, folders={label: "/x"})
    assert "would lead out of" in refusal(run)


@pytest.mark.parametrize("folder", ["../..", f"{'x' * 80}/../../.."])
def test_no_reference_leads_out_of_the_run(folder: str, tmp_path: Path) -> None:
    run = made(tmp_path, own=True, settings={"loss.name": f"{folder}/mine.py:loss"})
    assert "would lead out of" in refusal(run)


def test_trust_makes_what_there_is_now_this_user_s(tmp_path: Path) -> None:
    run, record = made(tmp_path, own=False, address="auto", **OWN)
    assert needs_consent(run, record)
    told = trust(run, record)
    assert "mine.py:loss, mine.py, Ray at auto" in told
    assert "\n" not in told
    consent._trusted.clear()
    record = read_request(run.root)[1]
    assert is_valid(record)
    assert not needs_consent(run, record)
    refuse_strangers(run, record, {})
    (run.code / "mine.py").write_text("import os")
    trust(run, record)
    consent._trusted.clear()
    refuse_strangers(*read_request(run.root), {})


def test_what_cannot_be_signed_is_trusted_for_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, record = made(tmp_path, own=False, address="auto", **OWN)
    monkeypatch.setattr(consent, "write", _fails)
    assert "for this command alone" in trust(run, record)
    refuse_strangers(*read_request(run.root), {})
    assert list(trusted_code(record)["code"]["files"]) == ["mine.py"]  # which a resume will sign
    record["request"]["options"]["address"] = "elsewhere:1"
    assert "Ray at elsewhere:1" in refusal((run, record), given={})
    consent._trusted.clear()


def _fails(*_: object) -> None:
    raise OSError("read-only")


def test_a_signed_run_s_log_names_code_in_vain(tmp_path: Path) -> None:
    run, record = made(tmp_path, own=True, **OWN)
    recorded_request(record, run)
    event = json.loads(run.log.read_text().splitlines()[1])
    tree = event["config"] | {"loss": {"name": "os:system", "args": {"command": "true"}}}
    with pytest.raises(ConfigError, match="os:system: is not executed, as neither this command nor"):
        from_tree(tree)
    use({})


def test_a_stranger_s_cache_folder_is_not_written(tmp_path: Path) -> None:
    run, record = made(tmp_path, own=False, cache_dir="/etc/precious")
    assert recorded_request(record, run)[1].cache_dir is None
    trust(run, record)
    assert recorded_request(record, run)[1].cache_dir == "/etc/precious"
    consent._trusted.clear()


def test_data_and_weights_that_it_reads_are_named(tmp_path: Path) -> None:
    settings = {"model.weights_file.resnet18": "/w.pt", "dataset.path": "flowers"}
    _, record = made(tmp_path, own=False, data_root="/data", settings=settings)
    assert read_elsewhere(record) == [
        "the record names, and this reads: data root '/data', model.weights_file.resnet18 '/w.pt', "
        "dataset.path 'flowers'"
    ]


def test_nor_does_the_log_of_a_run_that_is_reused(tmp_path: Path) -> None:
    run, _ = made(tmp_path, own=False)
    evil = tmp_path / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\nloss = print\n")
    events = [json.loads(line) for line in run.log.read_text().splitlines()]
    for event in (event for event in events if event["event"] == "start"):
        event["config"]["loss"] = {"name": f"{evil}:loss"}
    run.log.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    tree = {"name": "s", "workload": "digits", "epochs": 1, "samples": 1, "sampler": "random"}
    study = parse_study({**tree, "space": [{"key": "optimizer.lr", "low": 0.1, "high": 0.2}]}, "s")
    plan = make_plan(*with_short_references(study, Options(reuse_from=str(run.root))), tmp_path / "new")
    assert foresee(plan, History()) == 0
    under_known_keys(plan, sources(plan), print)
    assert not (tmp_path / "executed").exists()
