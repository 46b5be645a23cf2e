"""Reads the weights of the model into the page cache while the harness still imports Python, so that loading finds them
there.

Nothing depends on it: what it does not find, cannot read or has no memory for is read by the harness itself, as ever.
Plain reads, since they alone say when they are done: after `posix_fadvise(WILLNEED)` a part is still missing, and
nothing can stop it.
"""

import ctypes
import json
import platform
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from lmms_eval_core.names import ENV_READ_AHEAD
from lmms_eval_core.schema import Scalar

from .arguments import MODEL_KEYS, find_model_arg
from .container_memory import read_available_memory

# Of the memory that is available; the rest is for the model itself, which may be loaded into the same memory.
SHARE: Final = 0.5
CHUNK: Final = 8 * 1024 * 1024
# What `from_pretrained` reads of a model: the first that is there, whole or in the parts that an index names.
_WEIGHTS: Final = ("model.safetensors", "pytorch_model.bin")

# No library wraps ioprio_set(2): its number, by machine, "this thread", and the last place among those that the disk
# serves. Not "idle", which may wait for seconds: by then the harness waits for the same page.
_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_THIS_THREAD: Final = (1, 0)
_LAST: Final = 2 << 13 | 7


class ReadAhead:
    """Reads in a thread of its own for as long as the block lasts, `wanted` holds and there is memory."""

    def __init__(
        self,
        model_args: Mapping[str, Scalar],
        environ: Mapping[str, str],
        *,
        wanted: Callable[[], bool],
        available: Callable[[], int] = read_available_memory,
    ) -> None:
        self._model_args, self._environ = model_args, environ
        self._wanted, self._available = wanted, available
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="read-ahead", daemon=True)
        self._began = self._ended = time.monotonic()
        self.bytes = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not waited for: it may hang on a disk that is away, and ends with the process.
        self._stopped = True

    def __str__(self) -> str:
        seconds = self._ended - self._began
        return f"{self.bytes / 1e9:.1f} GB of weights were read ahead in {seconds:.1f} s" if self.bytes else ""

    def _run(self) -> None:
        _yield_the_disk()
        try:
            for path in find_weight_files(self._model_args, self._environ):
                self._read(path)
        except (OSError, ValueError, LookupError, AttributeError, TypeError):
            # A folder that cannot be read or an index of another form: the harness reports it itself.
            return

    def _read(self, path: Path) -> None:
        buffer = bytearray(CHUNK)
        with path.open("rb", buffering=0) as file:
            while self._can_go_on() and (count := file.readinto(buffer)):
                self.bytes += count
                self._ended = time.monotonic()

    def _can_go_on(self) -> bool:
        return not self._stopped and self._wanted() and self.bytes + CHUNK <= self._available() * SHARE


def find_weight_files(model_args: Mapping[str, Scalar], environ: Mapping[str, str]) -> list[Path]:
    """Return the files of the model's weights in the order in which transformers loads them.

    There are none where the model is not on this disk, or `LMMS_EVAL_READ_AHEAD=0` asks for it. Raises OSError or
    ValueError for an index that cannot be read.
    """
    model = find_model_arg(model_args, MODEL_KEYS)
    if not model or environ.get(ENV_READ_AHEAD) == "0":
        return []
    folder = _find_model_folder(model, str(model_args.get("revision") or "main"), environ)
    for whole in _WEIGHTS:
        if (folder / whole).is_file():
            return [folder / whole]
        if (index := folder / f"{whole}.index.json").is_file():
            shards = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            return [path for path in (folder / shard for shard in shards) if path.is_file()]
    return []


def _find_model_folder(model: str, revision: str, environ: Mapping[str, str]) -> Path:
    """Return the model's own folder, or the snapshot of it that the cache of the hub has."""
    if Path(model).is_absolute():
        return Path(model)
    repository = _find_hub_cache(environ) / f"models--{model.replace('/', '--')}"
    reference = repository / "refs" / revision
    return repository / "snapshots" / (reference.read_text().strip() if reference.is_file() else revision)


def _find_hub_cache(environ: Mapping[str, str]) -> Path:
    """Return the cache as huggingface_hub finds it, which is not imported here for that."""
    if named := environ.get("HF_HUB_CACHE") or environ.get("HUGGINGFACE_HUB_CACHE"):
        return Path(named)
    cache = Path(environ.get("XDG_CACHE_HOME") or Path(environ.get("HOME", "/")) / ".cache")
    return Path(environ.get("HF_HOME") or cache / "huggingface") / "hub"


def _yield_the_disk() -> None:
    """Let all other reads from the disk come first, the imports among them; not every disk knows of priorities."""
    if number := _IOPRIO_SET.get(platform.machine()):
        ctypes.CDLL(None).syscall(number, *_THIS_THREAD, _LAST)
