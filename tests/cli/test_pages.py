"""The commands of README and of the docs, run in their order as they stand, with fewer images, epochs and seeds.

What a page needs from elsewhere has a stand-in: made pictures, a folder for the bucket, SQLite for the tracking server,
this machine for the cluster.
"""

import shlex
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ROOT, Cli
from tests.datasets.makers import make_expressions, make_faces, make_table
from tests.test_docs import CALL, blocks

pytestmark = pytest.mark.usefixtures("undrawn")
NAMES = {
    "STUDY": "digits/long-tail",
    "DIR": ".",
    "RUN_DIR": "results/digits/long-tail",
    "RUN_A": "results/digits/long-tail",
    "RUN_B": "results/digits/long-tail",
}
LESS = {"--epochs": "2", "--seeds": "2", "--samples": "4"}
LIMITS = ("--limit-train", "60", "--limit-eval", "30")


def smaller(command: str) -> list[str]:
    """The words of a command, with names for its placeholders and amounts that take seconds."""
    words = [NAMES.get(word, word) for word in shlex.split(command.partition("  #")[0].removeprefix(CALL))]
    words = [LESS.get(before, word) for before, word in zip(["", *words], words, strict=False)]
    if words[0] in ("plan", "run"):
        given = {"--epochs": "1", "--seeds": "1"}
        words += [*LIMITS, *(part for option in given.items() if option[0] not in words for part in option)]
    return [word for word in words if word != "--serve"]


@pytest.mark.matrix
@pytest.mark.parametrize(("page", "file"), [("README.md", "momentum.yaml"), ("docs/first-study.md", "first.yaml")])
def test_the_commands_of_a_page_run_in_their_order(
    page: str, file: str, cli_here: Cli, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for snippet in blocks(ROOT / page, "python"):
        exec(snippet, {})
    Path(file).write_text(blocks(ROOT / page, "yaml")[0], encoding="utf-8")
    assert len(_calls(page)) >= 7
    for line in _calls(page):
        done = cli_here(*smaller(line))
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        assert done.stdout


STAND_INS = {
    "OUT": "results/out",
    "LISTS": "lists",
    "auto": "local",
    "http://host:5000": "sqlite:///mlflow.db",
    "s3://bucket/run": "file://{here}/bucket/run",
}


@pytest.mark.long
@pytest.mark.parametrize("page", ["docs/operations.md", "docs/studies.md", "docs/results.md"])
def test_the_commands_of_a_reference_page_run(
    page: str, cli_here: Cli, local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_table(make_expressions(make_faces(tmp_path)))
    Path("momentum.yaml").write_text(blocks(ROOT / "README.md", "yaml")[0], encoding="utf-8")
    Path("points.yaml").write_text("- {optimizer.lr: 0.05}\n", encoding="utf-8")
    for folder, shade in (("photos", 9), ("root/a", 50), ("root/b", 150)):
        Path(folder).mkdir(parents=True)
        for number in range(30):
            Image.new("L", (8, 8), shade + number).save(f"{folder}/{number}.png")
    first = ["run", "digits/long-tail", "--epochs", "1", "--seeds", "1", *LIMITS]
    for place, words in enumerate([first, *map(smaller, _calls(page))]):
        words = [STAND_INS.get(word, word).format(here=tmp_path) for word in words]
        if "TRIAL" in words:
            words[words.index("TRIAL")] = next(Path("results/digits/long-tail/predictions").iterdir()).stem
        if "folder/ablation" in words:
            words[words.index("--data-root") + 1] = "root"
        if words[0] == "run" and "--out" not in words and Path("results", words[1], "study.json").exists():
            words += ["--out", f"results/more-{place}"]
        done = cli_here(*words)
        assert done.returncode == 0, f"{words}\n{done.stdout}{done.stderr}"


def _calls(page: str) -> list[str]:
    return [line for text in blocks(ROOT / page, "") for line in text.splitlines() if line.startswith(CALL)]
