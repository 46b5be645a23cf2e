"""Settings of the front end, read once from the environment by `main`; other modules are given the values they need."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple, TypeVar

Value = TypeVar("Value")
HEADER_NAME = re.compile("[A-Za-z0-9-]{1,64}")


class SettingsError(Exception):
    """The front end cannot start with these settings; the message says what to change."""


class AuthMode(StrEnum):
    """How callers prove who they are."""

    TOKEN = "token"
    KUBERNETES = "kubernetes"
    PROXY = "proxy"
    NONE = "none"


class ProxyHeaders(NamedTuple):
    """Names of the headers in which a proxy sends its secret, the user, and the user's groups."""

    secret: str = "X-Lmms-Eval-Proxy-Secret"
    user: str = "X-Forwarded-User"
    groups: str = "X-Forwarded-Groups"


@dataclass(frozen=True)
class ApiSettings:
    """The settings of one release's front end."""

    namespace: str = ""
    """LMMS_EVAL_NAMESPACE: where the evaluations are. Empty: the pod's own namespace."""

    host: str = "0.0.0.0"
    """LMMS_EVAL_API_HOST: address to listen on."""

    port: int = 8000
    """LMMS_EVAL_API_PORT: port to listen on; lmms-eval's own default."""

    auth: AuthMode = AuthMode.TOKEN
    """LMMS_EVAL_API_AUTH: `token`; `kubernetes`, which asks the API server who a token belongs to and what its owner
    may do; `proxy`, which believes a proxy in front, and asks the API server what people may do; or `none`, which
    admits everybody who can reach the port, and is never the default."""

    tokens: Path = Path("/var/run/lmms-eval/tokens")
    """LMMS_EVAL_API_TOKENS: directory of a mounted Secret. Each file holds one valid token; its name is its owner's."""

    auth_audience: str = ""
    """LMMS_EVAL_API_AUTH_AUDIENCE: for `kubernetes`, the audience that tokens must name. Empty: the API server's
    own."""

    auth_cache_seconds: float = 60.0
    """LMMS_EVAL_API_AUTH_CACHE_SECONDS: for `kubernetes`, how long a review of the API server is cached, and so how
    long a revoked token or right may still be of use. Refusals are cached for 5 s at most."""

    proxy_secrets: Path = Path("/var/run/lmms-eval/proxy")
    """LMMS_EVAL_API_PROXY_SECRETS: for `proxy`, directory of a mounted Secret, each file of which holds a value that
    the proxy may send as its secret."""

    proxy_headers: ProxyHeaders = ProxyHeaders()
    """LMMS_EVAL_API_PROXY_HEADERS: for `proxy`, names of three headers, separated by commas: of the proxy's secret, of
    the user, and of the user's groups."""

    root_path: str = ""
    """LMMS_EVAL_API_ROOT_PATH: path prefix under which a proxy publishes the front end, whether it strips it or not."""

    web: Path | None = None
    """LMMS_EVAL_API_WEB: directory of the built web page. Empty: /ui/ says how to get one."""

    session_keys: Path | None = None
    """LMMS_EVAL_API_SESSION_KEYS: directory of a mounted Secret; each file holds a key that opens the cookies of
    sessions, and the first one by name seals them. Empty: a key of this process alone."""

    session_name: str = ""
    """LMMS_EVAL_API_SESSION_NAME: what tells this release's cookie from those of others under the same host."""

    token_secret: str = ""
    """LMMS_EVAL_API_TOKEN_SECRET: for `token`, the name of the Secret, for the page that says how to get a token."""

    hosts: tuple[str, ...] = ()
    """LMMS_EVAL_API_HOSTS: for `none`, names under which the front end is reached, separated by commas, besides
    loopback and numeric addresses: any other Host header may be that of a page that had its name rebound."""

    web_insecure: bool = False
    """LMMS_EVAL_API_WEB_INSECURE: whether browsers may sign in over plain HTTP beyond loopback, where the network sees
    their tokens."""

    log_level: str = "INFO"
    """LMMS_EVAL_LOG_LEVEL: DEBUG, INFO, WARNING or ERROR; DEBUG shows the probes too."""

    max_body_bytes: int = 256 * 1024
    """LMMS_EVAL_API_MAX_BODY_BYTES: larger requests are rejected; the API server would not store them either."""

    requests_per_second: int = 2000
    """LMMS_EVAL_API_REQUESTS_PER_SECOND: of one caller at one replica, with a burst of twice as many; 0: no limit.
    Fifty waiters that poll twenty times a second are half of it."""

    submissions_per_minute: int = 600
    """LMMS_EVAL_API_SUBMISSIONS_PER_MINUTE: of one caller at one replica, once the burst is used up; 0: no limit."""

    submission_burst: int = 1000
    """LMMS_EVAL_API_SUBMISSION_BURST: submissions of one caller that may come at once."""

    max_streams: int = 2000
    """LMMS_EVAL_API_MAX_STREAMS: events and logs that one replica follows at once; 0: no limit."""

    max_log_follows: int = 200
    """LMMS_EVAL_API_MAX_LOG_FOLLOWS: logs and answers among them; each log keeps a connection to the API server, and
    answers take half a megabyte of memory at most; 0: no limit."""

    max_downloads: int = 16
    """LMMS_EVAL_API_MAX_DOWNLOADS: files of samples that one replica sends whole at once; 0: no limit."""

    request_seconds: float = 30.0
    """LMMS_EVAL_API_REQUEST_SECONDS: time for a request to arrive, head and body; then its connection is closed."""

    tls: Path | None = None
    """LMMS_EVAL_API_TLS: directory with tls.crt and tls.key, read again when they change. Empty: plain HTTP."""

    metrics_port: int = 9090
    """LMMS_EVAL_API_METRICS_PORT: port of /metrics, which needs no token; 0: no metrics are served."""

    max_stale_seconds: float = 60.0
    """LMMS_EVAL_API_MAX_STALE_SECONDS: without a watch, responses come from the cache for this long, with their age.
    Then 503, but not sooner: lmms-eval's own client gives up at the first one."""

    cancel_running: bool = True
    """LMMS_EVAL_API_CANCEL_RUNNING: whether DELETE stops a running job; `false` rejects it, as lmms-eval's own server
    does."""

    shutdown_seconds: int = 20
    """LMMS_EVAL_API_SHUTDOWN_SECONDS: time for open requests to end; less than the pod's grace period."""

    catalogue: str = ""
    """LMMS_EVAL_CATALOGUE: hash of the evaluator image's name, under which the store has that image's catalogue. Empty:
    no catalogue."""

    sweep: bool = True
    """LMMS_EVAL_API_SWEEP: whether files of deleted evaluations are deleted, where LMMS_EVAL_STORE_URL names a
    store."""

    sweep_interval_seconds: float = 3600.0
    """LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS: between two sweeps."""

    sweep_grace_seconds: float = 7 * 86400.0
    """LMMS_EVAL_API_SWEEP_GRACE_SECONDS: how long files stay after their evaluation was found deleted."""

    media_bytes: int = 10 * 1024**3
    """LMMS_EVAL_API_MEDIA_BYTES: of the pool of media; beyond, a sweep deletes the oldest. 0: no limit."""

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> "ApiSettings":
        """Read the environment variables; an empty one counts as unset. Raises SettingsError for an invalid value."""

        def read(name: str, parse: Callable[[str], Value], fallback: Value) -> Value:
            text = environ.get(name, "")
            return _parse(name, text, parse) if text else fallback

        return cls(
            namespace=read("LMMS_EVAL_NAMESPACE", str, cls.namespace),
            host=read("LMMS_EVAL_API_HOST", str, cls.host),
            port=read("LMMS_EVAL_API_PORT", _parse_port, cls.port),
            auth=read("LMMS_EVAL_API_AUTH", _parse_auth_mode, cls.auth),
            tokens=read("LMMS_EVAL_API_TOKENS", Path, cls.tokens),
            auth_audience=read("LMMS_EVAL_API_AUTH_AUDIENCE", str, cls.auth_audience),
            auth_cache_seconds=read("LMMS_EVAL_API_AUTH_CACHE_SECONDS", _parse_seconds, cls.auth_cache_seconds),
            proxy_secrets=read("LMMS_EVAL_API_PROXY_SECRETS", Path, cls.proxy_secrets),
            proxy_headers=read("LMMS_EVAL_API_PROXY_HEADERS", _parse_proxy_headers, cls.proxy_headers),
            root_path=read("LMMS_EVAL_API_ROOT_PATH", _parse_root_path, cls.root_path),
            web=read("LMMS_EVAL_API_WEB", Path, cls.web),
            session_keys=read("LMMS_EVAL_API_SESSION_KEYS", Path, cls.session_keys),
            session_name=read("LMMS_EVAL_API_SESSION_NAME", _parse_session_name, cls.session_name),
            token_secret=read("LMMS_EVAL_API_TOKEN_SECRET", str, cls.token_secret),
            hosts=read("LMMS_EVAL_API_HOSTS", _parse_hosts, cls.hosts),
            web_insecure=read("LMMS_EVAL_API_WEB_INSECURE", _parse_bool, cls.web_insecure),
            log_level=read("LMMS_EVAL_LOG_LEVEL", _parse_log_level, cls.log_level),
            max_body_bytes=read("LMMS_EVAL_API_MAX_BODY_BYTES", int, cls.max_body_bytes),
            requests_per_second=read("LMMS_EVAL_API_REQUESTS_PER_SECOND", _parse_count, cls.requests_per_second),
            submissions_per_minute=read(
                "LMMS_EVAL_API_SUBMISSIONS_PER_MINUTE",
                _parse_count,
                cls.submissions_per_minute,
            ),
            submission_burst=read("LMMS_EVAL_API_SUBMISSION_BURST", _parse_count, cls.submission_burst),
            max_streams=read("LMMS_EVAL_API_MAX_STREAMS", _parse_count, cls.max_streams),
            max_log_follows=read("LMMS_EVAL_API_MAX_LOG_FOLLOWS", _parse_count, cls.max_log_follows),
            max_downloads=read("LMMS_EVAL_API_MAX_DOWNLOADS", _parse_count, cls.max_downloads),
            request_seconds=read("LMMS_EVAL_API_REQUEST_SECONDS", _parse_seconds, cls.request_seconds),
            tls=read("LMMS_EVAL_API_TLS", Path, cls.tls),
            metrics_port=read("LMMS_EVAL_API_METRICS_PORT", _parse_optional_port, cls.metrics_port),
            max_stale_seconds=read("LMMS_EVAL_API_MAX_STALE_SECONDS", float, cls.max_stale_seconds),
            cancel_running=read("LMMS_EVAL_API_CANCEL_RUNNING", _parse_bool, cls.cancel_running),
            shutdown_seconds=read("LMMS_EVAL_API_SHUTDOWN_SECONDS", int, cls.shutdown_seconds),
            catalogue=read("LMMS_EVAL_CATALOGUE", _parse_hash, cls.catalogue),
            sweep=read("LMMS_EVAL_API_SWEEP", _parse_bool, cls.sweep),
            sweep_interval_seconds=read(
                "LMMS_EVAL_API_SWEEP_INTERVAL_SECONDS",
                _parse_seconds,
                cls.sweep_interval_seconds,
            ),
            sweep_grace_seconds=read("LMMS_EVAL_API_SWEEP_GRACE_SECONDS", _parse_seconds, cls.sweep_grace_seconds),
            media_bytes=read("LMMS_EVAL_API_MEDIA_BYTES", _parse_count, cls.media_bytes),
        )


