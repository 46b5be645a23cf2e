"""The limit of a read: a bare uvicorn application that gives bytes out of a dict. `python bare_server.py PORT FILE`.

uvicorn is set up as `lmms_eval_api.main` does, where that makes a difference to what one answer costs. The file has the
answer to each path, its headers as pairs and its body (JSON, text in latin-1, so that every byte is itself).
"""

import json
import sys
from pathlib import Path
from typing import Any

import uvicorn
import uvloop


class BareApplication:
    """An ASGI application without routes, middleware or a log."""

    def __init__(self, file: Path) -> None:
        self._answers = {
            path: (
                [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
                body.encode("latin-1"),
            )
            for path, (headers, body) in json.loads(file.read_text()).items()
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request."""
        headers, body = self._answers[scope["path"]]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Serves until it is killed."""
    port, file = int(sys.argv[1]), Path(sys.argv[2])
    config = uvicorn.Config(
        BareApplication(file),
        host="127.0.0.1",
        port=port,
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    uvloop.run(uvicorn.Server(config).serve())


if __name__ == "__main__":
    main()
