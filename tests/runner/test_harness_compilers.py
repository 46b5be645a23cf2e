"""What Triton and torch.compile compile can be compiled in the image: by their own build functions, without a GPU."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.harness, pytest.mark.timeout(900)]

# As Triton builds the launcher of a kernel: a module in C, against Python.h.
LAUNCHER = """
import sys
from triton.runtime.build import _build
source = sys.argv[1] + "/launcher.c"
open(source, "w").write('''
#include <Python.h>
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "launcher", NULL, -1, NULL};
PyMODINIT_FUNC PyInit_launcher(void) { return PyModule_Create(&module); }
''')
print(_build("launcher", source, sys.argv[1], [], [], [], []))
sys.path.insert(0, sys.argv[1])
import launcher
"""
COMPILED = """
import torch
compiled = torch.compile(lambda x: torch.sin(x) + x * x)
x = torch.arange(64.0)
assert torch.allclose(compiled(x), torch.sin(x) + x * x)
print("compiled")
"""


@pytest.mark.parametrize(("script", "said"), [(LAUNCHER, "launcher"), (COMPILED, "compiled")])
def test_it_is_compiled_and_runs(tmp_path: Path, script: str, said: str) -> None:
    caches = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"), "TRITON_CACHE_DIR": str(tmp_path / "triton")}
    environment = {"PATH": "/opt/venv/bin:/usr/bin:/bin", "HOME": str(tmp_path), **caches}
    command = [sys.executable, "-c", script, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and said in done.stdout, done.stderr
