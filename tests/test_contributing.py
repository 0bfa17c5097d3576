"""Every snippet of CONTRIBUTING is run: its components register from a file outside of the tree, and are used."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from analysis.tables.spec import TABLES
from core.user_code.references import use
from search_spaces.designs import DESIGNS
from tests.conftest import ROOT, Cli
from tests.test_docs import blocks
from trainables.config import KINDS
from trainables.registry import WORKLOADS

IMPORTS = """
from collections import OrderedDict
from itertools import pairwise
from typing import Annotated, Literal

from torch import nn

from core.component import Range
from core.designs import DesignTraits
from datasets.registry import DATASETS
from datasets.sources.folders import ImageFiles, Side, class_folder_source, find_folder
from search_spaces.designs import Comparison, Design, Layout, OneAtATime, register
from trainables.losses import CrossEntropy
from trainables.models.base import Model
from trainables.registry import LOSSES, MODELS, SCHEDULES, WORKLOADS
from trainables.schedules import Gamma, Schedule
from trainables.trainable import VisionTrainable
"""
STUDY = """
code: [extensions.py]
name: extended
workload: digits
design: pairs
epochs: 3
seeds: 3
baseline: {model.name: lenet, loss.name: poly, optimizer.lr: 0.01}
factors:
- name: schedule
  levels: [{name: constant}, {name: exponential, settings: {schedule.name: exponential, schedule.gamma: 0.5}}]
- name: epsilon
  levels: [{name: one}, {name: two, settings: {loss.epsilon: 2.0}}]
"""
SNIPPETS = blocks(ROOT / "CONTRIBUTING.md", "python")
ELSEWHERE = ("def top_score",)  # run by tests/trainables/test_metrics.py


@pytest.fixture
def registries() -> Iterator[None]:
    """As they were, for the tests after this one."""
    known = [*KINDS.values(), DESIGNS, TABLES, WORKLOADS]
    before = [dict(registry) for registry in known]
    yield
    for registry, entries in zip(known, before, strict=True):
        for name in registry.keys() - entries.keys():
            del registry[name]
    use({})


def extensions() -> list[str]:
    """The snippets that define a class and register it."""
    return [text for text in SNIPPETS if "class " in text and not text.startswith(ELSEWHERE)]


def test_the_components_of_the_page_are_planned_with(tmp_path: Path, cli_here: Cli, registries: None) -> None:
    (tmp_path / "extensions.py").write_text("\n".join([IMPORTS, *extensions()]))
    (tmp_path / "study.yaml").write_text(STUDY)
    done = cli_here("plan", tmp_path / "study.yaml")
    assert done.returncode == 0, done.stderr
    assert "9 trials" in done.stdout
    for name in ("daisy", "rose"):
        (tmp_path / "data" / "flowers" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8), (number, 90, 200)).save(tmp_path / "data" / "flowers" / name / f"{number}.png")
    prepared = cli_here("prepare", "flowers", "--data-root", tmp_path / "data")
    assert prepared.returncode == 0, prepared.stderr
    assert "daisy" in prepared.stdout


def test_a_setting_of_the_page_is_a_field_with_a_docstring() -> None:
    (text,) = (text for text in SNIPPETS if text.startswith("    dropout_rate"))
    body = ast.parse(f"class Placed:\n{text}").body[0]
    assert isinstance(body, ast.ClassDef)
    assert [type(each) for each in body.body] == [ast.AnnAssign, ast.Expr]


def test_no_snippet_of_the_page_is_left_out_or_long() -> None:
    counted = [*extensions(), *(text for text in SNIPPETS if text.startswith(("    dropout_rate", *ELSEWHERE)))]
    assert sorted(counted) == sorted(SNIPPETS)
    for text in SNIPPETS:
        assert len([line for line in text.splitlines() if line.strip()]) <= 10, text
