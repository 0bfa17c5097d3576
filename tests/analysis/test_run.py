"""`from analysis import Run`: what a notebook reads is what the report says, and what is not there is said with why."""

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from analysis import Run
from analysis.report.build import write_report
from analysis.report.contents import NEEDS, SHOWN
from analysis.run import RunError
from analysis.tables.spec import TABLES
from core.errors import PlanError
from tests.analysis import golden_tables, runs, searches
from tests.conftest import ROOT

KEPT = sorted(path.parent for path in (ROOT / "tests" / "runs").glob("*/study.json"))
OTHER = "test_reference"
TEXT = {"index": False, "lineterminator": "\n"}


def python(code: str, **options: object) -> str:
    return subprocess.check_output([sys.executable, "-c", code], text=True, **{"cwd": ROOT, **options})


def search(folder: Path) -> Path:
    space = [searches.LR, searches.MOMENTUM]
    points = [{"optimizer.lr": 0.001 * 2**i, "optimizer.momentum": 0.9 - 0.07 * i} for i in range(9)]
    trials = [searches.trial(f"c{i}", point, 0.5 + 0.03 * (i * 5 % 9)) for i, point in enumerate(points)]
    return searches.write(folder, space, trials)


def two_metrics(folder: Path, **changes: object) -> Path:
    """Three seeds: accuracy improves and the reference loss gets worse; one cell has a source's figure."""
    study = runs.study(["baseline", "loss=a", "loss=b"], **changes)
    study["cells"][1]["reference"] = "81 %"
    events = []
    for place, cell in enumerate(["baseline", "loss=a", "loss=b"]):
        for seed in range(3):
            for event in runs.trial(cell, seed, 0.7 + 0.1 * place + 0.011 * (seed * (place + 1) % 3)):
                own = {OTHER: 1.0 + 0.3 * place + 0.007 * (seed * (place + 1) % 3)} if event["event"] == "epoch" else {}
                events.append(event | own)
    return runs.write(folder, study, events)


MAKERS = {**golden_tables.STUDIES, "search": search, "two metrics": two_metrics}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    "kind",
    ["one_at_a_time", "search", *(pytest.param(kind, marks=pytest.mark.matrix) for kind in ("factorial", "ladder"))],
)
def test_every_table_is_the_reports_csv_to_the_digit(kind: str, tmp_path: Path) -> None:
    directory = MAKERS[kind](tmp_path / "run")
    report = write_report(directory).parent
    run = Run(directory)
    written = {file.stem: file.read_text(encoding="utf-8") for file in report.glob("*.csv")}
    assert set(run.tables) == set(written)
    assert {name: run.table(name).to_csv(**TEXT) for name in written} == written
    assert Run(directory).table("ranking").to_csv(**TEXT) == written["ranking"], "also before the others are made"
    assert run.figures == [file.removesuffix(".svg") for file in run.figures]
    assert {file.stem for file in (report / "figures").iterdir()} == set(run.figures)
    for name, frame in (("trials", run.trials), ("epochs", run.epochs)):
        pd.testing.assert_frame_equal(frame, pd.read_parquet(directory / f"{name}.parquet"), check_dtype=False)


@pytest.mark.parametrize("directory", KEPT, ids=lambda path: path.name)
def test_kept_runs_are_read_and_not_written_to(directory: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in directory.rglob("*")}
    run = Run(str(directory))
    assert set(run.trials["status"]) == {"finished"}
    assert run.study["name"].startswith("kept")
    for trial in run.trials["trial"]:
        table = run.predictions(trial[:5])
        right = float((table["target"] == table["prediction"]).mean())
        (recorded,) = run.trials.loc[run.trials["trial"] == trial, "test_accuracy"]
        assert right == pytest.approx(recorded)
    assert run.table("ablation")["verdict"].tolist() == ["too few runs"]
    assert run.figure("forest").svg().startswith("<svg")
    assert {file: file.stat().st_mtime_ns for file in directory.rglob("*")} == before


@pytest.mark.usefixtures("undrawn")
def test_another_primary_metric_gives_the_table_that_the_report_makes_of_it(tmp_path: Path) -> None:
    asked = two_metrics(tmp_path / "asked", further_metrics=[OTHER])
    report = write_report(asked).parent
    table = Run(two_metrics(tmp_path / "run")).table("ablation", metric=OTHER)
    assert table.to_csv(**TEXT) == (report / f"ablation_{OTHER}.csv").read_text(encoding="utf-8")
    assert table["verdict"].tolist() == ["worse", "worse"]
    primary = write_report(two_metrics(tmp_path / "primary", metric=OTHER)).parent
    of_other = Run(tmp_path / "run").table("factor_loss", metric=OTHER)
    same = of_other.drop(columns="reference").to_csv(**TEXT)
    assert same == pd.read_csv(primary / "factor_loss.csv").drop(columns="reference").to_csv(**TEXT)
    assert of_other["reference"].isna().all(), "the source's figure is of the study's metric"
    ranking = Run(tmp_path / "run").table("ranking", OTHER)
    assert ranking["cell"].tolist() == ["baseline", "loss=a", "loss=b"], "smaller is better"


