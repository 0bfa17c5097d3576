"""Tables as files: the same figures in every form, LaTeX that compiles, and nothing left of an earlier report."""

import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from analysis.report.build import write_report
from analysis.report.exports import PAGE_ROWS, READABLE_ROWS, write_table
from tests.analysis import runs
from tests.analysis.golden_tables import STUDIES

pytestmark = pytest.mark.usefixtures("undrawn")

FACTORS = {"loss": ["ce", "cb"], "sampler": ["uniform", "weighted"]}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    study = runs.factorial(FACTORS, further_metrics=["val_roughness"])
    rng = np.random.default_rng(0)
    outcomes = {cell["name"]: rng.normal(0.8, 0.05, 5).tolist() for cell in study["cells"]}
    outcomes["loss=cb"][0] = "diverged"
    folder = runs.write_outcomes(tmp_path_factory.mktemp("run"), study, outcomes)
    write_report(folder)
    return folder


def tables_of(run):
    return sorted(path.stem for path in (run / "report").glob("*.csv"))


def test_every_table_has_every_form(run):
    for name in tables_of(run):
        for suffix in ("csv", "parquet", "md", "tex"):
            assert (run / "report" / f"{name}.{suffix}").stat().st_size > 0, (name, suffix)
    assert {"ranking", "ablation", "ablation_val_roughness", "effects", "interactions", "anova"} <= set(tables_of(run))


def test_parquet_and_csv_hold_the_same_figures(run):
    for name in tables_of(run):
        exact = pd.read_parquet(run / "report" / f"{name}.parquet")
        text = pd.read_csv(run / "report" / f"{name}.csv", keep_default_na=False, dtype=str)
        assert list(exact) == list(text), name
        for column in exact:
            same = ["" if pd.isna(value) else str(value) for value in exact[column]]
            if pd.api.types.is_float_dtype(exact[column]):
                assert [float(value or "nan") for value in text[column]] == pytest.approx(
                    exact[column].tolist(), rel=1e-15, nan_ok=True
                )
            else:
                assert text[column].tolist() == same, (name, column)


def test_latex_has_booktabs_rules_a_caption_and_as_many_cells_in_every_row(run):
    for name in tables_of(run):
        text = (run / "report" / f"{name}.tex").read_text()
        columns = re.search(r"\\begin\{(?:tabular|longtable)\}\{([lr]+)\}", text)[1]
        body = [line for line in text.splitlines() if re.search(r"(?<!\\)&", line)]
        assert body, name
        assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in body} == {len(columns)}, name
        for rule in ("toprule", "midrule", "bottomrule"):
            assert text.count(f"\\{rule}") == 1
        assert text.count(r"\caption{") == text.count(rf"\label{{tab:{name}}}") == 1
        assert r"\hline" not in text
        assert text.count("{") - text.count(r"\{") == text.count("}") - text.count(r"\}")


def test_a_caption_states_metric_runs_test_and_correction(run):
    caption = re.search(r"\\caption\{(.*)\}\\label", (run / "report" / "ablation.tex").read_text())[1]
    assert "Test balanced accuracy" in caption
    assert "(4 to 5 seeds)" in caption
    assert "paired t-test" in caption
    assert "Holm's correction over 3 rows" in caption
    assert "95 \\% paired t intervals" in caption
    assert "type II with the seed as a block (4 seeds)" in (run / "report" / "anova.tex").read_text()


def test_a_papers_table_leaves_out_what_the_caption_says_and_what_is_empty(run):
    head = (run / "report" / "ablation.tex").read_text().split(r"\toprule")[1].split(r"\midrule")[0]
    assert head.split(r" \\")[0].strip().split(" & ") == [
        *("factor", "level", "against", "n", "failed", "diverged", "baseline", "mean", "difference"),
        *(r"95 \% interval", "p (Holm)", "verdict"),
    ]


def test_numbers_are_set_as_numbers(tmp_path):
    table = pd.DataFrame({"cell": ["a-b", "−1 × 2 → 3"], "mean": [-0.5, 1.5e-7], "ci_low": [-0.6, 1e-7]})
    table["ci_high"] = [-0.4, 2e-7]
    write_table(table, tmp_path, "t")
    text = (tmp_path / "t.tex").read_text()
    assert r"a-b & $-$0.5000 & [$-$0.6000, $-$0.4000] \\" in text
    assert r"$-$1 $\times$ 2 $\rightarrow$ 3 & 1.500$\cdot$10$^{-7}$ & [1.000$\cdot$10$^{-7}$," in text


def test_a_table_of_many_rows_may_break_over_pages(tmp_path):
    write_table(pd.DataFrame({"cell": ["x"] * (PAGE_ROWS + 1), "mean": 0.5}), tmp_path, "curves")
    assert r"\begin{longtable}" in (tmp_path / "curves.tex").read_text()


