"""What is told of every test on a real node."""

from collections.abc import Callable

import pytest
from release_fixtures import NAMESPACE


@pytest.fixture(autouse=True)
def _report_namespace(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Writes into the report in which namespace the test's release is: a failure is looked for there."""
    if "release" in request.fixturenames:
        record_property("namespace", NAMESPACE)
