"""The whole OpenAPI document, tried by schemathesis on a real front end: no 5xx, no hang, every answer
as documented.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from abuse import ABUSE_FACTOR, INTERNAL_TEXTS, MAX_ANSWER_SECONDS, create_ended_job
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from s3_fixtures import S3Server
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from lmms_eval_core.kube.transport import Transport
from lmms_eval_core.store.objects import ObjectStore
from lmms_eval_core.store.settings import StoreSettings

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(60 + 240 * ABUSE_FACTOR),
    pytest.mark.filterwarnings("ignore"),
]

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
EXAMPLES = max(1, int(30 * ABUSE_FACTOR))
CHECKS = [response_schema_conformance, content_type_conformance, status_code_conformance]
# Upstream merges checkpoints there; here it is a sentence.
NOT_IMPLEMENTED = {("POST", "/merge")}
SEED = 5


class Stage(NamedTuple):
    front_end: FrontEnd
    operations: list[APIOperation[Any, Any, Any, Any]]


@pytest.fixture
async def stage(start_front_end: StartFrontEnd, s3_server: S3Server, client: Transport) -> Stage:
    """A front end that knows an ended job, a queued one, and no limits."""
    off = {"LMMS_EVAL_API_REQUESTS_PER_SECOND": "0", "LMMS_EVAL_API_SUBMISSIONS_PER_MINUTE": "0"}
    front_end = start_front_end(**s3_server.environment(), **off)
    front_end.wait_until_ready()
    await create_ended_job(client, ObjectStore(StoreSettings.from_environment(s3_server.environment())), "ended")
    with front_end.session() as session:
        session.post("/evaluate", json={"model": "a", "tasks": ["b"], "name": "queued"}).raise_for_status()
        document = session.get("/openapi.json").json()
    schema = schemathesis.openapi.from_dict(document)
    operations = []
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        # This one has no end.
        if found.ok().path != "/events":
            operations.append(found.ok())
    return Stage(front_end, operations)


def path_parameters(operation: APIOperation[Any, Any, Any, Any]) -> st.SearchStrategy[dict[str, str]]:
    """Now and then jobs that there are; one that has ended where an answer would else last."""
    lasting = operation.path.endswith(("/events", "/logs"))
    known = st.sampled_from(["ended"] if lasting else ["ended", "queued"])
    strange = st.text(min_size=1, max_size=70).filter(
        lambda text: "/" not in text and text.strip(".") and text != "queued"
    )
    parts = {
        "job_id": known | known | strange,
        "task": st.just("mme") | strange,
        "doc_id": st.just("7") | strange,
        "digest": st.just("0" * 64) | strange,
        "path": st.just("work/a.csv") | strange,
    }
    return st.fixed_dictionaries({name: parts[name] for name in parts if f"{{{name}}}" in operation.path})


def modes(operation: APIOperation[Any, Any, Any, Any]) -> Iterator[GenerationMode]:
    yield GenerationMode.POSITIVE
    if list(operation.body) or list(operation.query):
        yield GenerationMode.NEGATIVE


def test_every_operation_keeps_its_word(stage: Stage, subtests: pytest.Subtests) -> None:
    assert len(stage.operations) >= 15
    with requests.Session() as session:
        session.trust_env = False
        for operation in stage.operations:
            for mode in modes(operation):
                with subtests.test(msg=f"{operation.label} {mode.value}"):
                    hammer(stage.front_end, session, operation, mode)
    assert stage.front_end.process.poll() is None
    with stage.front_end.session() as check:
        assert check.get("/queue").status_code == 200
    assert "Traceback" not in stage.front_end.log.read_text()


def hammer(
    front_end: FrontEnd, session: requests.Session, operation: APIOperation[Any, Any, Any, Any], mode: GenerationMode
) -> None:
    @seed(SEED)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @given(case=operation.as_strategy(mode), path=path_parameters(operation))
    def one(case: schemathesis.Case[Any], path: dict[str, str]) -> None:
        case.path_parameters = path
        answer = case.call(base_url=front_end.url, session=session, headers=HEADERS, timeout=MAX_ANSWER_SECONDS)
        if not (answer.status_code == 501 and (operation.method.upper(), operation.path) in NOT_IMPLEMENTED):
            case.validate_response(answer, checks=[not_a_server_error])
        # OpenAPI 3.1 has no words for a stream of events.
        skipped = [response_schema_conformance] if operation.path.endswith("/events") else []
        case.validate_response(answer, checks=[check for check in CHECKS if check not in skipped])
        assert not [word for word in INTERNAL_TEXTS if word in answer.text], answer.text

    one()