def _parse(name: str, text: str, parse: Callable[[str], Value]) -> Value:
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{name}={text!r} cannot be used: {error}.") from error


def _parse_auth_mode(text: str) -> AuthMode:
    if text not in set(AuthMode):
        raise ValueError("it is 'token', 'kubernetes', 'proxy', or 'none' to let everybody in")
    return AuthMode(text)


def _parse_port(text: str) -> int:
    port = int(text)
    if not 1 <= port <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return port


def _parse_optional_port(text: str) -> int:
    return 0 if text == "0" else _parse_port(text)


def _parse_count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError("give a number, 0 or more")
    return count


def _parse_hash(text: str) -> str:
    if not re.fullmatch("[0-9a-f]{1,64}", text):
        raise ValueError("it is a hash in hexadecimal digits")
    return text


def _parse_bool(text: str) -> bool:
    if text not in ("true", "false"):
        raise ValueError("it is 'true' or 'false'")
    return text == "true"


def _parse_seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < math.inf:
        raise ValueError("give seconds, more than 0")
    return seconds


def _parse_root_path(text: str) -> str:
    path = text.rstrip("/")
    if path and not path.startswith("/"):
        raise ValueError("a path prefix starts with '/'")
    return path


def _parse_session_name(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9._-]{1,200}", text):
        raise ValueError("it is part of a cookie's name: letters, digits, '.', '_' and '-'")
    return text


def _parse_proxy_headers(text: str) -> ProxyHeaders:
    names = [name.strip() for name in text.split(",")]
    if len(set(map(str.lower, names))) != len(ProxyHeaders._fields) or not all(map(HEADER_NAME.fullmatch, names)):
        raise ValueError("give the names of three headers, separated by commas")
    return ProxyHeaders(*names)


def _parse_hosts(text: str) -> tuple[str, ...]:
    return tuple(host.strip().lower() for host in text.split(",") if host.strip())


def _parse_log_level(text: str) -> str:
    level = text.upper()
    if level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
        raise ValueError("a log level is DEBUG, INFO, WARNING or ERROR")
    return level
