"""https by the front end itself: a real process on a real API server, and renewals while it serves."""

import asyncio
import ssl
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
import uvicorn
from front_end_fixtures import TOKEN, FrontEnd, StartFrontEnd
from mounted_secret import mount_secret

from lmms_eval_api.server import tls
from lmms_eval_api.settings import SettingsError

HEADERS = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def serve(directory: Path, issued: trustme.LeafCert, *, mixed: trustme.LeafCert | None = None) -> None:
    """Shows a certificate, with its own key or with that of another one."""
    chain = b"".join(pem.bytes() for pem in issued.cert_chain_pems)
    mount_secret(
        directory, **{"tls.crt": chain.decode(), "tls.key": (mixed or issued).private_key_pem.bytes().decode()}
    )


def trusting(*authorities: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for authority in authorities:
        authority.configure_trust(context)
    return context


def issued(authority: trustme.CA, number: int, *, key: trustme.KeyType = trustme.KeyType.ECDSA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1", common_name=f"number {number}", key_type=key)


def shown(context: ssl.SSLContext, served: ssl.SSLContext, *, host: str | None = "127.0.0.1") -> str:
    """The name of the certificate that a handshake in memory gets."""
    there, here = (ssl.MemoryBIO(), ssl.MemoryBIO()), (ssl.MemoryBIO(), ssl.MemoryBIO())
    client = context.wrap_bio(*there, server_hostname=host)
    server = served.wrap_bio(*here, server_side=True)
    for _ in range(3):
        for side in (client, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
            here[0].write(there[1].read())
            there[0].write(here[1].read())
    certificate: Any = client.getpeercert()
    subject: dict[str, str] = dict(pair for part in certificate["subject"] for pair in part)
    return subject["commonName"]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_renewal_is_taken_within_a_second_and_half_of_one_is_not(tmp_path: Path, authority: trustme.CA) -> None:
    clock = Clock()
    first, second = issued(authority, 1), issued(authority, 2, key=trustme.KeyType.RSA)
    serve(tmp_path, first)
    served = tls.Certificate(tmp_path, clock=clock).make_context()
    assert shown(trusting(authority), served) == "number 1"
    serve(tmp_path, second, mixed=first)
    clock.now = 1
    assert shown(trusting(authority), served) == "number 1"
    serve(tmp_path, second)
    assert shown(trusting(authority), served) == "number 1"
    clock.now = 2
    # Of another kind of key, and nothing of the old one is left.
    assert shown(trusting(authority), served) == "number 2"
    anybody = trusting(authority)
    anybody.check_hostname = False
    assert shown(anybody, served, host=None) == "number 2"


def test_a_context_that_uvicorn_keeps_serves_the_renewed_certificate(tmp_path: Path, authority: trustme.CA) -> None:
    serve(tmp_path, issued(authority, 1))
    context = tls.make_context_factory(tmp_path)(uvicorn.Config("a"), lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    assert context.sni_callback is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("what", ["nothing", "rubbish", "a stranger's key", "a pass phrase"])
def test_without_a_certificate_it_does_not_start(tmp_path: Path, authority: trustme.CA, what: str) -> None:
    if what == "rubbish":
        (tmp_path / "tls.crt").write_text("rubbish")
        (tmp_path / "tls.key").write_text("rubbish")
    elif what == "a stranger's key":
        serve(tmp_path, issued(authority, 1), mixed=issued(authority, 2))
    elif what == "a pass phrase":
        serve(tmp_path, issued(authority, 1))
        (tmp_path / "tls.key").unlink()
        (tmp_path / "tls.key").write_bytes(locked(issued(authority, 1)))
    with pytest.raises(SettingsError, match="There is no certificate in .* kubernetes.io/tls .* LMMS_EVAL_API_TLS"):
        tls.Certificate(tmp_path)


def locked(leaf: trustme.LeafCert) -> bytes:
    from cryptography.hazmat.primitives import serialization

    key = serialization.load_pem_private_key(leaf.private_key_pem.bytes(), None)
    private, form = serialization.PrivateFormat.TraditionalOpenSSL, serialization.Encoding.PEM
    return key.private_bytes(form, private, serialization.BestAvailableEncryption(b"secret"))


@pytest.fixture
def secure(start_front_end: StartFrontEnd, authority: trustme.CA, tmp_path: Path) -> FrontEnd:
    serve(tmp_path / "tls", issued(authority, 1))
    started = start_front_end(LMMS_EVAL_API_TLS=str(tmp_path / "tls"))
    secured = FrontEnd(started.url.replace("http:", "https:"), started.process, started.tokens, started.log)
    deadline = time.monotonic() + 60
    while not ready(secured, authority):
        assert secured.process.poll() is None and time.monotonic() < deadline, secured.log.read_text()
        time.sleep(0.05)
    return secured


def ready(front_end: FrontEnd, authority: trustme.CA) -> bool:
    try:
        return httpx.get(f"{front_end.url}/readyz", verify=trusting(authority), trust_env=False).is_success
    except httpx.TransportError:
        return False


@pytest.mark.integration
@pytest.mark.timeout(120)
async def test_a_certificate_is_renewed_under_load_and_no_request_notices(
    secure: FrontEnd, authority: trustme.CA, tmp_path: Path
) -> None:
    other = trustme.CA()
    answers: list[int] = []
    done = asyncio.Event()

    async def ask(keeps: bool) -> None:
        """One who keeps his connection, or makes one for each request."""
        trusted = trusting(authority, other)
        while not done.is_set():
            async with httpx.AsyncClient(
                base_url=secure.url, headers=HEADERS, verify=trusted, trust_env=False
            ) as session:
                while not done.is_set():
                    answers.append((await session.get("/queue")).status_code)
                    if not keeps:
                        break

    async def answered(times: int) -> None:
        async with asyncio.timeout(60):
            while True:
                if len(answers) >= times:
                    return
                await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        for keeps in (True, True, False, False):
            group.create_task(ask(keeps))
        await answered(20)
        for number, key in ((2, trustme.KeyType.RSA), (3, trustme.KeyType.ECDSA)):
            serve(tmp_path / "tls", issued(other, number, key=key))
            await asyncio.to_thread(until_named, secure, other, number)
        await answered(50)
        done.set()
    assert set(answers) == {200}
    assert not ready(secure, authority)
    assert secure.log.read_text().count('"event":"certificate changed"') == 2


def until_named(front_end: FrontEnd, authority: trustme.CA, number: int) -> None:
    deadline = time.monotonic() + 60
    while f"number {number}" not in name_of(front_end, authority):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def name_of(front_end: FrontEnd, authority: trustme.CA) -> str:
    """The subject of the certificate that a new connection gets; empty if it is not trusted."""
    try:
        with httpx.stream("GET", f"{front_end.url}/livez", verify=trusting(authority), trust_env=False) as answer:
            return str(answer.extensions["network_stream"].get_extra_info("ssl_object").getpeercert()["subject"])
    except httpx.ConnectError:
        return ""


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_plain_http_and_old_tls_get_no_answer(secure: FrontEnd, authority: trustme.CA) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{secure.url.replace('https:', 'http:')}/livez", trust_env=False)
    old = trusting(authority)
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{secure.url}/livez", verify=old, trust_env=False)
    assert ready(secure, authority)
    assert secure.process.poll() is None
