"""`python -m lmms_eval_reporter.catalogue`, second container of the catalogue's Job: from the run directory to the store.

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
from lmms_eval_reporter.files import RunDirectory, UnsafeFile
from lmms_eval_reporter.logs import Log
from lmms_eval_reporter.patience import Patience

ENV_NAMESPACE: Final = "LMMS_EVAL_NAMESPACE"
ENV_CATALOGUE: Final = "LMMS_EVAL_CATALOGUE"

# The store may be on its way up, as after an installation. The Job tries again besides.
PATIENCE_SECONDS: Final = 600.0
CANNOT: Final = 2


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What to bring where."""

    directory: Path
    store: StoreSettings
    key: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Errand":
        """KeyError with the name of the variable that is not set."""
        return cls(
            directory=Path(environment.get(ENV_RUN_DIRECTORY, str(RUN_DIRECTORY))),
            store=StoreSettings.from_environment(environment),
            key=f"{environment[ENV_NAMESPACE]}/{layout.catalogue_file(environment[ENV_CATALOGUE])}",
        )


async def bring(errand: Errand, log: Log) -> None:
    """UnsafeFile and ValidationError for a file that is none, TimeoutError for a store that stays away."""

    async def nobody_to_tell(error: Exception) -> None: ...

    content = RunDirectory(errand.directory).read(CATALOGUE_FILE, max_bytes=MAX_CATALOGUE_BYTES)
    catalogue = Catalogue.model_validate_json(content)
    store, patience = ObjectStore(errand.store), Patience(log, nobody_to_tell)
    async with asyncio.timeout(PATIENCE_SECONDS):
        stored = catalogue.to_json().encode()
        await patience.until_done(lambda: store.put(errand.key, stored), "upload of the catalogue")
    log("stored", key=errand.key, tasks=len(catalogue.tasks), models=len(catalogue.models), bytes=len(stored))


def main() -> None:
    """Exits 0 when the catalogue is stored."""
    log = Log()
    try:
        asyncio.run(bring(Errand.from_environment(os.environ), log))
    except KeyError as error:
        end(log, f"{error.args[0]} is not set")
    except ValidationError as error:
        end(log, f"{CATALOGUE_FILE} is not a catalogue: {error.error_count()} errors in it")
    except (UnsafeFile, Misconfigured) as error:
        end(log, str(error))
    except TimeoutError:
        end(log, f"the store was away for {PATIENCE_SECONDS:g} seconds")
    # Without the interpreter's shutdown, in which obstore's threads may abort the process (see core.store.objects).
    sys.stderr.flush()
    os._exit(0)


def end(log: Log, error: str) -> NoReturn:
    """Says why, and fails the container."""
    log("cannot bring the catalogue", error=error)
    os._exit(CANNOT)


if __name__ == "__main__":
    main()
