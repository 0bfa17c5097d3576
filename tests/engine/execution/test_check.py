"""`check` finds whatever is damaged or missing, and a run that `resume` and `report` mended is whole and as before."""

import random
import shutil
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.report.build import write_report
from analysis.report.check import check, summary
from run_search import main
from tests.cli.test_kept_runs import KEPT
from tests.engine.execution.test_made_again import STUDY, few, gone
from tests.engine.planning.test_extensions import ablation, assert_equal_tables
from tests.engine.sequential import BASELINE, Drive, driven
from tests.records import ends

CASES = 300  # of damage, seeded
NEVER_READ = (".lock", "driver.lock", "optuna.journal", "study.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = driven(STUDY, tmp_path_factory.mktemp("whole") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("analysis.tables.feature_projections.Projections.table", lambda self: pd.DataFrame())
        patch.setattr("analysis.report.contents.report_figures", lambda *_: ([], []))
        write_report(run)
    return run


@pytest.fixture
def run(whole: Path, tmp_path: Path, tables_only: None) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "run"))


def kinds(run: Path) -> dict[str, list[Path]]:
    """The files of a run by what they are."""
    found: dict[str, list[Path]] = {}
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in NEVER_READ)
    for file in sorted(path for path in files if path.stat().st_size):
        parts = file.relative_to(run).parts
        kind = f"{parts[0]}/{parts[2]}" if len(parts) > 2 and parts[0] != "report" else f"{parts[0]}/*{file.suffix}"
        found.setdefault(kind, []).append(file)
    return found


def damaged(content: bytes, chance: random.Random) -> bytes | None:
    """The content with a bit flipped, cut, a part repeated or zeroed; None for no file."""
    place, length = chance.randrange(len(content)), chance.randint(1, 40)
    flipped = bytes([content[place] ^ (1 << chance.randrange(8))])
    part = content[place : place + length]
    return chance.choice(
        [
            content[:place] + flipped + content[place + 1 :],
            content[:place],
            content[:place] + part + part + content[place + length :],
            content[:place] + bytes(len(part)) + content[place + length :],
            content[:place] + content[place + length :],
            None,
        ]
    )


def test_a_whole_run_is_whole(whole: Path) -> None:
    assert check(whole) == []
    done = CliRunner().invoke(main, ["check", str(whole)])
    assert (done.exit_code, done.stdout.splitlines()[-1]) == (0, "all files are whole")


@pytest.mark.parametrize("cases", [24, pytest.param(CASES, marks=pytest.mark.matrix)])
def test_whatever_is_damaged_is_found(cases: int, whole: Path, tmp_path: Path) -> None:
    run, chance = Path(shutil.copytree(whole, tmp_path / "run")), random.Random(cases)
    by_kind, tried = kinds(run), Counter[str]()
    for number in range(cases):
        kind = list(by_kind)[number % len(by_kind)]
        file = chance.choice(by_kind[kind])
        content = file.read_bytes()
        changed = damaged(content, chance)
        if changed == content or (kind == "log.jsonl/*.jsonl" and changed == content[: len(changed or b"")]):
            continue  # a log that ends early is one that was interrupted
        file.unlink() if changed is None else file.write_bytes(changed)
        found = check(run)
        assert found, f"{kind}: {len(content)} bytes, {changed and len(changed)} now"
        assert all(each.costs and "\n" not in str(each) for each in found)
        file.write_bytes(content)
        tried[kind] += 1
    assert len(tried) == len(by_kind) >= 12
    assert check(run) == []


def test_a_log_that_ends_early_tells_less_than_the_tables(run: Path) -> None:
    lines = (run / "log.jsonl").read_bytes().splitlines(keepends=True)
    (run / "log.jsonl").write_bytes(b"".join(lines[:-2]))
    assert [each.place for each in check(run)][:1] == ["trials.parquet"]


EACH = (
    "log.jsonl",
    "trials.parquet",
    "epochs.parquet",
    "predictions",
    "predictions/TRIAL.parquet",
    "artifacts",
    "artifacts/TRIAL",
    "artifacts/TRIAL/features.parquet",
    "artifacts/TRIAL/diagnostics.parquet",
    "artifacts/TRIAL/epochs.log",
    "artifacts/TRIAL/images",
    "artifacts/TRIAL/feature_maps",
    "artifacts/TRIAL/feature_maps/about.json",
    "checkpoints",
    "checkpoints/TRIAL",
    "checkpoints/TRIAL/best.pt",
    "checkpoints/TRIAL/last.pt",
    "report",
    "report/ablation.csv",
    "report/index.html",
    "report/manifest.json",
    ".lock",
)


