"""The errors of calls to the API server; callers react to the class, people read the message.

KubeError
  NotFound             404
  Conflict             409, and a JSON Patch whose `test` failed: somebody else was faster, look again
    AlreadyExists      409 of a create
  Invalid              400, 422: the object is refused, trying again does not help
  Forbidden            401, 403
  Gone                 410: the resourceVersion is too old, list again
  Throttled            429, with the seconds to wait
  Unavailable          5xx, time-out, no connection: the write may or may not have happened
    NotAdmitted        500: a webhook that has to judge the write did not answer, so this one write did not happen
"""

from typing import Any


class KubeError(Exception):
    """Any answer that is not a success. `status` is the API server's Status object, or empty."""

    def __init__(self, message: str, status: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status or {}

    @property
    def causes(self) -> list[dict[str, str]]:
        """What the API server refused, field by field."""
        causes: list[dict[str, str]] = self.status.get("details", {}).get("causes") or []
        return causes


class NotFound(KubeError):
    """There is no such object."""


class Conflict(KubeError):
    """The precondition of a write does not hold any more."""


class AlreadyExists(Conflict):
    """An object of this name exists."""


class Invalid(KubeError):
    """The API server refused the content: schema, CEL rule or admission policy."""


class Forbidden(KubeError):
    """Our credentials do not allow this."""


class Gone(KubeError):
    """The resourceVersion is no longer available."""


class Throttled(KubeError):
    """Too many requests."""

    def __init__(self, message: str, status: dict[str, Any] | None = None, *, retry_after: float = 1.0) -> None:
        super().__init__(message, status)
        self.retry_after = retry_after


class Unavailable(KubeError):
    """No answer, or one that says nothing about the object."""


class NotAdmitted(Unavailable):
    """An admission webhook did not answer: this write did not happen, others may."""


def make_error(code: int, status: dict[str, Any], *, retry_after: float = 1.0) -> KubeError:
    """Return the error for an HTTP status code and the API server's Status object."""
    message = str(status.get("message") or f"the API server answered {code}")
    reason = status.get("reason")
    if code == 429:
        return Throttled(message, status, retry_after=retry_after)
    if code == 409:
        return (AlreadyExists if reason == "AlreadyExists" else Conflict)(message, status)
    if code == 422 and not status.get("details"):
        # A refused object is described in `details`; a JSON Patch whose `test` failed is a bare 422.
        return Conflict("the object changed since it was looked at", status)
    if code == 500 and "failed calling webhook" in message:
        return NotAdmitted(message, status)
    classes = {400: Invalid, 401: Forbidden, 403: Forbidden, 404: NotFound, 410: Gone, 422: Invalid}
    return classes.get(code, Unavailable)(message, status)
