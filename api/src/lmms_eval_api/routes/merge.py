"""POST /merge, with which lmms-eval's own server merges training checkpoints on its own disk."""

from fastapi import APIRouter, HTTPException

from lmms_eval_api.problems import ProblemResponse
from lmms_eval_api.routes.openapi import document_errors

router = APIRouter(tags=["jobs"])


@router.post("/merge", status_code=501, response_class=ProblemResponse, responses=document_errors(501))
async def merge() -> None:
    """Not offered: what is merged is on a disk that this front end does not have."""
    raise HTTPException(
        501,
        "This front end merges no checkpoints: merge where you train, and give a job the result as "
        "model_args.pretrained.",
    )
