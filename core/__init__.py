"""What everything else stands on: settings, errors, metrics, seeds, files, storage, and how code is told apart."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""the folder that the program lies in"""
