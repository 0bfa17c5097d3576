"""What of a run's records must be equal between two runs of one plan: everything but time and place."""

import json
from pathlib import Path
from typing import Any

VARIES = {"seconds", "node", "device", "error", "execution", "time", "started_at", "ended_at", "outputs"}


def events(run: Path) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in event.items() if name not in ("line", "crc")} for event in found]


def epoch_rows(run: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """Rows of the log by (trial, epoch), the last one of each."""
    return {(e["trial"], e["epoch"]): _fixed(e) for e in events(run) if e["event"] == "epoch"}


def ends(run: Path) -> dict[str, dict[str, Any]]:
    return {e["trial"]: _fixed(e) for e in events(run) if e["event"] == "end"}


def _fixed(event: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in event.items() if key not in VARIES}
