"""README and docs: every study plans, every command parses, every link leads somewhere, nothing grows past its page."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from PIL import Image

from core.user_code.references import use
from datasets.sources.table import Table
from engine.cli.options import study_named
from engine.planning.own_code import with_short_references
from engine.planning.plan import make_plan
from engine.planning.run_options import Options
from run_search import main
from tests.conftest import ROOT, Cli

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
CALL = "python run_search.py "
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SOURCE = re.compile(r"`((?:core|datasets|trainables|search_spaces|engine|analysis|tests)/[\w/]+\.py)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def studies() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        yield from ((page.name, text) for text in blocks(page, "yaml"))


def commands() -> Iterator[str]:
    """What follows the program's name, from fenced blocks and from inline code that names a command in full."""
    for page in PAGES:
        lines = [line for text in blocks(page, "") for line in text.splitlines()]
        lines += re.findall(r"`(python run_search\.py [^`]+)`", FENCE.sub("", page.read_text(encoding="utf-8")))
        yield from (line.removeprefix(CALL).partition("  #")[0] for line in lines if line.startswith(CALL))


STUDIES, COMMANDS = list(studies()), sorted(set(commands()))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    for shade, name in enumerate(("cat", "dog")):
        (root / name).mkdir()
        for number in range(30):
            Image.new("L", (8, 8), 100 * shade + number).save(root / name / f"{number:02d}.png")
    rows = [f"{name}/{number:02d}.png,{name},{name} {number // 3}" for name in ("cat", "dog") for number in range(30)]
    (root / "labels.csv").write_text("\n".join(["filename,label,patient", *rows]))
    return root


@pytest.mark.parametrize(("page", "text"), STUDIES, ids=[f"{page} {n}" for n, (page, _) in enumerate(STUDIES)])
def test_every_study_plans(page: str, text: str, tmp_path: Path, pictures: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text, encoding="utf-8")
    (source,) = (path for path in PAGES if path.name == page)
    (tmp_path / "mine.py").write_text("\n".join(blocks(source, "python")))
    study, options = with_short_references(study_named(str(file), str(pictures)), Options(data_root=str(pictures)))
    plan = make_plan(study, options, tmp_path / "run")
    assert plan.invalid == []
    assert plan.trials or study.kind == "search"


def test_the_user_s_own_data_set_of_the_page_is_prepared_as_it_says(
    cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "own-code.md"
    (tmp_path / "mine.py").write_text("\n".join(blocks(page, "python")))
    (line,) = (line for text in blocks(page, "") for line in text.splitlines() if " prepare " in line)
    done = cli_here(*shlex.split(line.removeprefix(CALL)))
    assert done.returncode == 0, done.stderr
    assert "dark" in done.stdout
    use({})


def test_no_snippet_of_code_of_one_s_own_is_longer_than_ten_lines() -> None:
    page = ROOT / "docs" / "own-code.md"
    assert max(len([line for line in text.splitlines() if line]) for text in blocks(page, "python")) <= 10


def test_the_table_of_the_page_has_columns_that_are_guessed(tmp_path: Path) -> None:
    (text,) = blocks(ROOT / "docs" / "studies.md", "csv")
    header, *rows = text.splitlines()
    (tmp_path / "scans").mkdir()
    for i in range(8):
        Image.new("L", (8, 8), i).save(tmp_path / "scans" / f"{i}.png")
    cells = [row.partition(",")[2].split(",") for row in rows]
    more = [f"scans/{i}.png,{cells[i % 2][0]},{i},{cells[i // 4][2]}" for i in range(8)]
    (tmp_path / "labels.csv").write_text("\n".join([header, *more]))
    source = Table().source(tmp_path)
    assert source.faults == ()
    guessed = "path = filename (guessed); label = label (guessed); split = split (guessed); group = patient (guessed)"
    assert source.facts["columns"] == guessed


def test_the_first_study_begins_as_it_says(cli_here: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The snippet writes the pictures that `prepare` then counts as the page has it."""
    monkeypatch.chdir(tmp_path)
    page = ROOT / "docs" / "first-study.md"
    (snippet,), fenced = blocks(page, "python"), blocks(page, "")
    exec(snippet, {})
    place = next(place for place, text in enumerate(fenced) if text.startswith(f"{CALL}prepare "))
    done = cli_here(*shlex.split(fenced[place].removeprefix(CALL)))
    assert done.returncode == 0, done.stderr
    counts = fenced[place + 1].partition("data set:")[0]
    assert counts.count("\n") == 12
    assert done.stdout.startswith(counts)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_parses(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("points.yaml").touch()  # what `--enqueue` names must exist
    words = shlex.split(command.partition(" > ")[0])
    with click.Context(main, **main.context_settings) as group:
        found = main.get_command(group, words[0])
        assert found is not None, f"no command {words[0]}"
        found.make_context(words[0], words[1:], parent=group)


@pytest.mark.parametrize("page", [*PAGES, ROOT / "benchmarks" / "README.md", ROOT / "cluster" / "README.md"])
def test_every_link_leads_to_a_file_and_its_heading(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if "://" in link:
            continue
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in map(anchor, titles), f"{page.name}: {link}"


def anchor(title: str) -> str:
    """A heading's address, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-")


def test_every_file_that_a_page_names_is_there() -> None:
    named = {(page.name, name) for page in PAGES for name in SOURCE.findall(page.read_text(encoding="utf-8"))}
    missing = {(page, name) for page, name in named if not (ROOT / name).exists()}
    assert missing == set()


def test_readme_is_one_page() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


def test_the_pages_hold_what_these_tests_look_for() -> None:
    assert len(STUDIES) >= 7
    assert len(COMMANDS) >= 30
    named = {command.split()[0] for command in COMMANDS}
    assert named == set(main.commands), "every command is shown somewhere"
