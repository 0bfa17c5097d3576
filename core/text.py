"""Text of strangers: which names are allowed, how all else is shown so that it acts on nothing, and what is secret.

A name stands in tables, figures, pages, terminals, file names and commands. What could reorder, hide or end them is
refused in a name, and shown by its number anywhere else. Credentials are neither shown nor recorded.
"""

import re
from collections.abc import Iterator
from shlex import quote
from urllib.parse import unquote

UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # control characters but tab and line feed: a terminal obeys them, XML has none
    "\u2028\u2029\u202a-\u202e\u2066-\u2069"  # separators of lines, and what turns the direction of the text after it
    "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # no characters: of undecodable file names, and what Unicode leaves out
)
WORDS = re.compile(r"\S+")
PASSWORD = re.compile(r"(?<=[:/]/)[^\s/?#:@\[\]'\"]*:(?:[^\s/?#]*@|(?!\d*(?:[/?#\s]|$))\S*@)")
PARAMETER = re.compile(r"(?<=[?&;#])([^\s=&;#?/]+)=([^\s&;#'\"]+)")
SECRET = re.compile(
    r"(?:key|key_?id|access_?id|secret|token|sig|signature|passwd|password|pwd|(?<![a-z])pass|credentials?|auth|"
    r"authorization|(?<![a-z])sas)$",
    re.IGNORECASE,
)
MARKUP = re.compile(
    r"[\\`*~$|]|(?<![^\W_])_|_(?![^\W_])"  # code, emphasis, mathematics, cells; an underscore within a word is none
    r"|<(?=[A-Za-z/!?])|&(?=#?\w+;)|\](?=[(\[:])|:(?=//)|(?<=www)\."  # tags, entities, links
)
HIDDEN = "…"
LONGEST_URL = 2**13
ELSEWHERE = (
    "credentials are taken from the environment: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, "
    "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS"
)


def name_fault(name: str) -> str | None:
    """What no name of a study, factor, level, cell or class may hold, as a clause; None for a name that is allowed."""
    if found := re.search(r"[\t\n\x00-\x1f\x7f-\x9f]", name):
        return f"holds a line break, a tab or another control character ({_number(found[0])})"
    if found := UNSEEN.search(name):
        return f"holds {_number(found[0])}, which is no character or turns the text around it"
    return None


def visible(text: str) -> str:
    """The text with what a terminal, a page or an SVG file would obey or refuse as `\\u001b`; tabs and lines stay."""
    return UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def all_visible(tree: object) -> object:
    """Plain data with every text in it, keys too, as `visible` has it."""
    if isinstance(tree, str):
        return visible(tree)
    if isinstance(tree, dict):
        return {all_visible(key): all_visible(value) for key, value in tree.items()}
    return [*map(all_visible, tree)] if isinstance(tree, list | tuple) else tree


def markdown(text: str) -> str:
    """The text in one line of Markdown, which shows it as it is."""
    return MARKUP.sub(r"\\\g<0>", " ".join(visible(text).split("\n")))


def redacted(text: str) -> str:
    """The text with `…` for the user and password, and for each secret parameter, of every URL in it."""

    def parameter(found: re.Match[str]) -> str:
        return f"{found[1]}={HIDDEN}" if _is_secret(found[1]) else found[0]

    def url(found: re.Match[str]) -> str:
        word = found[0]
        if len(word) > LONGEST_URL and "@" in word:  # else the search for passwords could take for ever
            return HIDDEN
        return PARAMETER.sub(parameter, PASSWORD.sub(f"{HIDDEN}@", word)) if _is_url(word) else word

    return WORDS.sub(url, text) if "/" in text else text


def secrets_in(url: str) -> list[str]:
    """What of a URL is secret: `a password`, `the parameter secret_key`."""
    urls = [*filter(_is_url, WORDS.findall(url))]
    names = dict.fromkeys(found[1] for each in urls for found in PARAMETER.finditer(each) if _is_secret(found[1]))
    return [
        *(["a password"] if any(PASSWORD.search(each[:LONGEST_URL]) for each in urls) else []),
        *(f"the parameter {name}" for name in names),
    ]


def secret_faults(tree: object, place: str = "") -> Iterator[str]:
    """A sentence for each text in plain data whose URL holds secrets, which no record may hold; `place` stands before
    it, and the keys on the way to it."""
    if isinstance(tree, str) and (secrets := secrets_in(tree)):
        yield f"{place}: {redacted(tree)!r} holds {' and '.join(secrets)}, which the records would show; {ELSEWHERE}"
    elif isinstance(tree, dict | list | tuple):
        for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
            yield from secret_faults(value, f"{place}.{key}".removeprefix("."))


def shown(text: object) -> str:
    """Anything as it may be printed or recorded: without secrets, and with nothing in it that acts."""
    return visible(redacted(str(text)))


def word(text: object) -> str:
    """One word of a command for a user's shell: quoted where the shell would take it apart, never read as an option."""
    plain = str(text)
    return quote(f"./{plain}" if plain.startswith("-") else plain)


def _is_url(text: str) -> bool:
    return "//" in text or ":/" in text


def _is_secret(parameter: str) -> bool:
    return bool(SECRET.search(unquote(parameter)))


def _number(character: str) -> str:
    return f"U+{ord(character):04X}"
