"""What `make test` provides for tests that need more than Python; without it they fail with the command to run.

A bare pytest starts no cluster and builds no program: either can take half an hour.
"""

import json
import os

import pytest
from lmms_eval_test.processes import MARK

# Path of the kubeconfig of a cluster's API server; no node is needed.
KUBECONFIG = "LMMS_EVAL_TEST_KUBECONFIG"
# The pinned programs, as JSON: name to path.
PROGRAMS = "LMMS_EVAL_TEST_PROGRAMS"
# Our images on a cluster with a node, as JSON: short name to what its pods call them.
IMAGES = "LMMS_EVAL_TEST_IMAGES"


def require_variable(variable: str, what: str, tier: str) -> str:
    """Return the variable's value; without it the test fails with the command that sets it."""
    value = os.environ.get(variable)
    if not value:
        pytest.fail(
            f"This test needs {what}, and pytest alone brings up none: run `make test TIER={tier}` "
            f"(ARGS='-k NAME' selects tests), which sets {variable}.",
            pytrace=False,
        )
    return value


def find_program(name: str) -> str:
    """Return the path of a pinned program."""
    programs: dict[str, str] = json.loads(require_variable(PROGRAMS, f"the pinned {name}", "integration"))
    return programs[name]


def build_bare_environment() -> dict[str, str]:
    """Build an environment without the variables of the test run.

    It has PATH, and the mark by which `make test` finds processes that were left behind.
    """
    return {name: os.environ[name] for name in ("PATH", MARK) if name in os.environ}
