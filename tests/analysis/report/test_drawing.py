"""Which figures a report draws, where, and when: after its tables, on other cores, and no figure twice."""

import json

import pytest

from analysis.figures import drawing
from analysis.figures.drawing import Pens, Undrawn, svg
from analysis.report import build
from analysis.report.build import contents_of, make_report, write_report
from analysis.report.contents import report_figures
from tests.analysis import runs

SPEC = {"data": {"values": [{"x": 1}]}, "mark": "point", "encoding": {"x": {"field": "x", "type": "quantitative"}}}


@pytest.fixture
def drawn(monkeypatch):
    """The titles of the figures that were drawn; each by its title, so that nothing is drawn for real."""
    titles = []

    def draw(pens, jobs):
        titles.extend(title for _, title, _ in jobs)
        return [f"<svg>{title}</svg>" for _, title, _ in jobs]

    monkeypatch.setattr(Pens, "start", lambda pens: titles.append("start"))
    monkeypatch.setattr(Pens, "draw", draw)
    return titles


def made(path, **changes):
    outcomes = {"baseline": [0.5, 0.6, 0.7], "loss=a": [0.6, 0.7, 0.9]}
    return runs.write_outcomes(path, runs.study(outcomes, **changes), outcomes)


def test_an_unchanged_figure_is_not_drawn_again(tmp_path, drawn):
    run = made(tmp_path)
    write_report(run)
    assert drawn[0] == "start", "the processes get ready while tables are made"
    assert len(drawn) > 3
    drawn.clear()
    write_report(run)
    assert drawn == []


@pytest.mark.parametrize("damage", ["<svg>edited</svg>", "", None])
def test_a_damaged_edited_or_deleted_figure_is_drawn_again(tmp_path, drawn, damage):
    run = made(tmp_path)
    write_report(run)
    file = run / "report" / "figures" / "ablation.svg"
    whole = file.read_text()
    file.unlink() if damage is None else file.write_text(damage)
    drawn.clear()
    write_report(run)
    assert len(drawn) == 1
    assert file.read_text() == whole


@pytest.mark.parametrize("manifest", ["", "[]", '{"files": 3, "drawn": 4}', '{"drawn": {"ablation.svg": [1]}}', None])
def test_where_the_manifest_says_nothing_of_figures_all_are_drawn(tmp_path, drawn, manifest):
    run = made(tmp_path)
    write_report(run)
    expected = sorted(title for title in drawn if title != "start")
    file = run / "report" / "manifest.json"
    file.unlink() if manifest is None else file.write_text(manifest)
    drawn.clear()
    write_report(run)
    assert sorted(title for title in drawn if title != "start") == expected


