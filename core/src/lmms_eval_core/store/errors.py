"""The errors of the object store; callers react to the class, people read the message.

StoreError
  Misconfigured    the settings do not describe a store
  Unreachable      no answer, or 5xx: try again
  Denied           the credentials do not allow this
  BucketMissing    there is no such bucket
  ObjectMissing    there is no such object
"""

import re
from typing import Final

from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

HTTP_STATUS: Final = re.compile(r"status code: (\d{3})")
# In the body of an answer, or in what obstore says of one object of a batch.
ERROR_CODE: Final = re.compile(r"(?:<Code>|\(code: )(\w{1,64})(?:</Code>|\))")
MISSING_BUCKET: Final = frozenset({"NoSuchBucket", "ContainerNotFound"})
MISSING_OBJECT: Final = frozenset({"NoSuchKey", "BlobNotFound"})
# The S3 gateway of the chart answers 404, of all codes, to an access key that it does not know.
UNKNOWN_USER: Final = frozenset({"XAdminUserNotFound", "InvalidAccessKeyId"})


class StoreError(Exception):
    """Anything that the store refused or could not do; the message is a sentence for a person, without secrets."""


class Misconfigured(StoreError):
    """The settings do not describe a store."""


class Unreachable(StoreError):
    """The store did not answer, or answered that it cannot now."""


class Denied(StoreError):
    """The credentials are wrong, or do not allow this."""


class BucketMissing(StoreError):
    """The bucket does not exist."""


class TooLarge(StoreError):
    """The object is larger than what may be read at once."""


class ObjectMissing(StoreError):
    """The object does not exist."""


def explain(error: Exception, *, store: str, key: str, writing: bool) -> StoreError:
    """Return our error for one of obstore's.

    Its text is dropped: it shows request signatures and addresses of credentials.
    """
    text = str(error)
    status, code = _find_first(HTTP_STATUS, text), _find_first(ERROR_CODE, text)
    if (
        code in UNKNOWN_USER
        or status in ("401", "403")
        or isinstance(error, PermissionDeniedError | UnauthenticatedError)
    ):
        return Denied(
            f"the object store {store} refused the credentials{_bracket(code)}: check its Secret and the rights on it"
        )
    if isinstance(error, FileNotFoundError) or code in MISSING_BUCKET | MISSING_OBJECT:
        return _make_missing_error(
            store, key, bucket=code in MISSING_BUCKET or (writing and code not in MISSING_OBJECT)
        )
    if status is None or status.startswith("5"):
        answer = f"answered {status}" if status else "does not answer"
        return Unreachable(
            f"the object store {store} {answer}{_bracket(code)}: is it running, and is its address right?"
        )
    return StoreError(f"the object store {store} answered {status}{_bracket(code)} for {key}")


def _make_missing_error(store: str, key: str, *, bucket: bool) -> StoreError:
    if bucket:
        return BucketMissing(
            f"the bucket of the object store {store} does not exist: create it, or correct the store's URL"
        )
    return ObjectMissing(f"{key} is not in the object store {store}")


def _find_first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return found.group(1) if found else None


def _bracket(code: str | None) -> str:
    return f" ({code})" if code else ""