def test_the_studys_own_metric_may_be_named(tmp_path: Path) -> None:
    run = Run(two_metrics(tmp_path))
    named, plain = run.table("ablation", metric=runs.METRIC), run.table("ablation")
    pd.testing.assert_frame_equal(named, plain)
    assert named["reference"].tolist()[0] == "81 %"


def test_what_one_changes_in_a_table_changes_no_other(tmp_path: Path) -> None:
    run = Run(two_metrics(tmp_path))
    first = run.table("ablation").to_csv()
    for table in (run.trials, run.epochs, run.table("ablation"), run.table("ranking")):
        table[table.columns[-1]] = None
    run.study["metric"] = "nonsense"
    run.study["cells"][0]["name"] = "nonsense"
    assert run.table("ablation").to_csv() == first
    assert run.trials["status"].notna().all()
    assert run.study["metric"] == runs.METRIC


@pytest.mark.parametrize("outcomes", [{"baseline": [], "loss=a": []}, {"baseline": [0.5, "running"], "loss=a": [0.6]}])
def test_a_run_that_goes_on_is_read_as_far_as_it_is(outcomes: dict[str, list[runs.Outcome]], tmp_path: Path) -> None:
    directory = runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes)
    run = Run(directory)
    assert len(run.trials) == sum(map(len, outcomes.values()))
    assert run.table("ablation")["verdict"].tolist() == ["too few runs"]
    assert ("running" in repr(run)) == ("running" in outcomes["baseline"])
    assert set(run.tables) >= {"ranking", "ablation"}
    with (directory / "log.jsonl").open("ab") as log:
        log.write(runs.lines(runs.trial("loss=a", 2, 0.7)) + b'{"event": "ep')
    assert len(Run(directory).trials) == len(run.trials) + 1, "a new Run sees more"


def test_predictions_that_are_not_there_say_why(tmp_path: Path) -> None:
    outcomes: dict[str, list[runs.Outcome]] = {"baseline": [0.5, "failed", "running"], "loss=a": ["diverged", 0.5]}
    run = Run(runs.write_outcomes(tmp_path, runs.study(outcomes), outcomes))
    (tmp_path / "predictions").mkdir()
    (tmp_path / "predictions" / f"{runs.trial_id('loss=a', 1)}.parquet").write_bytes(b"torn")
    said = {
        ("baseline", 0): "is missing",
        ("baseline", 1): "it failed",
        ("baseline", 2): "it has not ended yet",
        ("loss=a", 0): "it diverged",
        ("loss=a", 1): "is damaged",
        ("loss=a", 2): "it was not begun yet",
    }
    for (cell, seed), why in said.items():
        with pytest.raises(RunError, match=why):
            run.predictions(runs.trial_id(cell, seed))
    key = runs.trial_id("baseline", 0)
    with pytest.raises(RunError, match=f"trial {key[:-2]}zz: is none of the 6 trials of the run; nearest: {key}"):
        run.predictions(f"{key[:-2]}zz")
    with pytest.raises(RunError, match="stands for 6 trials; nearest: "):
        run.predictions("")


@pytest.mark.parametrize(
    ("kind", "call", "said"),
    [
        ("ladder", 'table("effects")', "needs design factorial, and this is an ablation of design ladder with 20 fin"),
        ("ladder", 'table("pareto")', "it needs a search of several objectives"),
        ("ladder", 'table("factor_loss")', "it needs a design that compares levels"),
        ("ladder", 'table("confusion")', "it needs predictions of classes"),
        ("search", 'table("ablation")', "it needs an ablation, and this is a search with 9 finished trials"),
        ("search", 'table("rungs")', "whose trial scheduler stopped trials"),
        ("ladder", 'table("compare")', "two runs: `compare RUN_A RUN_B`"),
        ("ladder", 'table("ablatoin")', "did you mean 'ablation'?"),
        ("ladder", 'table("ablation_val_reference")', "makes the same"),
        ("ladder", 'table("curves", "val_reference")', "is not made of one metric, so it takes none"),
        ("ladder", 'table("stability", metric="val_reference")', "is not made of one metric, so it takes none"),
        ("ladder", 'table("ablation", metric="balanced_accuracy")', "did you mean 'test_balanced_accuracy'?"),
        ("ladder", 'table("ablation", metric="test_balanced_acuracy")', "did you mean 'test_balanced_accuracy'?"),
        ("ladder", 'table("ablation", metric="lr")', "metric 'lr': is not recorded; allowed: test_"),
        ("ladder", 'figure("importance")', "it needs several finished configurations of a search"),
        ("ladder", 'figure("pca")', "it needs features, which finished trials leave"),
        ("ladder", 'figure("curves_f1")', "it needs that metric"),
        ("ladder", 'figure("forrest")', "did you mean 'forest'?"),
        ("search", 'figure("forest")', "it needs an ablation"),
    ],
)
def test_what_a_run_has_not_is_said_with_why_or_with_the_nearest(
    kind: str, call: str, said: str, tmp_path: Path
) -> None:
    run = Run(MAKERS[kind](tmp_path))
    with pytest.raises(RunError) as caught:
        eval(f"run.{call}", {"run": run})
    assert said in str(caught.value)
    assert len(str(caught.value)) < 600


