"""`python -m lmms_eval_api.server.openapi FILE` writes the OpenAPI document, from which the page has its types."""

import json
import sys
from pathlib import Path
from typing import cast

from lmms_eval_api.auth import AnonymousAccess
from lmms_eval_api.routes.dependencies import Backend
from lmms_eval_api.server.app import make_application
from lmms_eval_api.settings import ApiSettings, AuthMode


def render_document() -> str:
    """Return the document as it is in a repository: without the version, which changes with every release."""
    application = make_application(ApiSettings(auth=AuthMode.NONE), cast(Backend, None), AnonymousAccess())
    document = application.openapi()
    document["info"]["version"] = "0"
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(render_document(), encoding="utf-8")
