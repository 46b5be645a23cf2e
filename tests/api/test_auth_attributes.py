"""What a request asks for, in verbs of Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette._utils import get_route_path
from starlette.datastructures import QueryParams

from lmms_eval_api.auth.attributes import ResourceAttributes, derive_attributes, list_attributes, strip_root_path

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


def get(*names: str) -> list[ResourceAttributes]:
    return [ResourceAttributes("get", name) for name in names]


COMPARED = [
    ("/jobs/a/compare", b"baseline=b", get("a", "b")),
    ("/jobs/a/compare", b"baseline=b&baseline=c&candidate=d&baseline=b", get("a", "b", "c", "d")),
    ("/jobs/a/compare", b"%62aseline=%62&margin=1", get("a", "b")),
    # Whatever the path, as a route may match what no pattern of ours would.
    ("/jobs/a/compare\n", b"baseline=b", get("a", "b")),
    ("/jobs/a/results", b"baseline=b", get("a", "b")),
    ("/jobs/a/compare", b"baseline=", get("")),
    ("/jobs/a/compare", b"baseline=Not_A_Name", get("")),
    ("/jobs/a/compare", b"baseline=b/../c", get("")),
    ("/jobs/a/compare", b"baseline=b&baseline=c&baseline=d&baseline=e&baseline=f", get("")),
    ("/jobs/a/compare", b"", get("a")),
    ("/jobs/a/compare", b"margin=1&\xff=%ff", get("a")),
    ("/jobs/Not_A_Name/compare", b"baseline=b", [ResourceAttributes("list")]),
    ("/jobs", b"baseline=b", [ResourceAttributes("list")]),
]


@pytest.mark.parametrize(("path", "query", "attributes"), COMPARED)
def test_jobs_that_a_query_names_are_read_too(path: str, query: bytes, attributes: list[ResourceAttributes]) -> None:
    assert list_attributes("GET", path, query) == attributes
    assert list_attributes("PATCH", path, query) == [derive_attributes("PATCH", path)]


@given(st.binary())
def test_names_are_read_as_the_routes_read_them(query: bytes) -> None:
    params = QueryParams(query)
    named = {*params.getlist("baseline"), *params.getlist("candidate")}
    found = list_attributes("GET", "/jobs/a/compare", query)
    assert named <= {attributes.name for attributes in found} or found == get("")


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
