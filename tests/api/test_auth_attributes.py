"""What a request asks for, in verbs of Kubernetes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import get_route_path

from lmms_eval_api.auth.attributes import Wish, below, wish

WISHES = [
    ("POST", "/evaluate", Wish("create")),
    ("POST", "/merge", Wish("create")),
    ("GET", "/jobs", Wish("list")),
    ("GET", "/queue", Wish("list")),
    ("GET", "/tasks", Wish("list")),
    ("GET", "/openapi.json", Wish("list")),
    ("GET", "/nowhere", Wish("list")),
    ("GET", "/jobs/a-job", Wish("get", "a-job")),
    ("GET", "/jobs/a-job/results", Wish("get", "a-job")),
    ("GET", "/jobs/a-job/samples/mme", Wish("get", "a-job")),
    ("HEAD", "/jobs/a-job", Wish("get", "a-job")),
    ("GET", "/jobs/", Wish("list")),
    ("GET", "/jobs/Not_A_Name", Wish("list")),
    ("GET", "/jobs/" + "a" * 64, Wish("list")),
    ("GET", "//jobs/a-job", Wish("list")),
    ("GET", "/jobs//a-job", Wish("list")),
    ("PATCH", "/jobs/a-job", Wish("patch", "a-job")),
    ("DELETE", "/jobs/a-job", Wish("patch", "a-job")),
    ("DELETE", "/jobs", Wish("patch")),
    ("PUT", "/jobs/a-job", Wish("patch", "a-job")),
    ("get", "/jobs/a-job", Wish("patch", "a-job")),
]


@pytest.mark.parametrize(("method", "path", "wished"), WISHES)
def test_what_is_asked_for(method: str, path: str, wished: Wish) -> None:
    assert wish(method, path) == wished


@given(st.text(), st.text())
def test_nothing_but_a_read_is_a_read(method: str, path: str) -> None:
    wished = wish(method, path)
    assert (wished.verb in ("get", "list")) == (method in ("GET", "HEAD", "OPTIONS"))


PARTS = st.lists(st.sampled_from(["", "jobs", "a", "prefix", "..", "events"]), max_size=5).map(
    lambda parts: "/" + "/".join(parts)
)


@given(PARTS, st.sampled_from(["", "/prefix", "/prefix/jobs", "/jobs"]))
def test_a_path_prefix_is_read_as_the_routes_read_it(path: str, prefix: str) -> None:
    routed = get_route_path({"type": "http", "path": path, "root_path": prefix})
    assert below(path, prefix) == (routed or path)
