"""Searches over the user's own code, and what follows from them, by the search's copies alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.user_code.references import use
from engine.cli.options import study_named
from engine.planning.own_code import with_short_references
from engine.planning.run_options import Options
from engine.search.confirm import confirmation
from engine.search.winner import around
from tests.engine.planning.test_own_code import COMPONENT
from tests.engine.sequential import Drive
from tests.own_code import write_own_code
from tests.records import ends, events
from trainables.registry import LOSSES

pytestmark = pytest.mark.usefixtures("undrawn")
SEARCH = """
name: mine
workload: own
epochs: 1
samples: 4
sampler: random
code: [mine_too.py]
baseline: {dataset.name: mine.py:Stripes, dataset.channels: 1, model.name: mine.py:Net, optimizer.lr: 0.1}
space:
- {key: model.name, choices: [mine.py:Net, mine.py:wide]}
- {key: model.args.width, low: 4, high: 12, when: {model.name: [mine.py:Net]}}
- {key: loss.name, choices: [scaled, mine.py:poly]}
- {key: loss.args.epsilon, low: 0.5, high: 2.0, when: {loss.name: [mine.py:poly]}}
"""


@pytest.fixture
def searched(tmp_path: Path, drive: Drive) -> Iterator[tuple[Path, Any]]:
    """(a search's run, the search); the files that it began with are gone."""
    file = write_own_code(tmp_path / "code").parent / "search.yaml"
    file.write_text(SEARCH)
    (file.parent / "mine_too.py").write_text(COMPONENT)
    study, options = with_short_references(study_named(str(file), None), Options())
    run = drive(study, tmp_path / "search", **options.model_dump(exclude_defaults=True))
    file.parent.rename(tmp_path / "gone")
    use({})
    yield run, study
    LOSSES.pop("scaled", None)
    use({})


def test_arguments_and_references_are_searched_and_the_winner_is_confirmed(
    searched: tuple[Path, Any], drive: Drive, tmp_path: Path
) -> None:
    run, _ = searched
    configs = [event["config"] for event in events(run) if event["event"] == "start"]
    widths = {config["model"]["args"]["width"] for config in configs if config["model"]["name"] == "mine.py:Net"}
    assert all(isinstance(width, int) and 4 <= width <= 12 for width in widths)
    study, options = confirmation(run, 1, Options(seeds=3))
    assert study.code == ("mine_too.py",)  # which every process of the run loads
    confirmed = drive(study, tmp_path / "confirm", **options.model_dump(exclude_defaults=True))
    assert {end["status"] for end in ends(confirmed).values()} == {"finished"}
    names = {file.name for file in (confirmed / "code").rglob("*.py")}
    assert names == {"mine.py", "mine_too.py", "helpers.py", "datasets.py", "__init__.py"}


def test_its_winner_s_settings_are_asked_about(searched: tuple[Path, Any], drive: Drive, tmp_path: Path) -> None:
    run, study = searched
    asked, options = around(study, Options(seeds=2, design="leave_one_out"), run)
    made = drive(asked, tmp_path / "around", **options.model_dump(exclude_defaults=True))
    assert {end["status"] for end in ends(made).values()} == {"finished"}


def test_finished_trials_of_the_same_code_are_taken_over_from_another_run(
    tmp_path: Path, drive: Drive, trained: list[int]
) -> None:
    study = write_own_code(tmp_path / "code")
    asked, options = with_short_references(study_named(str(study), None), Options(seeds=1))
    first = drive(asked, tmp_path / "first", **options.model_dump(exclude_defaults=True))
    elsewhere = write_own_code(tmp_path / "elsewhere")
    trained.clear()
    asked, options = with_short_references(study_named(str(elsewhere), None), Options(seeds=1, reuse_from=str(first)))
    second = drive(asked, tmp_path / "second", **options.model_dump(exclude_defaults=True))
    assert trained == []
    assert ends(second).keys() == ends(first).keys()
    use({})
