"""Reading and writing objects, in bounded memory whatever their size. The reporter writes, the front end reads."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from obstore.exceptions import BaseError
from obstore.store import from_url

from lmms_eval_core.store.errors import Misconfigured, ObjectMissing, StoreError, TooLarge, explain
from lmms_eval_core.store.settings import StoreSettings

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

# S3 takes 10,000 parts of an object: 80 GB. In memory at one time: PARTS_AT_ONCE parts and the one that is being
# filled.
PART_BYTES: Final = 8 * 1024 * 1024
PARTS_AT_ONCE: Final = 2
READ_BYTES: Final = 1024 * 1024
CONNECT_SECONDS: Final = 5
# obstore's limit on a whole request, which cannot be switched off.
WHOLE_REQUEST: Final = timedelta(days=1)


class StoredObject(NamedTuple):
    """What a list says about an object."""

    key: str
    size: int
    modified: datetime


class Tail(NamedTuple):
    """The last bytes of an object, and how many it has in all."""

    content: bytes
    size: int


class Beginning(NamedTuple):
    """The first bytes of an object, and how many it has in all."""

    content: bytes
    size: int


class Folder(NamedTuple):
    """What lies directly below a prefix, by name."""

    folders: list[str]
    files: list[str]


class ObjectStore:
    """The store of `settings`; Misconfigured where they make none. Every method raises `errors.StoreError`.

    obstore's threads may abort the process (SIGABRT) when the interpreter shuts down right after a call: where the exit
    code matters, end by `os._exit`. Seen with 0.12.1, in one of ten runs.
    """

    def __init__(self, settings: StoreSettings) -> None:
        self._url = settings.url
        self._place = f"{settings.url} at {settings.endpoint}" if settings.endpoint else settings.url
        try:
            self._store = from_url(
                settings.url,
                client_options=_build_client_options(settings),
                retry_config=_build_retry_config(settings),
                **_build_options(settings),
            )
        except (BaseError, ValueError, OSError) as error:
            raise Misconfigured(f"{settings.url!r} is not the URL of an object store, as s3://BUCKET/PREFIX") from error

    def uri(self, key: str) -> str:
        """Return the key with its bucket, for a person and for other tools."""
        return f"{self._url}/{key}"

    async def put(self, key: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Write an object, whole or not at all; an iterator is sent in parts, and its own errors pass unchanged."""
        with self._translate_errors(key, writing=True):
            await self._store.put_async(
                key,
                content,
                use_multipart=not isinstance(content, bytes),
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_AT_ONCE,
            )

    async def get(self, key: str, *, max_bytes: int) -> bytes:
        """Return the whole of a small object; TooLarge if it is larger than `max_bytes`."""
        with self._translate_errors(key):
            result = await self._store.get_async(key)
            if result.meta["size"] > max_bytes:
                raise TooLarge(
                    f"{key} has {result.meta['size']} bytes, more than the {max_bytes} that are read at once"
                )
            return bytes(await result.bytes_async())

    async def stream(self, key: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """Yield the content of an object from byte `start` in pieces of about a megabyte; StoreError behind its end."""
        with self._translate_errors(key):
            result = await self._store.get_async(key, options={"range": {"offset": start}} if start else None)
            async for piece in result.stream(min_chunk_size=READ_BYTES):
                yield bytes(piece)

    async def tail(self, key: str, *, length: int) -> Tail:
        """Return at most the last `length` bytes, in one request."""
        with self._translate_errors(key):
            result = await self._store.get_async(key, options={"range": {"suffix": length}})
            return Tail(bytes(await result.bytes_async()), result.meta["size"])

    async def begin(self, key: str, *, length: int) -> Beginning:
        """Return at most the first `length` bytes, in one request; StoreError for an object without any."""
        with self._translate_errors(key):
            result = await self._store.get_async(key, options={"range": (0, length)})
            return Beginning(bytes(await result.bytes_async()), result.meta["size"])

    async def range(self, key: str, *, start: int, length: int) -> bytes:
        """Return at most `length` bytes from `start`, in one request; StoreError behind the end."""
        with self._translate_errors(key):
            return bytes(await self._store.get_range_async(key, start=start, length=length))

    async def head(self, key: str) -> StoredObject:
        """Return size and time of one object."""
        with self._translate_errors(key):
            return _to_stored(await self._store.head_async(key))

    async def exists(self, key: str) -> bool:
        """Return whether the object is there."""
        try:
            await self.head(key)
        except ObjectMissing:
            return False
        return True

    async def list(self, prefix: str) -> AsyncIterator[StoredObject]:
        """Yield objects below `prefix`, a path of whole segments: `a/b` lists `a/b/c`, never `a/bc`."""
        with self._translate_errors(prefix):
            async for page in self._store.list(prefix, chunk_size=1000):
                for entry in page:
                    yield _to_stored(entry)

    async def folder(self, prefix: str) -> Folder:
        """Return what lies directly below `prefix`, a path of whole segments; ten thousand folders take
        ten requests.
        """
        with self._translate_errors(prefix):
            found = await self._store.list_with_delimiter_async(prefix)
        return Folder(
            [path.rpartition("/")[2] for path in found["common_prefixes"]],
            [entry["path"].rpartition("/")[2] for entry in found["objects"]],
        )

    async def delete(self, keys: Sequence[str]) -> None:
        """Delete objects; those that are not there do not matter."""
        if not keys:
            return
        try:
            with self._translate_errors(keys[0]):
                await self._store.delete_async(list(keys))
        except ObjectMissing:
            # Some stores refuse a whole batch because of one that is gone already.
            for key in keys if len(keys) > 1 else ():
                await self.delete([key])

    async def delete_prefix(self, prefix: str) -> int:
        """Delete everything below `prefix`, as `list` understands it; return how many objects that were."""
        if not prefix.strip("/"):
            raise StoreError("refusing to delete everything: the prefix is empty")
        keys = [entry.key async for entry in self.list(prefix)]
        for start in range(0, len(keys), 1000):
            await self.delete(keys[start : start + 1000])
        return len(keys)

    @contextmanager
    def _translate_errors(self, key: str, *, writing: bool = False) -> Iterator[None]:
        try:
            yield
        except (BaseError, FileNotFoundError) as error:
            # Without the cause: its text holds request signatures, and a traceback would print it.
            raise explain(error, store=self._place, key=key, writing=writing) from None


def _to_stored(meta: Any) -> StoredObject:
    return StoredObject(meta["path"], meta["size"], meta["last_modified"])


def _build_client_options(settings: StoreSettings) -> "ClientConfig":
    options: ClientConfig = {
        "allow_http": settings.endpoint.startswith("http://"),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=settings.read_seconds),
        "timeout": WHOLE_REQUEST,
    }
    if settings.ca_file is not None:
        options["root_certificate"] = settings.ca_file.read_bytes()
    return options


def _build_retry_config(settings: StoreSettings) -> "RetryConfig":
    return {"max_retries": 3, "retry_timeout": timedelta(seconds=settings.retry_seconds)}


def _build_options(settings: StoreSettings) -> dict[str, Any]:
    given = {"endpoint": settings.endpoint, "region": settings.region}
    return {name: value for name, value in given.items() if value}
