"""wrk: as many requests as a server answers, over a few connections that are kept."""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from typing import Final

from deployment import CommandFailed

from bench.front_end.servers import LOADING_CORE, BenchServer

CONNECTIONS: Final = 16
SECONDS: Final = 5


def need_wrk() -> None:
    """CommandFailed with what to do where it is missing."""
    if shutil.which("wrk") is None:
        raise CommandFailed("the front end is measured with wrk; install it (Debian: apt-get install wrk)")


def per_second(
    server: BenchServer, paths: Sequence[str], *, body: str | None = None, headers: Mapping[str, str] | None = None
) -> float:
    """Answers of 2xx a second, each to one of the paths by chance.

    CommandFailed if there is another answer among them.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_post(body) if body is not None else _get(paths))
        script.flush()
        options = ["-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-s", script.name]
        for name, value in {**server.headers, **(headers or {})}.items():
            options += ["-H", f"{name}: {value}"]
        pinned = ["taskset", "-c", str(LOADING_CORE)] if (os.cpu_count() or 1) > 1 else []
        command = [*pinned, "wrk", *options, server.url + paths[0]]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise CommandFailed(f"{server.url}{paths[0]} under load: {output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    assert found is not None, output
    return float(found[1])


def _get(paths: Sequence[str]) -> str:
    """Requests are made once: the load is to be the server's."""
    made = f'made = {{}}\nfor path in string.gmatch([=[{json.dumps(list(paths))}]=], \'"([^"]+)"\') do'
    return f"""
{made}
  made[#made + 1] = path
end
function init(args)
  for number, path in ipairs(made) do made[number] = wrk.format("GET", path) end
end
function request() return made[math.random(#made)] end
"""


def _post(body: str) -> str:
    return f'wrk.method = "POST"\nwrk.body = [=[{body}]=]\nwrk.headers["Content-Type"] = "application/json"\n'
