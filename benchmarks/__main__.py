"""`python -m benchmarks [NAME] [--json]`: one benchmark per module; with --json the last line is one JSON object."""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import click

BENCHMARKS = {
    "data": "opening a cached data set, against decoding its pictures",
    "epoch": "an epoch from photos on disk to metrics, against the textbook's pipeline",
    "overhead": "what a trial costs besides its training, against plain Ray Tune",
    "study": "finished trials an hour of a search, against the textbooks' scripts",
    "start": "what a user waits for beside the training, against importing torch and starting Ray",
    "live": "what the trials compute, against what the live page beside them does",
    "fuse": "trials trained as one program, against one after the other",
    "report": "the report of a run, against a table of means in pandas",
    "forecast": "what `plan` forecasts of ten runs, against what they take",
}
WORK = {"photos": "study", "faces48": "faces48"}  # the module of each work of `study`


class Eights(click.IntRange):
    """A multiple of eight."""

    def __init__(self) -> None:
        super().__init__(8)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        number = int(super().convert(value, param, ctx))
        if number % 8:
            self.fail(f"{number} is no multiple of 8", param, ctx)
        return number


@click.command()
@click.argument("name", type=click.Choice(list(BENCHMARKS)), required=False)
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object.")
@click.option("--work", type=click.Choice(list(WORK)), help="Of study: what its trials train (default: photos).")
@click.option("--trials", type=Eights(), help="Of study --work faces48: so many are run once, too; a multiple of 8.")
@click.option("--run-dir", type=click.Path(exists=True, path_type=Path), help="Of start: a run to report.")
@click.option("--pairs", type=click.IntRange(1), help="How many pairs, of benchmarks that take it.")
def main(name: str | None, as_json: bool, work: str | None, **options: Any) -> None:
    """Run one benchmark, or all."""
    if work and name != "study":
        raise click.UsageError("--work is for study")
    given = {key: value for key, value in options.items() if value is not None}
    for each in [name] if name else BENCHMARKS:
        run = importlib.import_module(f"benchmarks.{WORK[work] if work else each}").run
        if unknown := sorted(given.keys() - inspect.signature(run).parameters.keys()):
            raise click.UsageError(f"{each} takes no {', '.join(f'--{key}'.replace('_', '-') for key in unknown)}")
        result = run(**given)
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
