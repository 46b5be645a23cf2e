"""`python -m lmms_eval_reporter.catalogue`, second container of the catalogue's Job: from the run directory to the
store.

Without a token and without the API server, unlike `main`. What it finds was written by another image, and is checked.
"""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

from pydantic import ValidationError

from lmms_eval_core import layout
from lmms_eval_core.catalogue import CATALOGUE_FILE, MAX_CATALOGUE_BYTES, Catalogue
from lmms_eval_core.names import ENV_RUN_DIRECTORY
from lmms_eval_core.run import RUN_DIRECTORY
from lmms_eval_core.store.errors import Misconfigured
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings
from lmms_eval_reporter.reporter_log import ReporterLog
from lmms_eval_reporter.retry import Backoff
from lmms_eval_reporter.run_directory import RunDirectory, UnsafeFile

ENV_NAMESPACE: Final = "LMMS_EVAL_NAMESPACE"
ENV_CATALOGUE: Final = "LMMS_EVAL_CATALOGUE"

# The store may be on its way up, as after an installation. The Job tries again besides.
STORE_WAIT_SECONDS: Final = 600.0
EXIT_FAILED: Final = 2


@dataclass(frozen=True, kw_only=True)
class CatalogueUpload:
    """Which run directory the catalogue is in, and the store and key that it is uploaded to."""

    directory: Path
    store: StoreSettings
    key: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "CatalogueUpload":
        """Read the environment; KeyError with the name of the variable that is not set."""
        return cls(
            directory=Path(environment.get(ENV_RUN_DIRECTORY, str(RUN_DIRECTORY))),
            store=StoreSettings.from_environment(environment),
            key=f"{environment[ENV_NAMESPACE]}/{layout.catalogue_file(environment[ENV_CATALOGUE])}",
        )


async def upload_catalogue(upload: CatalogueUpload, log: ReporterLog) -> None:
    """Upload the catalogue.

    UnsafeFile and ValidationError for a file that is none, TimeoutError if the store stays away.
    """

    async def ignore_failure(error: Exception) -> None: ...

    content = RunDirectory(upload.directory).read(CATALOGUE_FILE, max_bytes=MAX_CATALOGUE_BYTES)
    catalogue = Catalogue.model_validate_json(content)
    store, backoff = ObjectStore(upload.store), Backoff(log, ignore_failure)
    async with asyncio.timeout(STORE_WAIT_SECONDS):
        stored = catalogue.to_json().encode()
        await backoff.retry(lambda: store.put(upload.key, stored), "upload of the catalogue")
    log("stored", key=upload.key, tasks=len(catalogue.tasks), models=len(catalogue.models), bytes=len(stored))


def main() -> None:
    """Exit with 0 when the catalogue is stored."""
    log = ReporterLog()
    try:
        asyncio.run(upload_catalogue(CatalogueUpload.from_environment(os.environ), log))
    except KeyError as error:
        fail(log, f"{error.args[0]} is not set")
    except ValidationError as error:
        fail(log, f"{CATALOGUE_FILE} is not a catalogue: {error.error_count()} errors in it")
    except (UnsafeFile, Misconfigured) as error:
        fail(log, str(error))
    except TimeoutError:
        fail(log, f"the store was away for {STORE_WAIT_SECONDS:g} seconds")
    # Without the interpreter's shutdown, in which obstore's threads may abort the process (see core.store.objects).
    sys.stderr.flush()
    os._exit(0)


def fail(log: ReporterLog, error: str) -> NoReturn:
    """Log the error, and end the container with `EXIT_FAILED`."""
    log("cannot bring the catalogue", error=error)
    os._exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
