from pathlib import Path

import pytest

from lmms_eval_api.settings import AuthMode, Settings, SettingsError, from_environment


def test_nothing_set_is_the_default_and_closed() -> None:
    assert from_environment({}) == Settings()
    assert Settings().auth is AuthMode.TOKEN


def test_everything_can_be_set() -> None:
    environ = {
        "LMMS_EVAL_NAMESPACE": "team",
        "LMMS_EVAL_API_HOST": "::",
        "LMMS_EVAL_API_PORT": "9000",
        "LMMS_EVAL_API_AUTH": "none",
        "LMMS_EVAL_API_TOKENS": "/tokens",
        "LMMS_EVAL_API_ROOT_PATH": "/evaluations/",
        "LMMS_EVAL_LOG_LEVEL": "debug",
        "LMMS_EVAL_API_MAX_BODY_BYTES": "1000",
        "LMMS_EVAL_API_MAX_STALE_SECONDS": "2.5",
        "LMMS_EVAL_API_SHUTDOWN_SECONDS": "3",
        "LMMS_EVAL_API_SWEEP": "false",
        "LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS": "60",
        "LMMS_EVAL_API_SWEEP_GRACE_SECONDS": "0.5",
    }
    assert from_environment(environ) == Settings(
        "team", "::", 9000, AuthMode.NONE, Path("/tokens"), "/evaluations", "DEBUG", 1000, 2.5, 3, False, 60.0, 0.5
    )


def test_every_setting_says_its_variable() -> None:
    source = Path(from_environment.__code__.co_filename).read_text()
    body = source[source.index("class Settings:") : source.index("def from_environment")]
    assert body.count('"""LMMS_EVAL_') == len(Settings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LMMS_EVAL_API_PORT", "eighty", "eighty"),
        ("LMMS_EVAL_API_PORT", "70000", "1 to 65535"),
        ("LMMS_EVAL_API_AUTH", "off", "'token', or 'none'"),
        ("LMMS_EVAL_API_ROOT_PATH", "x", "starts with '/'"),
        ("LMMS_EVAL_LOG_LEVEL", "loud", "DEBUG, INFO"),
        ("LMMS_EVAL_API_SWEEP", "yes", "'true' or 'false'"),
        ("LMMS_EVAL_API_SWEEP_GRACE_SECONDS", "0", "more than 0"),
        ("LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS", "nan", "more than 0"),
    ],
)
def test_what_means_nothing_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=") as caught:
        from_environment({name: value})
    assert words in str(caught.value)
