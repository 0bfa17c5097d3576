"""Base modules of all other packages: settings, errors, metrics, seeds, files, storage, code hashes."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""the program's folder"""
PACKAGES = frozenset(
    ("analysis", "benchmarks", "core", "datasets", "engine", "run_search", "search_spaces", "tests", "trainables")
)
"""the names in it that are the program's own"""
