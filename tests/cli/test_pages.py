"""README's commands and the first study's, run in their order as they stand, with fewer images, epochs and seeds."""

import shlex
from pathlib import Path

import pytest

from tests.conftest import ROOT, Cli
from tests.test_docs import CALL, blocks

pytestmark = [pytest.mark.matrix, pytest.mark.usefixtures("undrawn")]
NAMES = {
    "STUDY": "digits/long-tail",
    "DIR": ".",
    "RUN_DIR": "results/digits/long-tail",
    "RUN_A": "results/digits/long-tail",
    "RUN_B": "results/digits/long-tail",
}
LESS = {"--epochs": "2", "--seeds": "2", "--samples": "2"}
LIMITS = ("--limit-train", "60", "--limit-eval", "30")


def smaller(command: str) -> list[str]:
    """The words of a command, with names for its placeholders and amounts that take seconds."""
    words = [NAMES.get(word, word) for word in shlex.split(command.partition("  #")[0].removeprefix(CALL))]
    words = [LESS.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    if words[0] in ("plan", "run"):
        given = {"--epochs": "1", "--seeds": "1"}
        words += [*LIMITS, *(part for option in given.items() if option[0] not in words for part in option)]
    return [word for word in words if word != "--serve"]


@pytest.mark.parametrize(("page", "file"), [("README.md", "momentum.yaml"), ("docs/first-study.md", "first.yaml")])
def test_the_commands_of_a_page_run_in_their_order(
    page: str, file: str, cli_here: Cli, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for snippet in blocks(ROOT / page, "python"):
        exec(snippet, {})
    Path(file).write_text(blocks(ROOT / page, "yaml")[0], encoding="utf-8")
    lines = [line for text in blocks(ROOT / page, "") for line in text.splitlines() if line.startswith(CALL)]
    assert len(lines) >= 7
    for line in lines:
        done = cli_here(*smaller(line))
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout
