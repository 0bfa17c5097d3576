"""`python -m benchmarks [NAME] [--json]`: one claim a file; with --json the last line is one JSON object."""

import importlib
import json

import click

BENCHMARKS = {"data": "opening a cached data set, against decoding its pictures"}


@click.command()
@click.argument("name", type=click.Choice(list(BENCHMARKS)), required=False)
@click.option("--json", "as_json", is_flag=True, help="The last line is one JSON object.")
def main(name: str | None, as_json: bool) -> None:
    """Run one benchmark, or all."""
    for each in [name] if name else BENCHMARKS:
        result = importlib.import_module(f"benchmarks.{each}").run()
        peer = f"ours {result['median_ours']:.3g} s, {result['peer']} {result['median_peer']:.3g} s"
        click.echo(
            f"{each}: {BENCHMARKS[each]}: {result['ratio']:.3g} × ({peer}; {result['runs']} pairs, ratios from "
            f"{result['spread'][0]:.3g} to {result['spread'][1]:.3g}, 1 thread, load {result['load']:.1f})"
        )
        for note in result.get("notes", []):
            click.echo(f"  {note}")
        if as_json:
            click.echo(json.dumps(result))


if __name__ == "__main__":
    main()