def test_every_table_and_figure_of_ours_has_its_needs_in_words(tmp_path: Path) -> None:
    assert set(NEEDS) >= set(TABLES) - {"ranking"} - {name for name, spec in TABLES.items() if spec.make}
    for kind, make in MAKERS.items():
        names = Run(make(tmp_path / kind)).figures
        assert [name for name in names if name not in SHOWN and not name.startswith("curves_")] == []
    assert set(SHOWN.values()) <= set(NEEDS)


def test_no_run_directory_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    directory = runs.write_outcomes(Path("results/digits/demo"), runs.study(), {"baseline": [0.5]})
    (directory / "report").mkdir()
    Path("study.yaml").touch()
    Path("empty").mkdir()
    for place, said in {
        "results": "a folder of runs: ",
        "results/digits": "a folder of runs: ",
        "results/digits/demo/report": "lies in the run directory ",
        "results/digits/demo/log.jsonl": "lies in the run directory ",
        "results/digits/dmeo": "there is nothing of that name; did you mean '",
        "nowhere/at/all": "there is nothing of that name",
        "study.yaml": "it is a study: `run` makes a run directory of it",
        "empty": "it is an empty folder",
        ".": "it is a folder with empty, results, study.yaml",
        "s3://bucket/run": "is a URL; `report s3://bucket/run` brings a copy here",
    }.items():
        with pytest.raises(RunError, match=f"^{place}: ") as caught:
            Run(place)
        assert said in str(caught.value)
    assert Run(directory).directory.is_absolute()


def test_a_damaged_log_is_named_by_file_and_line(tmp_path: Path) -> None:
    directory = runs.write_outcomes(tmp_path, runs.study(), {"baseline": [0.5]})
    text = (directory / "log.jsonl").read_text().splitlines(keepends=True)
    (directory / "log.jsonl").write_text("".join([*text[:2], "{nonsense\n", *text[2:]]))
    with pytest.warns(match=r"log\.jsonl:3: is no JSON"):
        assert len(Run(directory).trials) == 1
    (directory / "study.json").write_text("{")
    with pytest.raises(ValueError, match=r"study\.json: "):
        Run(directory)


def test_a_figure_shows_itself_and_is_written_as_a_file(tmp_path: Path) -> None:
    figure = Run(golden_tables.one_at_a_time(tmp_path / "run")).figure("forest")
    shown = figure._repr_html_()
    assert "data:image/svg+xml;base64," in shown
    assert figure.caption.split(" ")[0] in shown
    svg = figure.write(tmp_path / "new" / "forest.svg").read_text(encoding="utf-8")
    assert svg == figure.svg()
    page = figure.write(str(tmp_path / "forest.html")).read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!DOCTYPE html>")
    assert 'src="http' not in page, "it opens offline"
    with pytest.raises(PlanError, match=r"forest\.png: a figure is written as \.svg or \.html"):
        figure.write(tmp_path / "forest.png")


def test_it_loads_neither_torch_nor_ray_and_the_package_alone_nothing(tmp_path: Path) -> None:
    directory = golden_tables.one_at_a_time(tmp_path)
    code = f"""
import sys, analysis
early = {{"pandas", "numpy", "altair", "scipy"}} & set(sys.modules)
from analysis import Run
run = Run({str(directory)!r})
run.trials, run.predictions(run.trials["trial"][0]), run.study
quick = {{"altair", "scipy", "statsmodels"}} & set(sys.modules)
run.table("ablation"), run.figure("forest")._repr_html_()
print(early, quick, {{"torch", "torchvision", "ray", "optuna", "datasets", "engine"}} & set(sys.modules))
"""
    assert python(code) == "set() set() set()\n"


def test_the_checkout_on_the_path_for_one_import_leaves_their_own_modules_alone(tmp_path: Path) -> None:
    """As docs/python.md says: a notebook beside modules of the names of ours."""
    directory = golden_tables.one_at_a_time(tmp_path / "run")
    (tmp_path / "datasets.py").write_text("mine = True\n")
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from analysis import Run
sys.path.remove({str(ROOT)!r})
import datasets
print(datasets.mine, len(Run({str(directory)!r}).table("ablation")), Run({str(directory)!r}).figure("forest").name)
"""
    assert python(code, cwd=tmp_path) == "True 3 ablation\n"


def test_a_name_that_the_package_has_not_is_an_error_as_of_any_module() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Runs'"):
        exec("from analysis import Runs")
