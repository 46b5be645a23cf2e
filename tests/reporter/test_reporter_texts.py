import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmms_eval_reporter import texts

ODD = st.text(st.characters() | st.sampled_from('<>&\u2028\ud800\x1b\r\n\\"\x00'), max_size=300)


@settings(deadline=None)
@given(ODD, st.integers(min_value=2, max_value=200))
def test_texts_fit_and_can_be_sent(text: str, room: int) -> None:
    for kept in (texts.clean_head(text, room), texts.clean_tail(text, room)):
        assert texts.measure_wire_size(kept) <= room
        kept.encode()
        assert "\x1b" not in kept and "\x00" not in kept


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("one\ntwo\nthree\n", 100, "one\ntwo\nthree"),
        ("one\ntwo\nthree\n", 12, "three"),
        ("10%\r50%\r100%\ndone\r\n", 100, "100%\ndone"),
        ("\x1b[31mred\x1b[0m", 100, "red"),
        ("x" * 50, 12, "x" * 10),
        ("", 12, ""),
    ],
)
def test_tails_are_whole_lines_where_they_can_be(text: str, room: int, expected: str) -> None:
    assert texts.clean_tail(text, room) == expected


def test_secrets_are_hidden_before_anything_is_cut() -> None:
    text = "start hf_abcdefghijklmnopqrstuvwxyz end"
    for room in range(2, 60):
        assert "hf_" not in texts.clean_head(text, room)
        assert "xyz" not in texts.clean_tail(text, room)
