"""What the records of a run say: tables, figures and a report, from its files alone.

`from analysis import Run` opens a run directory in Python; importing `analysis` alone loads nothing.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analysis.run import Run

__all__ = ["Run"]


def __getattr__(name: str) -> Any:
    if name == "Run":
        from analysis.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
