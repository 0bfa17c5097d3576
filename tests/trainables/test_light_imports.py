"""What lists and reports import stays light: components load torch only when they build."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = {"torch", "torchvision", "ray", "sklearn", "pandas", "pyarrow", "optuna", "PIL"}


@pytest.mark.parametrize(
    "modules", ["trainables.config, trainables.registry, search_spaces.registry", "trainables.trial_key"]
)
def test_looking_up_components_and_studies_imports_nothing_heavy(modules: str) -> None:
    code = f"import sys, {modules}; print({HEAVY} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True) == "set()\n"
