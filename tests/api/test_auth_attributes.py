"""What a request asks for, in verbs of Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path

from lmms_eval_api.auth.attributes import ResourceAttributes, derive_attributes, strip_root_path

ATTRIBUTES = [
    ("POST", "/evaluate", ResourceAttributes("create")),
    ("POST", "/merge", ResourceAttributes("create")),
    ("GET", "/jobs", ResourceAttributes("list")),
    ("GET", "/queue", ResourceAttributes("list")),
    ("GET", "/tasks", ResourceAttributes("list")),
    ("GET", "/openapi.json", ResourceAttributes("list")),
    ("GET", "/nowhere", ResourceAttributes("list")),
    ("GET", "/jobs/a-job", ResourceAttributes("get", "a-job")),
    ("GET", "/jobs/a-job/results", ResourceAttributes("get", "a-job")),
    ("GET", "/jobs/a-job/samples/mme", ResourceAttributes("get", "a-job")),
    ("HEAD", "/jobs/a-job", ResourceAttributes("get", "a-job")),
    ("GET", "/jobs/", ResourceAttributes("list")),
    ("GET", "/jobs/Not_A_Name", ResourceAttributes("list")),
    ("GET", "/jobs/" + "a" * 64, ResourceAttributes("list")),
    ("GET", "//jobs/a-job", ResourceAttributes("list")),
    ("GET", "/jobs//a-job", ResourceAttributes("list")),
    ("PATCH", "/jobs/a-job", ResourceAttributes("patch", "a-job")),
    ("DELETE", "/jobs/a-job", ResourceAttributes("patch", "a-job")),
    ("DELETE", "/jobs", ResourceAttributes("patch")),
    ("PUT", "/jobs/a-job", ResourceAttributes("patch", "a-job")),
    ("get", "/jobs/a-job", ResourceAttributes("patch", "a-job")),
]


@pytest.mark.parametrize(("method", "path", "attributes"), ATTRIBUTES)
def test_what_is_asked_for(method: str, path: str, attributes: ResourceAttributes) -> None:
    assert derive_attributes(method, path) == attributes


@given(st.text(), st.text())
def test_nothing_but_a_read_is_a_read(method: str, path: str) -> None:
    attributes = derive_attributes(method, path)
    assert (attributes.verb in ("get", "list")) == (method in ("GET", "HEAD", "OPTIONS"))


PARTS = st.lists(st.sampled_from(["", "jobs", "a", "prefix", "..", "events"]), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@given(PARTS, st.sampled_from(["", "/prefix", "/prefix/jobs", "/jobs"]))
def test_a_path_prefix_is_read_as_the_routes_read_it(path: str, prefix: str) -> None:
    routed = get_route_path({"type": "http", "path": path, "root_path": prefix})
    assert strip_root_path(path, prefix) == (routed or path)
