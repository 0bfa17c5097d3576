"""YAML 1.2 as users write it: read as it is meant, or a sentence with the line."""

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core import yaml_text
from core.yaml_text import Document, plain, read_document


def read(text: str) -> Document:
    return read_document(text.encode())


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("-010", -10),
        ("0x1f", 31),
        ("0o17", 15),
        ("1e-2", 0.01),
        (".001", 0.001),
        ("1.", 1.0),
        ("False", False),
        ("TRUE", True),
        ("", None),
        ("~", None),
        *(
            (text, text)
            for text in ("2:1", "1:30:00", "1_000", "0b11", "017o", "-0x1", "=", "<", "2024-05-01", "off", "Yes")
        ),
        *((text, text) for text in (".inf", "-.INF", ".NaN", "1e999", "9" * 301, "+", ".", "e3", "0x", "tRUE")),
    ],
)
def test_a_scalar_is_what_yaml_1_2_says_and_else_text(text: str, value: object) -> None:
    assert (plain(text), type(plain(text))) == (value, type(value))
    found = read(f"k: {text}")
    assert found.content == {"k": value}
    assert not found.faults


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: 1\nb: 2\na: 3", (3, "a: stands twice, first in line 1; leave one out")),
        ("a:\n- {b: 1, 'b': 2}", (2, "a.0.b: stands twice, first in line 2; leave one out")),
        ("1: a\n'1': b", (2, "1: stands twice, first in line 1; leave one out")),
        ("a:\n\t- b", (2, "cannot be read: a tab stands where YAML takes spaces, in '- b'")),
        ("a: b: c", (1, "cannot be read: `key: value` cannot stand here, in 'a: b: c'")),
        ("a: 1\n---\nb: 2", (2, "cannot be read: `---` begins a second document; allowed: one a file")),
        ("a: 1\nb: \x07", (2, "cannot be read: character U+0007 is not allowed in YAML")),
        ("a: &x [*x]", (1, "a.0: an alias stands within what it stands for")),
        ("a: &x {b: *x}", (1, "a.b: an alias stands within what it stands for")),
        ("a: !!timestamp 2024-05-01", (1, "a: the tag !!timestamp is not taken for '2024-05-01'")),
        ("a: !!python/object:os.x {}", (1, "a: the tag !!python/object:os.x is not taken here; leave it out")),
        ("a: 1\n? [b]\n: c", (2, "a key is a list or a mapping; allowed: text")),
        ("a:\n  <<: 1", (2, "a.<<: takes an alias of a mapping, or a list of them")),
        ("a: @b", (1, "cannot be read: text that begins with this character stands in quotes, in 'a: @b'")),
    ],
)
def test_what_cannot_be_is_a_sentence_with_its_line(text: str, fault: tuple[int, str]) -> None:
    assert fault in read(text).faults


def test_bytes_that_are_no_text_name_their_line_and_a_byte_order_mark_is_none_of_it() -> None:
    assert read_document(b"a: 1\nb: \xff\n").faults == [(2, "cannot be read: it is not written in UTF-8")]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert read_document("ä: 1".encode(encoding)).content == {"ä": 1}


def test_anchors_and_merge_keys_bring_in_what_they_stand_for_and_own_entries_win() -> None:
    found = read("a: &a {x: 1, y: 2}\nb: &b {z: 3, x: 4}\nc:\n  x: 0\n  <<: [*a, *b]\nd: *b\n")
    assert not found.faults
    assert found.content["c"] == {"x": 0, "y": 2, "z": 3}
    assert found.content["d"] == {"z": 3, "x": 4}
    assert (found.line(("c", "x")), found.line(("c", "z")), found.line(("c", "none"))) == (4, 2, 3)


def test_depth_and_aliases_cannot_exhaust_the_machine() -> None:
    for opening in ("[", "{a: ", "- "):
        assert "more than 40 lists and mappings within each other" in read(opening * 100_000).faults[0][1]
    lists = "\n".join(f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]" for i in range(9))
    assert "stand for more than 20,000 values" in read(f"a: &a [1]\n{lists}").faults[0][1]


def test_the_parser_in_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    class Composer(yaml.SafeLoader):
        yaml_implicit_resolvers = yaml_text._Composer.yaml_implicit_resolvers

    text = "a: &x {k: 010, 'l': '1', m: !!str 2}\nb: [*x, 2:1]\nc: 1\nc: 2\n"
    fast = read(text)
    monkeypatch.setattr(yaml_text, "_Composer", Composer)
    assert read(text) == fast


@given(st.text() | st.binary())
def test_any_text_gives_data_or_faults_with_lines(data: str | bytes) -> None:
    found = read_document(data.encode(errors="replace") if isinstance(data, str) else data)
    for line, fault in found.faults:
        assert line >= 1
        assert "\n" not in fault
        assert not re.search("yaml.org|constructor|unicode string", fault)
