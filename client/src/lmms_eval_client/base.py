"""What both clients share: how a call becomes a request of httpx, and an outcome an answer or an error."""

import os
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx

from lmms_eval_client.address import address_of
from lmms_eval_client.calls import Call
from lmms_eval_client.errors import refusal, unreachable
from lmms_eval_client.retries import Outcome, Retries

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
USER_AGENT: Final = f"lmms-eval-client/{version('lmms-eval-client')}"


class BaseClient:
    """An address, the patience for it, and no connection yet."""

    def __init__(self, base_url: str | None, timeout: httpx.Timeout | float | None, token: str | None, retries: Retries) -> None:
        self._address = address_of(base_url, token, os.environ)
        self._timeout = httpx.Timeout(timeout)
        self._retries = retries

    @property
    def base_url(self) -> str:
        """The server's address, without user and password."""
        return self._address.base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def _options(self, verify: ssl.SSLContext | bool) -> dict[str, Any]:
        """Of httpx.Client and httpx.AsyncClient alike."""
        headers = {"User-Agent": USER_AGENT}
        if self._address.authorization:
            headers["Authorization"] = self._address.authorization
        return {"headers": headers, "verify": verify}

    def _request(self, http: httpx.Client | httpx.AsyncClient, call: Call[Any], *, longest: float | None = None) -> httpx.Request:
        """`longest` bounds the silence that is borne, in seconds."""
        content: Mapping[str, Any] = {} if call.body is None else {"json": call.body}
        return http.build_request(
            call.method,
            self.base_url + call.path,
            params=call.params,
            headers=call.headers,
            timeout=self._timeout_of(call, longest),
            **content,
        )

    def _timeout_of(self, call: Call[Any], longest: float | None) -> httpx.Timeout:
        reads = [seconds for seconds in (call.read_timeout or self._timeout.read, longest) if seconds is not None]
        timeout = self._timeout
        return httpx.Timeout(connect=timeout.connect, write=timeout.write, pool=timeout.pool, read=min(reads, default=None))

    def _pause(self, call: Call[Any], outcome: Outcome, attempt: int) -> float | None:
        """Seconds before the call is made again; None if the outcome is to be taken."""
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return None
        return self._retries.pause(outcome, attempt=attempt, of=self._retries.attempts, repeatable=call.repeatable)

    def _stream_pause(self, outcome: Outcome, attempt: int) -> float:
        """Seconds before a stream is taken up again; the outcome as an error, when patience is at its end."""
        pause = self._retries.pause(outcome, attempt=attempt, of=self._retries.stream_attempts, repeatable=True)
        if pause is None:
            raise self._error(outcome)
        return pause

    def _taken(self, call: Call[T], outcome: Outcome) -> T:
        """The answer in it, or the error that it is."""
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return call.read(outcome)
        raise self._error(outcome)

    def _error(self, outcome: Outcome) -> Exception:
        return refusal(outcome) if isinstance(outcome, httpx.Response) else unreachable(outcome, self.base_url)


BROKEN_OFF: Final = "the connection was closed in the middle of a stream"


def broken_off(response: httpx.Response) -> httpx.TransportError:
    """A stream that was closed before its end, as an outcome."""
    return httpx.RemoteProtocolError(BROKEN_OFF, request=response.request)
