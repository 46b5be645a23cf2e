from pathlib import Path

import pytest

from lmms_eval_api.settings import ApiSettings, AuthMode, ProxyHeaders, SettingsError


def test_nothing_set_is_the_default_and_closed() -> None:
    assert ApiSettings.from_environment({}) == ApiSettings()
    assert ApiSettings().auth is AuthMode.TOKEN


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
        "LMMS_EVAL_CATALOGUE": "0123abcd",
        "LMMS_EVAL_API_SWEEP": "false",
        "LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS": "60",
        "LMMS_EVAL_API_SWEEP_GRACE_SECONDS": "0.5",
        "LMMS_EVAL_API_AUTH_AUDIENCE": "lmms-eval",
        "LMMS_EVAL_API_AUTH_CACHE_SECONDS": "5",
        "LMMS_EVAL_API_REQUESTS_PER_SECOND": "0",
        "LMMS_EVAL_API_SUBMISSIONS_PER_MINUTE": "6",
        "LMMS_EVAL_API_SUBMISSION_BURST": "7",
        "LMMS_EVAL_API_MAX_STREAMS": "8",
        "LMMS_EVAL_API_MAX_LOG_FOLLOWS": "4",
        "LMMS_EVAL_API_MAX_DOWNLOADS": "2",
        "LMMS_EVAL_API_REQUEST_SECONDS": "9.5",
        "LMMS_EVAL_API_TLS": "/tls",
        "LMMS_EVAL_API_WEB": "/web",
        "LMMS_EVAL_API_PROXY_SECRETS": "/proxy",
        "LMMS_EVAL_API_PROXY_HEADERS": "A,B,C",
        "LMMS_EVAL_API_SESSION_KEYS": "/keys",
        "LMMS_EVAL_API_SESSION_NAME": "team.lmms-eval",
        "LMMS_EVAL_API_TOKEN_SECRET": "tokens",
        "LMMS_EVAL_API_HOSTS": "Front-End, lmms-eval.example.com,",
        "LMMS_EVAL_API_WEB_INSECURE": "true",
        "LMMS_EVAL_API_METRICS_PORT": "0",
        "LMMS_EVAL_API_MEDIA_BYTES": "12",
    }
    assert ApiSettings.from_environment(environ) == ApiSettings(
        namespace="team",
        host="::",
        port=9000,
        auth=AuthMode.NONE,
        tokens=Path("/tokens"),
        root_path="/evaluations",
        log_level="DEBUG",
        max_body_bytes=1000,
        max_stale_seconds=2.5,
        shutdown_seconds=3,
        catalogue="0123abcd",
        sweep=False,
        sweep_interval_seconds=60.0,
        sweep_grace_seconds=0.5,
        media_bytes=12,
        auth_audience="lmms-eval",
        auth_cache_seconds=5.0,
        requests_per_second=0,
        submissions_per_minute=6,
        submission_burst=7,
        max_streams=8,
        max_log_follows=4,
        max_downloads=2,
        request_seconds=9.5,
        tls=Path("/tls"),
        web=Path("/web"),
        proxy_secrets=Path("/proxy"),
        proxy_headers=ProxyHeaders("A", "B", "C"),
        session_keys=Path("/keys"),
        session_name="team.lmms-eval",
        token_secret="tokens",
        hosts=("front-end", "lmms-eval.example.com"),
        web_insecure=True,
        metrics_port=0,
    )


def test_every_setting_says_its_variable() -> None:
    source = Path(ApiSettings.from_environment.__code__.co_filename).read_text()
    body = source[source.index("class ApiSettings:") : source.index("def from_environment")]
    assert body.count('"""LMMS_EVAL_') == len(ApiSettings.__dataclass_fields__)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("LMMS_EVAL_API_PORT", "eighty", "eighty"),
        ("LMMS_EVAL_API_PORT", "70000", "1 to 65535"),
        ("LMMS_EVAL_API_METRICS_PORT", "-1", "1 to 65535"),
        ("LMMS_EVAL_API_MAX_STREAMS", "-1", "0 or more"),
        ("LMMS_EVAL_API_AUTH", "off", "'token', 'kubernetes', 'proxy', or 'none'"),
        ("LMMS_EVAL_API_ROOT_PATH", "x", "starts with '/'"),
        ("LMMS_EVAL_LOG_LEVEL", "loud", "DEBUG, INFO"),
        ("LMMS_EVAL_CATALOGUE", "evaluator:v1", "hexadecimal"),
        ("LMMS_EVAL_API_SWEEP", "yes", "'true' or 'false'"),
        ("LMMS_EVAL_API_SWEEP_GRACE_SECONDS", "0", "more than 0"),
        ("LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS", "nan", "more than 0"),
    ],
)
def test_what_means_nothing_is_named(name: str, value: str, words: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}=") as caught:
        ApiSettings.from_environment({name: value})
    assert words in str(caught.value)