def test_what_is_for_eyes_stops_after_many_rows_and_says_so(tmp_path):
    write_table(pd.DataFrame({"cell": ["x"] * (READABLE_ROWS + 7), "mean": 0.5}), tmp_path, "curves")
    assert len(pd.read_csv(tmp_path / "curves.csv")) == len(pd.read_parquet(tmp_path / "curves.parquet")) == 2007
    for suffix in ("md", "tex"):
        text = (tmp_path / f"curves.{suffix}").read_text()
        assert text.count("0.5000") == READABLE_ROWS
        assert text.splitlines()[-1].endswith("7 more rows are in curves.csv")


@pytest.mark.skipif(not shutil.which("pdflatex"), reason="pdflatex is not installed")
@pytest.mark.parametrize("study", STUDIES)
def test_the_tables_compile_and_fit_the_page(tmp_path, study):
    run = STUDIES[study](tmp_path / "run")
    write_report(run)
    odd = pd.DataFrame({"cell": ["50 % & $x$_{2} #1 ~ ^ \\ − × ± ≤ β γ η² → …"], "mean": [-1e-9]})
    write_table(odd, run / "report", "odd")
    head = r"\documentclass{article}\usepackage{booktabs,longtable,graphicx}\begin{document}"
    inputs = "\n".join(rf"\input{{report/{name}.tex}}" for name in tables_of(run))
    (run / "paper.tex").write_text(f"{head}\n{inputs}\n\\end{{document}}\n")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=run, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Missing character" not in done.stdout
    assert "Overfull \\hbox" not in done.stdout


def simple(path, **changes):
    outcomes = {"baseline": [0.8, 0.81, 0.82], "loss=a": [0.9, 0.91, 0.93]}
    return runs.write_outcomes(path, runs.study(outcomes, **changes), outcomes)


def names(run):
    report = run / "report"
    return {str(path.relative_to(report)) for path in report.rglob("*") if path.is_file()}


def test_what_a_later_report_no_longer_writes_is_gone(tmp_path):
    run = simple(tmp_path, further_metrics=["val_roughness"])
    write_report(run)
    assert "ablation_val_roughness.parquet" in names(run)
    simple(tmp_path)
    write_report(run)
    assert not [name for name in names(run) if "roughness" in name]
    assert json.loads((run / "report" / "manifest.json").read_text())["files"] == sorted(names(run) - {"manifest.json"})


def test_files_of_others_stay(tmp_path):
    run = simple(tmp_path)
    write_report(run)
    mine = ["notes.md", "ablation_notes.csv", "ablation.xlsx", "figures/mine.svg", "factor_thoughts.md", "sub/why.csv"]
    for name in mine:
        (run / "report" / name).parent.mkdir(exist_ok=True)
        (run / "report" / name).write_text("mine")
    write_report(run)
    assert set(mine) <= names(run)


def test_a_folder_without_a_manifest_loses_nothing(tmp_path):
    run = simple(tmp_path)
    write_report(run)
    (run / "report" / "manifest.json").unlink()
    for name in ("effects.csv", "figures/pareto.svg", "summary.csv"):
        (run / "report" / name).write_text("old")
    write_report(run)
    assert {"effects.csv", "figures/pareto.svg", "summary.csv", "ablation.csv"} <= names(run)


def test_a_figure_of_an_earlier_version_goes_with_its_manifest(tmp_path):
    run = simple(tmp_path)
    write_report(run)
    (run / "report" / "figures" / "curves.svg").write_text("old")
    (run / "report" / "manifest.json").write_text('{"files": ["figures/curves.svg", "index.html"]}')
    write_report(run)
    assert "figures/curves.svg" not in names(run)
    assert "figures/curves_loss.svg" in names(run)


@pytest.mark.parametrize(
    "text",
    [
        '{"files": ["../trials.parquet", "/etc/x.csv", "figures/../../log.md", "notes.txt", 3, "figures", ""]}',
        '{"files": 3}',
        '["ranking.csv"]',
        "not JSON",
    ],
)
@pytest.mark.matrix
def test_a_manifest_cannot_name_what_no_report_writes(tmp_path, text):
    run = simple(tmp_path)
    write_report(run)
    (run / "log.md").write_text("mine")
    (run / "report" / "notes.txt").write_text("mine")
    (run / "report" / "manifest.json").write_text(text)
    write_report(run)
    assert (run / "trials.parquet").exists()
    assert (run / "log.md").exists()
    assert {"notes.txt", "ranking.csv", "figures/curves_loss.svg"} <= names(run)


def test_a_report_killed_half_way_leaves_nothing_unknown(tmp_path, monkeypatch):
    run = simple(tmp_path, further_metrics=["val_roughness"])
    written = []

    def dies(table, folder, name, *options):
        written.append(name)
        if name == "curves":
            raise KeyboardInterrupt
        write_table(table, folder, name, *options)

    monkeypatch.setattr("analysis.report.exports.write_table", dies)
    with pytest.raises(KeyboardInterrupt):
        write_report(run)
    assert "ablation_val_roughness.csv" in names(run)
    monkeypatch.undo()
    simple(tmp_path)
    write_report(run)
    assert not [name for name in names(run) if "roughness" in name]
