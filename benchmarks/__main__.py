"""`python -m benchmarks [NAME] [--json]`: one benchmark per module; with --json the last line is one JSON object."""

import importlib
import json
from typing import Any

import click

BENCHMARKS = {
    "data": "opening a cached data set, against decoding its pictures",
    "epoch": "an epoch from photos on disk to metrics, against the textbook's pipeline",
    "overhead": "what a trial costs besides its training, against plain Ray Tune",
    "study": "finished trials an hour of a search, against the textbooks' scripts",
    "fuse": "trials trained as one program, against one after the other",
    "report": "the report of a run, against a table of means in pandas",
    "forecast": "what `plan` forecasts of ten runs, against what they take",
}


@click.command()
@click.argument("name", type=click.Choice(list(BENCHMARKS)), required=False)
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object.")
def main(name: str | None, as_json: bool) -> None:
    """Run one benchmark, or all."""
    for each in [name] if name else BENCHMARKS:
        result = importlib.import_module(f"benchmarks.{each}").run()
        case = f": {result['case']}" if "case" in result else ""
        click.echo(f"{each}: {BENCHMARKS[each]}{case}: {claim(result)}")
        for case in result.get("cases", []):
            click.echo(f"  {case['name']}: {claim(case)}")
        for note in result.get("notes", []):
            click.echo(f"  {note}")
        if as_json:
            click.echo(json.dumps(result))


def claim(result: dict[str, Any]) -> str:
    """A result as one line."""
    if "claim" in result:
        return str(result["claim"])
    pairs = "1 pair" if result["runs"] == 1 else f"{result['runs']} pairs"
    low, high = result["spread"]
    return (
        f"{result['ratio']:.3g} × (ours {result['median_ours']:.3g} s, {result['peer']} {result['median_peer']:.3g} s; "
        f"{pairs}, ratios from {low:.3g} to {high:.3g}, {result['threads']} thread a process, "
        f"load {result['load']:.1f})"
    )


if __name__ == "__main__":
    main()