def test_only_figures_whose_data_changed_are_drawn(tmp_path, drawn):
    run = made(tmp_path)
    write_report(run)
    every = len(drawn) - 1
    lines = (run / "log.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        if event["event"] == "epoch":
            event["lr"] = 0.02
    (run / "log.jsonl").write_bytes(runs.lines(events))
    drawn.clear()
    write_report(run)
    titles = [title for title in drawn if title != "start"]
    assert titles == ["Learning rate"]
    assert every > 1


def test_another_drawing_program_draws_all(tmp_path, drawn, monkeypatch):
    run = made(tmp_path)
    write_report(run)
    every = len(drawn) - 1
    drawn.clear()
    monkeypatch.setattr("importlib.metadata.version", lambda name: "99")
    write_report(run)
    assert len(drawn) == every


def test_tables_stand_and_are_told_before_figures_are_made(tmp_path, drawn, monkeypatch):
    run, seen = made(tmp_path), []

    def told(tables):
        seen.append(sorted(path.name for path in (run / "report").iterdir() if path.suffix == ".csv"))
        assert "ablation" in tables
        assert not (run / "report" / "index.html").exists()

    def figures(*asked):
        told({"ablation": None})
        return report_figures(*asked)

    monkeypatch.setattr("analysis.report.contents.report_figures", figures)
    make_report(contents_of(run), told)
    assert len(seen) == 2
    for written in seen:
        assert {"ablation.csv", "ranking.csv", "curves.csv"} <= set(written)
    assert len(drawn) > 1


def test_nothing_is_started_where_there_is_nothing_to_draw(tmp_path, drawn):
    write_report(runs.write(tmp_path, runs.study(), []))
    assert drawn == []


def test_a_page_of_tables_alone_leaves_the_figures_of_an_earlier_report(tmp_path, drawn):
    run = made(tmp_path, trials=[*runs.planned(["baseline", "loss=a", "loss=b"], range(3))])
    write_report(run)
    figures = sorted((run / "report" / "figures").iterdir())
    drawn.clear()
    make_report(contents_of(run), drawn=False)
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert drawn == []
    assert "Figures come with the report at the end." in page
    assert sorted((run / "report" / "figures").iterdir()) == figures
    assert 'href="figures/' not in page
    write_report(run)
    assert drawn == [], "they are what they would be"
    assert "Figures come with" not in (run / "report" / "index.html").read_text(encoding="utf-8")


def test_a_lost_drawing_process_is_replaced_and_a_missing_one_costs_its_figures(monkeypatch):
    job = (SPEC, "A & B", "6.4")
    expected = svg(*job)
    assert "<title>A &amp; B</title>" in expected
    with Pens(1) as pens:
        pens.start()
        assert pens.draw([job, job]) == [expected, expected]
        pens.running[0].kill()
        pens.running[0].wait()
        assert pens.draw([job]) == [expected]
    assert pens.running == []

    def none_left():
        raise BlockingIOError("fork: no more processes")

    monkeypatch.setattr(drawing, "_process", none_left)
    with Pens() as pens:
        assert pens.draw([job]) == [Undrawn("no process can be started to draw it")]


def test_what_cannot_be_drawn_or_ends_its_process_costs_itself_alone(monkeypatch):
    good = (SPEC, "A", "6.4")
    wrong = ({"mark": "no such mark", "data": 3}, "Wrong", "6.4")
    crash = ({**SPEC, "data": {"values": [{"x": "\x07"}]}, "encoding": {"x": {"field": "x"}}}, "Crash", "6.4")
    with Pens(2) as pens:
        first, failed, lost, last = pens.draw([good, wrong, crash, good])
    assert first == last == svg(*good)
    assert "Vega" in failed.why
    assert lost == Undrawn("the process that draws it was lost twice")
    assert pens.running == []


def test_a_figure_that_cannot_be_drawn_is_named_by_page_and_report_and_drawn_by_the_next(tmp_path, monkeypatch):
    def fails(pens, jobs):
        return [Undrawn("it <broke>") if "Learning" in title else "<svg/>" for _, title, _ in jobs]

    monkeypatch.setattr(Pens, "start", lambda pens: None)
    run = made(tmp_path)
    monkeypatch.setattr(Pens, "draw", fails)
    report = make_report(contents_of(run))
    page = report.index.read_text(encoding="utf-8")
    assert report.undrawn == {"curves_lr": "it <broke>"}
    assert page.count("Not drawn as a file: it &lt;broke&gt;.") == 1
    assert 'href="figures/curves_lr.svg' not in page
    assert 'href="figures/curves_loss.svg' in page
    assert not (run / "report" / "figures" / "curves_lr.svg").exists()
    assert "figures/curves_lr.svg" not in json.loads((run / "report" / "manifest.json").read_text())["files"]
    monkeypatch.setattr(Pens, "draw", lambda pens, jobs: [f"<svg>{title}</svg>" for _, title, _ in jobs])
    assert make_report(contents_of(run)).undrawn == {}
    assert (run / "report" / "figures" / "curves_lr.svg").read_text() == "<svg>Learning rate</svg>"


def test_a_figure_of_the_user_s_own_that_fails_costs_itself(tmp_path, drawn, monkeypatch):
    def mine(data):
        raise KeyError("<cell>")

    monkeypatch.setattr("analysis.report.contents.FIGURES", [mine])
    report = make_report(contents_of(made(tmp_path)))
    assert report.undrawn == {"mine": "KeyError: '<cell>'"}
    assert "Figures of mine could not be made: KeyError: &#39;&lt;cell&gt;&#39;." in report.index.read_text("utf-8")
    assert len(drawn) > 1


def test_figures_are_made_after_the_page_s_tables_are_told_even_where_telling_fails(tmp_path, drawn):
    def fails(tables):
        raise RuntimeError("the terminal is gone")

    run = made(tmp_path)
    with pytest.raises(RuntimeError):
        make_report(contents_of(run), fails)
    assert (run / "report" / "ablation.csv").exists(), "the tables are written"
    assert build.write_report(run).exists()
