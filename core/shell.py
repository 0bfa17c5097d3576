"""Commands that are printed for a user's shell: every path, URL, name and value in them is a `word`."""

from shlex import quote


def word(text: object) -> str:
    """One word of a command: quoted where the shell would take it apart, and never read as an option."""
    plain = str(text)
    return quote(f"./{plain}" if plain.startswith("-") else plain)
