"""docs/settings.md and `settings` say the same, leave no setting without a word, and know their own kinds only."""

import pytest

from engine.cli.settings import setting_rows, settings_text
from tests.conftest import ROOT, Cli
from trainables.config import KINDS, SINGLE, TrialConfig, flatten, resolve

KIND_NAMES = list(TrialConfig.model_fields)


def test_the_page_of_settings_is_what_the_command_prints(cli_here: Cli) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_text(), "renew it: python run_search.py settings > docs/settings.md"
    assert cli_here("settings").stdout == page


@pytest.mark.parametrize("kind", KIND_NAMES)
def test_a_kind_alone_is_its_part_of_the_page(kind: str, cli_here: Cli) -> None:
    shown = cli_here("settings", kind).stdout
    assert shown.startswith(f"## {kind}\n")
    assert shown in settings_text()


def test_every_setting_and_every_component_has_a_description() -> None:
    assert [row[0] for row in setting_rows() if not row[-1]] == []
    components = [owner for registry in KINDS.values() for owner in registry.values()]
    assert [owner.__name__ for owner in components if not owner.__doc__] == []


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, registry in KINDS.items() for name in registry])
def test_a_configuration_has_no_setting_that_the_page_leaves_out(kind: str, name: str) -> None:
    known = {row[0].strip("`") for row in setting_rows()}
    config = resolve({"dataset.name": "digits", "model.name": "small_cnn", f"{kind}.name": name})
    names = {key for key in flatten(config) if not key.endswith(".name")}
    assert names <= known
    assert names >= SINGLE


def test_what_is_said_of_a_setting_is_what_its_field_says() -> None:
    rows = {row[0]: row[1:] for row in setting_rows()}
    assert rows["`schedule.eta_min`"] == ("number", "`0.0`", "≥ 0", "", "the lowest rate")
    assert rows["`model.channels`"][:4] == ("list: whole number", "`[16, 32]`", "each > 0", "")
    assert rows["`training.precision`"][:4] == ("choice", '`"fp32"`', "`fp32`, `bf16`", "")
    assert rows["`augmentation.hue`"][2:4] == ("≥ 0, ≤ 0.5", "0 to 0.25")


def test_an_unknown_kind_is_refused_with_the_nearest(cli_here: Cli) -> None:
    done = cli_here("settings", "optimzer")
    assert done.returncode == 2
    assert done.stderr.startswith("error: settings optimzer: no such kind; allowed: dataset, model, loss")
    assert "did you mean 'optimizer'?" in done.stderr
