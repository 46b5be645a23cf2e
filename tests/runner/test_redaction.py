"""Secrets in the files of lmms-eval: gone from every string, and nothing else is touched."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.redact import HIDDEN
from lmms_eval_runner.redaction import find_secrets, hide_secrets

SECRET = 'nzq81"/\\ü-value'
KNOWN = find_secrets({"JUDGE": SECRET}, ["JUDGE"])


def cleaned(folder: Path, text: str, known: set[str] = KNOWN) -> str:
    path = folder / "samples.jsonl"
    path.write_text(text)
    assert hide_secrets(known, [path]) == ([path] if path.read_text() != text else [])
    assert list(folder.iterdir()) == [path]
    return path.read_text()


@pytest.mark.parametrize("ascii_only", [True, False])
@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"resps": [[SECRET]]}, {"resps": [[HIDDEN]]}),
        ({"answer": f"a {SECRET} b {SECRET}"}, {"answer": f"a {HIDDEN} b {HIDDEN}"}),
        ({SECRET: 1}, {HIDDEN: 1}),
        ({"after an escape": f"\n{SECRET}"}, {"after an escape": f"\n{HIDDEN}"}),
        ({"JSON in JSON": json.dumps({"key": SECRET})}, {"JSON in JSON": json.dumps({"key": HIDDEN})}),
        ({"JSON in that": json.dumps([json.dumps([SECRET])])}, None),
    ],
)
def test_a_secret_is_hidden(tmp_path: Path, value: Any, shown: Any, ascii_only: bool) -> None:
    text = cleaned(tmp_path, json.dumps(value, ensure_ascii=ascii_only) + "\n")
    assert shown is None or json.loads(text) == shown


def test_what_holds_none_stays_as_it_is(tmp_path: Path) -> None:
    kept = '{"a": 1.50, "b" :NaN, "c": "\\u00e9\\/", "d": 123456789}\nno JSON "at all\n'
    assert cleaned(tmp_path, kept) == kept
    assert cleaned(tmp_path, kept + json.dumps([SECRET])) == kept + json.dumps([HIDDEN])


def test_a_secret_of_digits_costs_no_number(tmp_path: Path) -> None:
    assert cleaned(tmp_path, '{"a": 0.1234567, "b": "1234567"}', {"1234567"}) == f'{{"a": 0.1234567, "b": "{HIDDEN}"}}'


@given(
    st.text(min_size=6).filter(lambda text: len(text.strip().splitlines()) == 1 and len(text.strip()) >= 6), st.text()
)
def test_no_secret_survives_and_all_stays_json(
    tmp_path_factory: pytest.TempPathFactory, secret: str, around: str
) -> None:
    value = secret.strip()
    text = cleaned(
        tmp_path_factory.mktemp("run"), json.dumps([around + value + around]), find_secrets({"A": secret}, ["A"])
    )
    (shown,) = json.loads(text)
    assert value not in shown or value in HIDDEN * 3


def test_a_string_of_escapes_without_an_end_takes_no_longer_than_another(tmp_path: Path) -> None:
    begun = time.process_time()
    cleaned(tmp_path, f'{json.dumps(SECRET)} "' + '\\"' * 150_000 + "\n")
    assert time.process_time() - begun < 5


def test_in_what_is_no_json_a_secret_is_hidden_wherever_it_is(tmp_path: Path) -> None:
    table, image = tmp_path / "submission.csv", tmp_path / "plot.png"
    table.write_bytes(b"1,1234567\r\n2,no\r\n")
    image.write_bytes(b"\x89PNG\0\xff")
    assert hide_secrets({"1234567"}, [table, image]) == [table]
    assert table.read_bytes() == f"1,{HIDDEN}\r\n2,no\r\n".encode()
    assert image.read_bytes() == b"\x89PNG\0\xff"
