"""A front end in a hard life: slow clients, an API server that is away, tokens that are rotated, all under load."""

import asyncio
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import api_server_proxy
import httpx
import pytest
from abuse import ABUSE_FACTOR
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from mounted_secret import mount_secret
from plain_http import NO_TLS

from lmms_eval_core.kube.client import EVALUATIONS
from lmms_eval_core.kube.transport import Transport

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180 + 60 * ABUSE_FACTOR)]

REQUEST = {"model": "llava_hf", "tasks": ["mme"]}
# For a machine that does other things as well.
SLACK_SECONDS = 5


def session(front_end: FrontEnd, token: str = TOKEN) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(base_url=front_end.url, headers=headers, timeout=30, trust_env=False, verify=NO_TLS)


@asynccontextmanager
async def load(*ask: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Asks all of these again and again, in the background."""
    done = asyncio.Event()

    async def again(one: Callable[[], Awaitable[object]]) -> None:
        while not done.is_set():
            await one()

    async with asyncio.TaskGroup() as group:
        for one in ask:
            group.create_task(again(one))
        try:
            yield
        finally:
            done.set()


async def test_slow_silent_and_deaf_clients_harm_nobody(start_front_end: StartFrontEnd) -> None:
    front_end = start_front_end(LMMS_EVAL_API_REQUEST_SECONDS="3")
    await asyncio.to_thread(front_end.wait_until_ready)
    port = httpx.URL(front_end.url).port
    head = f"Host: a\r\nAuthorization: Bearer {TOKEN}\r\n".encode()
    async with session(front_end) as ours:
        job = (await ours.post("/evaluate", json=REQUEST)).json()["job_id"]
        says = (
            b"",
            b"GET /queue HTTP/1.1\r\nHo",
            b"POST /evaluate HTTP/1.1\r\n" + head + b"Content-Length: 100\r\n\r\n{",
            b"POST /evaluate HTTP/1.1\r\n" + head + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
            f"GET /jobs/{job}/events HTTP/1.1\r\n".encode() + head + b"\r\n",
            b"GET /queue HTTP/1.1\r\n" + head + b"\r\n",
        )
        rude = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        for number, connection in enumerate(rude):
            connection.sendall(says[number % len(says)])
        slowest = 0.0
        for _ in range(100):
            began = time.monotonic()
            assert (await ours.get(f"/jobs/{job}")).status_code == 200
            slowest = max(slowest, time.monotonic() - began)
        assert slowest < SLACK_SECONDS
        # Half of them were too slow to say what they want, and are gone; those that follow the job stay.
        silent = [rude[number] for number in range(len(rude)) if number % len(says) < 4]
        async with asyncio.timeout(60):
            for connection in silent:
                await until_hung_up(connection)
        assert not any(hung_up(rude[number]) for number in range(len(rude)) if number % len(says) == 4)
        assert (await ours.get(f"/jobs/{job}")).status_code == 200
        for connection in rude:
            connection.close()
    assert await asyncio.to_thread(front_end.stop) == 0


async def until_hung_up(connection: socket.socket) -> None:
    while True:
        if hung_up(connection):
            return
        await asyncio.sleep(0.05)


def hung_up(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        while data := connection.recv(65536):
            assert not data.startswith(b"HTTP/1.1 5")
        return True
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def test_an_api_server_that_is_away_makes_no_answer_wrong(
    start_front_end: StartFrontEnd, kubeconfig: str, client: Transport, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """By default seconds long; a minute, and the settings as they are, with LMMS_EVAL_TEST_ABUSE=10 or more."""
    whole = ABUSE_FACTOR >= 10
    away, stale = (70.0, "60") if whole else (6.0, "3")
    async with api_server_proxy.open_proxy(kubeconfig, tmp_path_factory.mktemp("proxy")) as (proxy, through):
        front_end = start_front_end(KUBECONFIG=through, LMMS_EVAL_API_MAX_STALE_SECONDS=stale)
        await asyncio.to_thread(front_end.wait_until_ready)
        seen: Counter[tuple[str, int]] = Counter()
        async with session(front_end) as ours:
            job = (await ours.post("/evaluate", json=REQUEST)).json()["job_id"]

            async def ask(method: str, path: str, **body: object) -> None:
                answer = await ours.request(method, path, **body)  # type: ignore[arg-type]  # one body in two forms
                seen[method, answer.status_code] += 1
                assert answer.status_code in (200, 503), answer.text
                assert answer.status_code == 200 or int(answer.headers["Retry-After"]) > 0
                await asyncio.sleep(0.02)

            reads = [lambda path=path: ask("GET", path) for path in (f"/jobs/{job}", "/queue", "/jobs", "/health")]
            writes = [
                lambda: ask("POST", "/evaluate", json=REQUEST),
                lambda: ask("PATCH", f"/jobs/{job}", json={"priority": 1}),
            ]
            async with load(*reads, *writes):
                await asyncio.sleep(0.5)
                proxy.mode = "cut"
                # An open watch is cut at its next event.
                await client.json_patch(EVALUATIONS, job, [{"op": "add", "path": "/spec/priority", "value": 7}])
                await asyncio.sleep(away / 2)
                proxy.mode = "500"
                await asyncio.sleep(away / 2)
                assert (await ours.get("/livez")).status_code == 200
                assert (await ours.get("/readyz")).status_code == 503
                proxy.mode = "pass"
                deadline = time.monotonic() + 40
                while (await ours.get("/readyz")).status_code != 200:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.1)
                before = seen["GET", 503] + seen["POST", 503]
                await asyncio.sleep(1)
                assert seen["GET", 503] + seen["POST", 503] - before <= len(writes)
            assert (
                min(seen["GET", 200], seen["GET", 503], seen["POST", 200], seen["POST", 503], seen["PATCH", 200]) > 0
            ), seen
            assert (await ours.post("/evaluate", json=REQUEST)).status_code == 200
        assert "Traceback" not in front_end.log.read_text()
        assert await asyncio.to_thread(front_end.stop) == 0


async def test_a_token_is_rotated_under_load_and_the_new_one_never_fails(front_end: FrontEnd) -> None:
    new, late = "the-new-token", [0]
    seen: Counter[tuple[str, int]] = Counter()
    tokens = {"old": TOKEN, "new": new}

    mount_secret(front_end.tokens, tests=TOKEN)
    async with session(front_end) as ours:

        async def ask(who: str) -> None:
            answer = await ours.get("/queue", headers={"Authorization": f"Bearer {tokens[who]}"})
            seen[who, answer.status_code] += 1

        async def asked(who: str, times: int) -> None:
            async with asyncio.timeout(30):
                while True:
                    if seen[who, 200] >= times:
                        return
                    await asyncio.sleep(0.02)

        async with load(*(lambda: ask("old") for _ in range(4))):
            await asked("old", 20)
            began = time.monotonic()
            mount_secret(front_end.tokens, tests=TOKEN, new=new)
            await until(ours, new, 200)
            assert time.monotonic() - began < 1 + SLACK_SECONDS
            async with load(*(lambda: ask("new") for _ in range(4))):
                await asked("new", 20)
                assert seen["old", 401] == 0
                began = time.monotonic()
                mount_secret(front_end.tokens, new=new)
                await until(ours, TOKEN, 401)
                assert time.monotonic() - began < 1 + SLACK_SECONDS
                late[0] = seen["old", 200]
                await asked("new", seen["new", 200] + 20)
    assert seen["new", 401] == 0
    # Not one of the old ones came in later.
    assert seen["old", 200] == late[0]
    assert seen["old", 401] > 0


async def until(ours: httpx.AsyncClient, token: str, status: int) -> None:
    async with asyncio.timeout(30):
        while True:
            if (await ours.get("/queue", headers={"Authorization": f"Bearer {token}"})).status_code == status:
                return
            await asyncio.sleep(0.02)
