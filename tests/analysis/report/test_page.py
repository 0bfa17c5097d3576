"""What the page says of a run in any state, and what it is made of; test_page_browser.py opens it."""

import json
import re

import pandas as pd
import pytest

from analysis.figures.gallery import Gallery, GalleryImage
from analysis.figures.theme import Figure
from analysis.records.store import read_records
from analysis.report.build import write_report
from analysis.report.caveats import caveats, fraction_done, running_now
from analysis.report.contents import report_tables
from analysis.report.narrative import Answer, foremost, tally
from analysis.report.page import ANSWERS, FIRST_ANSWERS, _summary, page
from analysis.tables.ablation import ablation_table
from tests.analysis import runs
from tests.analysis.page_text import Text, words
from tests.analysis.states import STATES, THREE, ablation, search

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.mark.parametrize("state", STATES)
def test_a_run_of_any_state_says_what_it_can_tell_and_what_not(page_of_state, state):
    index = page_of_state(state)
    text = words(index)
    for sentence in STATES[state][1]:
        assert sentence in text
    assert "Does the loss matter?" in text
    assert "nan" not in re.sub(r"(?s)<script.*", "", index.read_text(encoding="utf-8")).lower().split()


def test_a_whole_run_has_no_limits(tmp_path):
    records = read_records(ablation(tmp_path, {"baseline": THREE, "loss=a": THREE}))
    assert caveats(records) == []
    assert running_now(records) == []
    assert fraction_done(records) == (6, 6)


def test_copies_in_the_data_are_told_in_any_state(tmp_path):
    run = ablation(tmp_path, {"baseline": THREE, "loss=a": THREE})
    study = json.loads((run / "study.json").read_text())
    study["data"] = {**study.get("data", {}), "leaks": ["2 identical pictures across splits, e.g. a = b", "and more"]}
    (run / "study.json").write_text(json.dumps(study))
    (told,) = caveats(read_records(run))
    assert "2 identical pictures across splits, e.g. a = b; and more" in told
    assert told in words(write_report(run))
    (run / "log.jsonl").unlink()
    assert caveats(read_records(run))[-1] == told


def test_only_the_page_of_an_unfinished_run_reloads_itself_and_tells_its_time(tmp_path):
    finished = write_report(ablation(tmp_path / "a", {"baseline": THREE})).read_text(encoding="utf-8")
    running = write_report(ablation(tmp_path / "b", {"baseline": ["running"]})).read_text(encoding="utf-8")
    for sign in ('http-equiv="refresh"', "data-written=", "Written 20", "<progress"):
        assert (sign in finished, sign in running) == (False, True)


def test_answers_stand_clear_ones_first_and_the_rest_behind_a_fold(tmp_path):
    cells = {"baseline": THREE} | {f"loss=l{number}": [0.5, 0.9, 0.6] for number in range(FIRST_ANSWERS + 3)}
    cells |= {"loss=much": [0.90, 0.912, 0.93]}
    index = write_report(ablation(tmp_path, cells))
    html, text = index.read_text(encoding="utf-8"), words(index)
    first = html[html.index('<ul class="answers">') : html.index("</ul>")]
    assert first.count("<li") == FIRST_ANSWERS
    assert first.index("loss = much") < first.index("loss = l0")
    assert "4 more" in text
    assert f"Of {len(cells) - 1}: 1 better, {FIRST_ANSWERS + 3} no clear difference." in text
    fold = html[html.index("<summary>4 more") : html.index("</details>")]
    assert fold.count("<li") == 4


@pytest.mark.matrix
def test_more_answers_than_a_page_holds_are_counted(tmp_path):
    cells = {"baseline": [0.5]} | {f"loss=l{number}": [0.5] for number in range(ANSWERS + 5)}
    text = words(write_report(ablation(tmp_path, cells, seeds=[0])))
    assert "5 more are in ablation.csv." in text
    assert "The first 300 rows" not in text


def test_foremost_puts_gains_before_losses_and_keeps_the_order_of_equals():
    verdicts = ["no clear difference", "worse", "too few runs", "they interact", "better", "worse"]
    found = [Answer(name, "", verdict) for name, verdict in zip("abcdef", verdicts, strict=True)]
    assert "".join(answer.subject for answer in foremost(found)) == "ebdfac"
    assert tally(found) == "Of 6: 1 better, 2 worse, 1 they interact, 1 no clear difference, 1 too few runs."
    assert tally(found[:4]) == ""


