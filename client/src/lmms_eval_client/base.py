"""The base of both clients: how a call becomes a request of httpx, and an outcome an answer or an error."""

import os
import ssl
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final, TypeVar

import httpx

from lmms_eval_client.address import find_address
from lmms_eval_client.calls import Call
from lmms_eval_client.errors import make_refusal, make_unreachable_error
from lmms_eval_client.retries import CallOutcome, Retries

T = TypeVar("T")

DEFAULT_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
USER_AGENT: Final = f"lmms-eval-client/{version('lmms-eval-client')}"


class BaseClient:
    """Address, time-outs and retries of a client, without connections."""

    def __init__(
        self, base_url: str | None, timeout: httpx.Timeout | float | None, token: str | None, retries: Retries
    ) -> None:
        self._address = find_address(base_url, token, os.environ)
        self._timeout = httpx.Timeout(timeout)
        self._retries = retries

    @property
    def base_url(self) -> str:
        """The server's address, without user and password."""
        return self._address.base_url

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.base_url!r})"

    def _build_options(self, verify: ssl.SSLContext | bool) -> dict[str, Any]:
        """Return the options of httpx.Client and httpx.AsyncClient alike."""
        headers = {"User-Agent": USER_AGENT}
        if self._address.authorization:
            headers["Authorization"] = self._address.authorization
        return {"headers": headers, "verify": verify}

    def _build_request(
        self, http: httpx.Client | httpx.AsyncClient, call: Call[Any], *, longest: float | None = None
    ) -> httpx.Request:
        """Return the request of a call; `longest` bounds the time without data, in seconds."""
        content: Mapping[str, Any] = {} if call.body is None else {"json": call.body}
        return http.build_request(
            call.method,
            self.base_url + call.path,
            params=call.params,
            headers=call.headers,
            timeout=self._choose_timeout(call, longest),
            **content,
        )

    def _choose_timeout(self, call: Call[Any], longest: float | None) -> httpx.Timeout:
        reads = [seconds for seconds in (call.read_timeout or self._timeout.read, longest) if seconds is not None]
        timeout = self._timeout
        return httpx.Timeout(
            connect=timeout.connect, write=timeout.write, pool=timeout.pool, read=min(reads, default=None)
        )

    def _find_pause(self, call: Call[Any], outcome: CallOutcome, attempt: int) -> float | None:
        """Return the seconds before the call is made again; None if the outcome is final."""
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return None
        return self._retries.pause(outcome, attempt=attempt, of=self._retries.attempts, repeatable=call.repeatable)

    def _find_stream_pause(self, outcome: CallOutcome, attempt: int) -> float:
        """Return the seconds before a stream is resumed; raise the outcome as an error after the last retry."""
        pause = self._retries.pause(outcome, attempt=attempt, of=self._retries.stream_attempts, repeatable=True)
        if pause is None:
            raise self._make_error(outcome)
        return pause

    def _read_outcome(self, call: Call[T], outcome: CallOutcome) -> T:
        """Return the answer in the outcome, or raise it as an error."""
        if isinstance(outcome, httpx.Response) and outcome.is_success:
            return call.read(outcome)
        raise self._make_error(outcome)

    def _make_error(self, outcome: CallOutcome) -> Exception:
        return (
            make_refusal(outcome)
            if isinstance(outcome, httpx.Response)
            else make_unreachable_error(outcome, self.base_url)
        )


BROKEN_STREAM: Final = "the connection was closed in the middle of a stream"


def make_broken_stream_error(response: httpx.Response) -> httpx.TransportError:
    """Return the outcome of a stream that was closed before its end."""
    return httpx.RemoteProtocolError(BROKEN_STREAM, request=response.request)
