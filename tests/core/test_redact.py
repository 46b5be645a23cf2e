"""Nothing that looks like a secret survives, and what is none stays readable."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.redact import HIDDEN, Redactor, plain, to_one_line

SECRET = "q7Zr2mVt9LpX4sKd8WnB"


@pytest.mark.parametrize(
    "text",
    [
        f"Evaluation tracker args: {{'output_path': '/o', 'token': '{SECRET}'}}",
        f'{{"api_key": "{SECRET}", "n": 1}}',
        f"OPENAI_API_KEY={SECRET}",
        f"api-key: {SECRET}",
        f"password = '{SECRET}'",
        f"Authorization: Bearer {SECRET}",
        f"headers={{'Authorization': 'Basic {SECRET}'}}",
        f"https://user:{SECRET}@hub.example/x",
        f"GET https://bucket.example/data.parquet?X-Amz-Credential=a&X-Amz-Signature={SECRET}&x=1",
        f"login with hf_{SECRET}",
        f"key sk-proj-{SECRET}",
        f"ghp_{SECRET}",
        f"nvapi-{SECRET}",
        "AKIAABCDEFGHIJKLMNOP is a key id",
        f"client_secret={SECRET},x=1",
    ],
)
def test_hides_what_looks_like_a_secret(text: str) -> None:
    hidden = Redactor()(text)
    assert SECRET not in hidden
    assert "AKIA" not in hidden
    assert HIDDEN in hidden


@pytest.mark.parametrize(
    "text",
    [
        "max_new_tokens=16384, total_tokens: 1234567",
        "Setting pad_token_id to eos_token_id:151645 for open-end generation.",
        "ValueError: Invalid token: unexpected end of input",
        "task-specific masking of the key-value cache",
        "pretrained=/mnt/checkpoints/run-17/checkpoint-1000,dtype=bfloat16",
        "Basic understanding of images",
    ],
)
def test_leaves_ordinary_text_alone(text: str) -> None:
    assert Redactor()(text) == text


def test_hides_known_values_wherever_they_stand() -> None:
    assert Redactor(["a+b(c", "a+b(c)d"])("x a+b(c)d a+b(c y") == f"x {HIDDEN} {HIDDEN} y"


@given(st.text(max_size=200), st.lists(st.text(min_size=6, max_size=20), max_size=3))
def test_hiding_twice_is_hiding_once(text: str, secrets: list[str]) -> None:
    redact = Redactor(secret for secret in secrets if secret not in HIDDEN)
    assert redact(redact(text)) == redact(text)


@given(st.text(max_size=200))
def test_plain_text_has_no_escape_left(text: str) -> None:
    assert "\x1b" not in plain(text)
    assert "\r" not in plain(text)


def test_plain_removes_colours_and_keeps_lines() -> None:
    coloured = "\x1b[32m2026\x1b[0m | \x1b[1mINFO\x1b[0m\n\x1b]8;;http://x\x07link\x1b]8;;\x07\tend\n"
    assert plain(coloured) == "2026 | INFO\nlink\tend\n"


def test_what_turns_the_text_around_it_goes_and_marks_of_writing_stay() -> None:
    assert plain("a\u202eb\u2066c\u2069\u202cd") == "abcd"
    assert plain("\u05d0\u200f\u200e \u3000x\u00a0") == "\u05d0\u200f\u200e \u3000x\u00a0"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("as it is", "as it is"),
        ("  a\n\tb\r\nc  ", "a  b  c"),
        ("\x1b[31mred\x1b[0m \x1b]0;title\x07end", "red end"),
        (
            "gnirts \u202edesrever\u202c, \u2066hidden\u2069 \u200bno\u00adthing\ufeff",
            "gnirts desrever, hidden nothing",
        ),
        ("line\u2028paragraph\u2029end", "line paragraph end"),
        ("lone \ud800 half", "lone  half"),
        ("ümläut 日本語 🙂", "ümläut 日本語 🙂"),
        ("x" * 5000, "x" * 20),
        ("y" * 19 + "  z", "y" * 19),
    ],
)
def test_one_line_is_what_a_status_can_show(text: str, shown: str) -> None:
    assert to_one_line(text, 20) == shown[:20].strip(" ")
    assert to_one_line(to_one_line(text, 20), 20) == to_one_line(text, 20)


@given(st.text(), st.integers(1, 50))
def test_one_line_is_stable_short_and_printable(text: str, limit: int) -> None:
    shown = to_one_line(text, limit)
    assert to_one_line(shown, limit) == shown
    assert len(shown) <= limit and shown == shown.strip(" ")
    assert all(character.isprintable() or character.isspace() for character in shown) and "\n" not in shown