@pytest.mark.parametrize("name", few(EACH, ("predictions", "checkpoints", "artifacts/TRIAL", "report/manifest.json")))
def test_after_one_deletion_and_resume_all_is_as_before(name: str, run: Path, whole: Path, drive: Drive) -> None:
    trial = next(iter(ends(run)))
    gone(run / name.replace("TRIAL", trial))
    assert check(run) or name == ".lock"
    drive(STUDY, run)
    assert_equal_tables(run, whole)
    assert check(run) == []
    before = {file.relative_to(whole) for file in whole.rglob("*") if file.is_file()}
    now = {file.relative_to(run) for file in run.rglob("*") if file.is_file()}
    assert {str(file).replace(trial, "TRIAL") for file in before - now} <= {"checkpoints/TRIAL/last.pt"}


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.matrix) for seed in range(2, 12))])
def test_after_several_damages_and_resume_the_tables_are_the_undisturbed_runs(
    seed: int, run: Path, whole: Path, drive: Drive
) -> None:
    chance = random.Random(seed)
    for _ in range(3):
        file = chance.choice(chance.choice(list(kinds(run).values())))
        changed = damaged(file.read_bytes(), chance)
        file.unlink() if changed is None else file.write_bytes(changed)
    drive(STUDY, run)
    assert_equal_tables(run, whole)
    assert check(run) == []


def test_each_finding_says_what_it_costs_and_the_status_is_one(run: Path) -> None:
    first, second, third = ends(run)
    gone(run / "predictions" / f"{first}.parquet")
    gone(run / "checkpoints" / second / "best.pt")
    gone(run / "checkpoints" / third / "last.pt")
    gone(run / "report" / "ranking.csv")
    done = CliRunner().invoke(main, ["check", str(run)])
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        f"predictions/{first}.parquet: is missing; costs: evaluated again from its checkpoint",
        f"checkpoints/{second}/best.pt: is missing; costs: trained anew",
        f"checkpoints/{third}/last.pt: is missing; costs: nothing, but that more epochs would be trained anew",
        "report/ranking.csv: is missing; costs: written again by report",
        summary(check(run), str(run)),
    ]


def test_a_report_says_what_it_lacks(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone(run / "predictions" / f"{next(iter(ends(run)))}.parquet")
    done = CliRunner().invoke(main, ["report", str(run)])
    said = "Files that 1 trial left are missing or damaged: predictions (1)"
    assert f"{said}; `check {run}` lists all, `resume {run}` makes them again" in done.output


def test_the_page_says_it_too(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis.report.build import contents_of
    from analysis.report.caveats import caveats

    shutil.rmtree(run / "artifacts" / next(iter(ends(run))) / "feature_maps")
    (said,) = (line for line in caveats(contents_of(run).records) if "missing" in line)
    assert "1 trial left are missing or damaged: feature_maps (" in said


def test_files_of_a_budget_that_is_no_longer_used_cost_nothing(tmp_path: Path, drive: Drive) -> None:
    study = ablation(seeds=1, epochs=1, baseline=BASELINE)
    run = drive(study, tmp_path / "run")
    old = next(iter(ends(run)))
    drive(study, run, epochs=2)
    gone(run / "predictions" / f"{old}.parquet")
    (found,) = (each for each in check(run) if each.place.startswith("predictions"))
    assert found.costs == "nothing: is not used any more"


@pytest.mark.parametrize("kept", KEPT, ids=lambda path: path.name)
def test_of_runs_before_digests_all_that_can_be_known_is_checked(kept: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(kept, tmp_path / "run"))
    assert {each.costs for each in check(run)} == {"written again by report"}
    trial = next(iter(ends(run)))
    content = (run / "predictions" / f"{trial}.parquet").read_bytes()
    (run / "predictions" / f"{trial}.parquet").write_bytes(content[:-9])
    gone(run / "checkpoints" / trial / "best.pt")
    assert {each.costs for each in check(run)} == {"written again by report", "trained anew"}