def shown(path, figures=(), galleries=()):
    records = read_records(ablation(path, {"baseline": THREE, "loss=a</script>": [0.9, 0.91, 0.93]}))
    return records, page(records, report_tables(records), figures, galleries)


def bar(name, section):
    import altair as alt

    chart = alt.Chart(alt.InlineData(values=[{"x": "</script><!--", "y": 1}])).mark_bar().encode(x="x:N", y="y:Q")
    return Figure(name, section, f"Title of {name}", "How to read it.", chart)


def test_a_figure_joins_its_section_and_an_unknown_section_comes_last(tmp_path):
    _, html = shown(tmp_path, [bar("one", "why"), bar("two", "novelties"), bar("three", "why")])
    parts = {found[1]: found[0] for found in re.findall(r'(?s)(<section id="(\w+)".*?</section>)', html)}
    assert list(parts)[-1] == "novelties"
    assert ">Novelties</h2>" in parts["novelties"]
    assert re.findall(r'data-figure="(\w+)"', parts["why"]) == ["one", "three"]
    assert 'href="figures/one.svg"' in parts["why"]
    assert html.count('href="#novelties"') == 2


def test_no_text_of_the_records_ends_a_script(tmp_path):
    _, html = shown(tmp_path, [bar("one", "why")])
    parser = Text()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    scripts = re.findall(r'(?s)<script type="application/json" id="drawing">(.*?)</script>', html)
    assert len(scripts) == 1
    values = [row for rows in json.loads(scripts[0])["specs"]["one"]["datasets"].values() for row in rows]
    assert values == [{"x": "</script><!--", "y": 1}]


def test_a_gallery_is_held_by_the_page(tmp_path):
    gallery = Gallery("seen", "pictures", "Seen", "What was seen.", (GalleryImage(b"\x89PNG", "a cat", 'a "cat"'),))
    _, html = shown(tmp_path, galleries=[gallery, Gallery("none", "pictures", "None", "Nothing was kept.", ())])
    assert '<img src="data:image/png;base64,iVBORw==" alt="a &#34;cat&#34;">' in html
    assert "Nothing was kept." in html
    assert html.count("<img") == 1


def test_cells_are_sorted_by_the_number_in_full(tmp_path):
    records, html = shown(tmp_path)
    delta = ablation_table(records, runs.METRIC)["delta"].iloc[0]
    assert f'<td class="num strong" data-v="{delta}">' in html
    assert float(f"{delta}") == delta


@pytest.mark.matrix
def test_long_tables_stop_and_say_where_the_rest_is(tmp_path):
    cells = {"baseline": [0.5]} | {f"loss=l{number}": [0.5] for number in range(310)}
    text = words(write_report(ablation(tmp_path, cells, seeds=[0])))
    assert "The first 300 rows; 10 more are in ablation.csv." in text
    assert "The trials of 11 more cells are in trials.parquet." in text
    assert "loss: which of 311 levels?" in text


def test_what_a_large_search_leaves_out_of_its_tables_is_where_the_page_says(tmp_path):
    index = write_report(search(tmp_path, {f"c{number}": [0.5] for number in range(130)}, samples=130, epochs=1))
    text = words(index)
    assert "The best 12 cells; 88 more are in curves.csv, 30 only in epochs.parquet." in text
    assert "The best 100; 30 more are only in trials.parquet." in text
    assert "1 epoch " in text
    assert "1 epochs" not in text
    listed = {name: set(pd.read_csv(tmp_path / "report" / f"{name}.csv")["cell"]) for name in ("curves", "stability")}
    assert {name: len(cells) for name, cells in listed.items()} == {"curves": 100, "stability": 100}
    assert pd.read_parquet(tmp_path / "epochs.parquet")["trial"].nunique() == 130


@pytest.mark.parametrize(
    ("study", "said"),
    [
        (runs.study(), "at the epoch with the best val_reference · validation chose the epoch, test is shown"),
        (runs.study(selection={"rule": "last"}), "at the last epoch · no split chose the epoch, test is shown"),
        (runs.search(), "validation proposes and ranks, test is shown beside it"),
    ],
    ids=["best", "last", "search"],
)
def test_the_subtitle_says_which_split_chose_and_which_is_shown(tmp_path, study, said):
    records = read_records(runs.write_outcomes(tmp_path, study, {"baseline": [0.7, 0.71, 0.72]}))
    assert said in _summary(records)
