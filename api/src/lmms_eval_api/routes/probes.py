"""GET /livez and /readyz, for kubelets and load balancers: without authentication, and without further information."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel

from lmms_eval_api.problems import make_unavailable
from lmms_eval_api.retention.orphans import Sweeping
from lmms_eval_api.routes.dependencies import BackendOf

router = APIRouter(tags=["probes"])


class Alive(BaseModel):
    """The process serves."""

    status: Literal["ok"] = "ok"


class Ready(Alive):
    """It can answer. `sweeping` says how the deletion of files fares, which nobody waits for."""

    sweeping: Sweeping


@router.get("/livez")
async def livez() -> Alive:
    """The process answers. It does not ask for the API server: a restart would not bring that back."""
    return Alive()


@router.get("/readyz")
async def readyz(backend: BackendOf) -> Ready:
    """The cache has been filled, and its watch is not lost for longer than answers may be old."""
    if not backend.reflector.synced.is_set():
        raise make_unavailable("The first list of evaluations has not arrived yet.")
    if backend.is_stale():
        raise make_unavailable("The watch on the API server is lost.")
    return Ready(sweeping=backend.sweeping())
