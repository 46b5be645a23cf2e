"""Fixtures for tests on a real API server: kubectl, the CRD, a namespace of one's own, a client.

The cluster is the one that `make test` provides; the tests bring up none.
"""

from collections.abc import AsyncIterator, Iterator

import httpx
import namespaces
import provided
import pytest
import pytest_asyncio
from awaited_writes import AwaitedTransport, Reader
from deployment import Kubectl

from lmms_eval_core import names
from lmms_eval_core.kube import transport
from lmms_eval_core.kube.configuration import load_kubeconfig


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    """Path of the test cluster's kubeconfig."""
    return provided.require_variable(provided.KUBECONFIG, "the API server of a cluster", "integration")


@pytest.fixture(scope="session")
def kubectl(kubeconfig: str) -> Kubectl:
    """kubectl of the cluster's own version."""
    return Kubectl(provided.find_program("kubectl"), kubeconfig)


@pytest.fixture(scope="session")
def api_server(kubectl: Kubectl) -> Iterator[httpx.Client]:
    """The API server for what every test does: a kubectl would take a tenth of a second of CPU each time."""
    with kubectl.proxy() as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


@pytest.fixture(scope="session")
def crd(kubectl: Kubectl) -> None:
    """The CRD of this checkout, which `make test` has applied; established."""
    kubectl("wait", "--for=condition=Established", f"crd/{names.CRD_NAME}", "--timeout=30s")


@pytest.fixture(scope="module")
def shared_namespace(api_server: httpx.Client, crd: None) -> Iterator[str]:
    """A namespace for all tests of a file."""
    with namespaces.open_namespace(api_server) as name:
        yield name


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(shared_namespace: str, kubeconfig: str) -> AsyncIterator[transport.Transport]:
    """One client for all tests of a file: for a table of hundreds, connecting would be most of the time."""
    connected = await transport.connect(namespace=shared_namespace, kubeconfig=kubeconfig)
    yield connected
    await connected.close()


@pytest.fixture
def namespace(api_server: httpx.Client, crd: None) -> Iterator[str]:
    """A namespace for one test."""
    with namespaces.open_namespace(api_server) as name:
        yield name


@pytest.fixture
def readers() -> list[Reader]:
    """The front ends that the test has started: `client` waits for them."""
    return []


@pytest.fixture
async def client(namespace: str, kubeconfig: str, readers: list[Reader]) -> AsyncIterator[transport.Transport]:
    """A client with the administrator's rights, in the test's namespace. What it wrote, the front ends show."""
    connected = AwaitedTransport(load_kubeconfig(kubeconfig), namespace, readers)
    yield connected
    await connected.close()
