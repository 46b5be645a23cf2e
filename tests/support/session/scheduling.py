"""How the workers of pytest-xdist divide the tests of the system tier: test by test, but for files whose tests belong
together.

xdist's own mark for that, `xdist_group`, has no effect with pytest 9.2: it is written into the id of a test, which can
no longer be changed.
"""

from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Their tests live through the same clusters, or share what takes minutes.
WHOLE_FILES = {"test_cluster_life.py", "test_catalogue_job.py", "test_secrets.py"}
# Tests of these take minutes, and come first: the last ones to end should be short.
LONG_FILES = {"test_outages.py", "test_front_end_replicas.py", "test_resume.py", "test_endings.py", "test_queue.py"}


class ByTest(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Gives a worker the next test, or the next file of `WHOLE_FILES`, when it has finished one."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return file if Path(file).name in WHOLE_FILES else nodeid


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put them into the order in which workers get them; whole files come before all others anyway."""
    # What a worker is told of `--dist=loadgroup`.
    if getattr(config.option, "loadgroup", False):
        items.sort(key=lambda item: item.path.name not in LONG_FILES)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByTest | None:
    """Used with `--dist=loadgroup`."""
    return ByTest(config, log) if config.getvalue("dist") == "loadgroup" else None
