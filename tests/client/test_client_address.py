import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_client import Client
from lmms_eval_client.address import find_address

SECRET = "s3cr3t"


@pytest.mark.parametrize(
    ("base_url", "token", "environment", "url", "authorization"),
    [
        (None, None, {}, "http://localhost:8000", None),
        (None, None, {"LMMS_EVAL_URL": "https://e.example"}, "https://e.example", None),
        ("http://a/", None, {"LMMS_EVAL_URL": "https://e"}, "http://a", None),
        ("http://a/team/eval/", "t", {}, "http://a/team/eval", "Bearer t"),
        ("http://u:p@a:81/x", None, {"LMMS_EVAL_TOKEN": "e"}, "http://a:81/x", "Basic dTpw"),
        ("http://u:p@a", "t", {"LMMS_EVAL_TOKEN": "e"}, "http://a", "Bearer t"),
        ("http://a", None, {"LMMS_EVAL_TOKEN": " e\n"}, "http://a", "Bearer e"),
        ("http://a?q=1#f", "", {"LMMS_EVAL_TOKEN": ""}, "http://a", None),
        ("http://[::1]:8000", None, {}, "http://[::1]:8000", None),
    ],
)
def test_arguments_come_before_the_url_and_the_url_before_the_environment(
    base_url: str | None, token: str | None, environment: dict[str, str], url: str, authorization: str | None
) -> None:
    assert find_address(base_url, token, environment) == (url, authorization)


@pytest.mark.parametrize("base_url", ["lmms-eval.example.com", "ftp://a", "http://", "http://a:x", "//a"])
def test_what_is_no_url_is_refused_with_a_sentence(base_url: str) -> None:
    with pytest.raises(ValueError, match="server's address"):
        find_address(base_url, None, {})


def test_a_client_shows_its_address_and_no_secret() -> None:
    with Client(f"http://ci:{SECRET}@lmms-eval.example.com/eval", token=SECRET) as client:
        assert repr(client) == "Client('http://lmms-eval.example.com/eval')"
        assert SECRET not in client.base_url
    assert SECRET not in repr(find_address(f"http://ci:{SECRET}@h", SECRET, {}))


@given(st.text())
def test_no_text_does_more_than_be_refused(text: str) -> None:
    try:
        find_address(text, None, {})
    except ValueError as error:
        assert "address" in str(error)
