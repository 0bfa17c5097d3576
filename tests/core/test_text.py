"""What of a text is secret, and that no record or message holds it."""

import json
from pathlib import Path

import pytest

from analysis.records.run_directory import RunDirectory
from core.text import name_fault, redacted, secret_faults, secrets_in, shown
from core.value_words import shown as shown_value
from engine.runlog.run_log import RunLog

SECRETS = [
    *(
        "http://user:hush@host:5000/x",
        "http://:hush@host",
        "http://u:hu@hush@h/x",
        "http://u:hu/hush@h",
        "https://u:0@hush:1@h",
    ),
    *("s3://AK:hush/+=@bucket/run", "s3://b/k?access_key=hush&region=eu", "s3://b?region=eu&secret_key=hush"),
    *("https://h/x?X-Amz-Signature=hush", "https://h/x?X-Amz-Credential=hush&x=1", "https://h?sv=1&sig=hush%3D"),
    *("https://h/#access_token=hush", "s3://b?secret%5Fkey=hush", "postgresql+psycopg://u:hush@h/db", "s3:/u:hush@b"),
    *(
        "https://h?X-Amz-Security-Token=hush",
        "https://h?apikey=hush",
        "abfs://c@a/x?client_secret=hush",
        "http://h?auth=hush",
    ),
]
OPEN = [
    *(
        "http://host:5000",
        "http://user@host:5000",
        "http://host:5000/path@x",
        "http://[::1]:5000/x@y",
        "s3://b/k?region=eu",
    ),
    *("abfs://c@a.dfs.core.windows.net/x", "sqlite:////tmp/x.db", "mine.py:f@x", "C:/x@y", "PHOTO@1,2,3,4", "a?key=b"),
    *("s3://b?endpoint_override=localhost:9000&scheme=http", "abfs://c@a?credential_kind=anonymous", "loss=a:b@c"),
]


@pytest.mark.parametrize("url", SECRETS)
def test_what_is_secret_is_neither_shown_nor_recorded(url: str, tmp_path: Path) -> None:
    assert secrets_in(url)
    for said in (
        redacted(url),
        shown(f"cannot open '{url}' twice: {url}"),
        shown_value(url),
        *secret_faults({"x": [url]}),
    ):
        assert "hush" not in said
    assert redacted(redacted(url)) == redacted(url)
    with RunLog(RunDirectory(tmp_path)) as log:
        log.append(event="session", command=["run", "--out", url, f"--mlflow={url}"])
        log.append(event="end", trial="t", status="failed", error=f"no answer from {url}\n\x1b[2J\udcff")
    text = (tmp_path / "log.jsonl").read_text(encoding="utf-8")
    assert "hush" not in text
    assert json.loads(text.splitlines()[1])["error"].endswith("\n\\u001b[2J\\udcff")


@pytest.mark.parametrize("text", OPEN)
def test_what_is_no_secret_stays(text: str) -> None:
    assert shown(text) == text
    assert not secrets_in(text)
    assert not [*secret_faults([text])]


def test_the_place_of_a_secret_is_named() -> None:
    (fault,) = secret_faults({"baseline": {"model.weights_file": {"resnet18": "https://u:hush@h/w.pth"}}})
    assert fault.startswith("baseline.model.weights_file.resnet18: 'https://…@h/w.pth' holds a password")
    assert "AWS_ACCESS_KEY_ID" in fault


def test_emoji_and_scripts_of_either_direction_are_names() -> None:
    assert [name_fault(name) for name in ("👩‍🔬", "שלום", "السلام", "a\u200fb", "é")] == [None] * 5
