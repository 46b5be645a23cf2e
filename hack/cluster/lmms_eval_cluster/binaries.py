"""The pinned programs of the cluster: built from the Go modules in hack/cluster/tools, once for each content.

A program's place in the cache is named by a hash of all that goes into it, and it is renamed there when it is whole:
what is in the cache is right, whatever was killed while it was made.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .console import ClusterError, duration, say

TOOLS = Path(__file__).resolve().parent.parent / "tools"
GO_NEEDED = (1, 26)
STRIPPED = "-s -w"
# A compiler lives for seconds: up to this much memory each, collecting its garbage would be a third of its time.
COMPILER = {"GOGC": "off", "GOMEMLIMIT": "1GiB"}
# Installed programs that do as well as the pinned ones, from these versions on. kubectl and the API server may be one
# minor version apart.
INSTALLED = {"kubectl": (1, 35), "helm": (4, 0), "kind": (0, 20)}
VERSION_OF = {"kubectl": ("version", "--client"), "helm": ("version", "--short"), "kind": ("version",)}


@dataclass(frozen=True)
class Tool:
    """A program to build: the module folder that pins it, its package there, the usual time (cold), linker flags, build
    tags.
    """

    module: str
    package: str
    minutes: float
    ldflags: str = STRIPPED
    tags: str = ""


def _kubernetes_flags(version: str) -> str:
    major, minor, _ = version.split(".")
    base = "k8s.io/component-base/version"
    stamps = {f"{base}.gitVersion": f"v{version}", f"{base}.gitMajor": major, f"{base}.gitMinor": minor}
    stamps["k8s.io/client-go/pkg/version.gitVersion"] = f"v{version}"
    return " ".join([STRIPPED, *(f"-X {name}={value}" for name, value in stamps.items())])


def _kubernetes(name: str, minutes: float) -> Tool:
    return Tool("kubernetes", f"k8s.io/kubernetes/cmd/{name}", minutes, _kubernetes_flags("1.36.3"))


CATALOGUE = {
    "kube-apiserver": _kubernetes("kube-apiserver", 5),
    "kube-controller-manager": _kubernetes("kube-controller-manager", 1),
    "kube-scheduler": _kubernetes("kube-scheduler", 0.2),
    "kubelet": _kubernetes("kubelet", 0.5),
    "kube-proxy": _kubernetes("kube-proxy", 0.2),
    "kubectl": _kubernetes("kubectl", 0.5),
    "etcd": Tool("etcd", ".", 0.6),
    "coredns": Tool("coredns", ".", 1),
    "provisioner": Tool("provisioner", ".", 0.3),
    "pause": Tool("pause", ".", 0.1),
    "kubeconform": Tool("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", 0.3),
    "versitygw": Tool("versitygw", "github.com/versity/versitygw/cmd/versitygw", 1.5),
    "helm": Tool("helm", "helm.sh/helm/v4/cmd/helm", 2.5),
    # It checks rules and metrics here and never looks for targets: without service discovery it is half the size.
    "promtool": Tool("promtool", "github.com/prometheus/prometheus/cmd/promtool", 3, tags="remove_all_sd"),
    "kind": Tool("kind", "sigs.k8s.io/kind", 0.5),
}


class Binaries:
    """The programs in one cache folder."""

    def __init__(self, cache: Path, tools: Path = TOOLS) -> None:
        self._cache = cache / "tools"
        self._tools = tools
        self._version = ""

    def path(self, name: str) -> Path:
        """Give the path of a program, built first where it is missing."""
        return self.paths([name])[name]

    def found(self, name: str) -> Path:
        """Give the path of a program on the PATH that is new enough, else that of the pinned one."""
        installed = shutil.which(name) if name in INSTALLED else None
        return Path(installed) if installed and _is_new_enough(name, installed) else self.path(name)

    def paths(self, names: Iterable[str]) -> dict[str, Path]:
        """Give the paths of several programs; those that are missing are built, one module after the other.

        Raises ClusterError for an unknown name, a missing or old Go, and a build that fails.
        """
        found = {name: self._place(name) for name in names}
        modules: dict[str, list[str]] = {}
        for name, path in found.items():
            if not path.exists():
                modules.setdefault(CATALOGUE[name].module, []).append(name)
        for number, (module, names) in enumerate(modules.items(), 1):
            with self._locked(module):
                missing = {name: found[name] for name in names if not found[name].exists()}
                if missing:
                    self._build(module, missing, f"{number} of {len(modules)}")
        return found

    def _place(self, name: str) -> Path:
        if name not in CATALOGUE:
            raise ClusterError(f"There is no tool {name!r}: choose one of {', '.join(sorted(CATALOGUE))}.")
        tool = CATALOGUE[name]
        self._version = self._version or go_version()
        key = content_key(
            self._tools / tool.module, [self._version, tool.package, tool.ldflags, *filter(None, [tool.tags])]
        )
        return self._cache / name / key / name

    @contextmanager
    def _locked(self, module: str) -> Iterator[None]:
        """Let one command at a time build the programs of a module."""
        self._cache.mkdir(parents=True, exist_ok=True)
        with (self._cache / f".{module}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"Waiting for another build of programs of the module {module} to end ...")
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _build(self, module: str, places: dict[str, Path], position: str) -> None:
        for leftover in self._cache.glob(f".building-{module}-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        usual = duration(60 * sum(CATALOGUE[name].minutes for name in places))
        say(
            f"Building {', '.join(places)} from source ({position}; usually {usual} on two cores, then never again) ..."
        )
        with tempfile.TemporaryDirectory(prefix=f".building-{module}-", dir=self._cache) as scratch:
            tools = [CATALOGUE[name] for name in places]
            compile_programs(self._tools / module, tools, Path(scratch))
            for name, place in places.items():
                shutil.rmtree(place.parent.parent, ignore_errors=True)
                place.parent.mkdir(parents=True)
                (Path(scratch) / name).rename(place)


def content_key(folder: Path, extra: Iterable[str]) -> str:
    """Hash a module's own files (names and bytes, whole tree) together with the flags and versions of its build."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    for text in extra:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()[:16]


def go_version() -> str:
    """Give the words of `go version`.

    Raises ClusterError if Go is missing or too old to build Kubernetes.
    """
    needed = ".".join(str(part) for part in GO_NEEDED)
    if not shutil.which("go"):
        raise ClusterError(
            f"Go {needed} or newer is needed to build the cluster's programs: install it and put `go` on the PATH."
        )
    text = subprocess.run(["go", "version"], check=True, capture_output=True, text=True).stdout.strip()
    if parse_go_version(text) < GO_NEEDED:
        raise ClusterError(
            f"Go {needed} or newer is needed to build the cluster's programs; the `go` on the PATH is: {text}."
        )
    return text


def _is_new_enough(name: str, path: str) -> bool:
    """Ask an installed program for its version; one that does not tell is not new enough."""
    printed = subprocess.run([path, *VERSION_OF[name]], capture_output=True, text=True, check=False).stdout
    match = re.search(r"\bv(\d+)\.(\d+)", printed)
    return match is not None and (int(match[1]), int(match[2])) >= INSTALLED[name]


def parse_go_version(text: str) -> tuple[int, int]:
    """Read major and minor from the words of `go version`; (0, 0) for anything else."""
    match = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else (0, 0)


def compile_programs(folder: Path, tools: list[Tool], target: Path) -> None:
    """Run one `go build` of the programs of one module into a folder, with a line of progress every few seconds."""
    packages, flags = [tool.package for tool in tools], ["-tags", tools[0].tags]
    environment = (
        os.environ | COMPILER | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false", "GOWORK": "off"}
    )
    listing = ["go", "list", "-deps", *flags, *packages]
    listed = subprocess.run(listing, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    total = len(listed.stdout.split())
    # What goes on beside it, downloads and tests, mostly waits and should not wait for a compiler as well.
    build = [
        "nice",
        "-n",
        "10",
        "go",
        "build",
        "-v",
        "-trimpath",
        *flags,
        "-ldflags",
        tools[0].ldflags,
        "-o",
        f"{target}/",
        *packages,
    ]
    with subprocess.Popen(build, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        errors = _follow(process, total)
    if process.returncode:
        raise ClusterError(f"Building {', '.join(packages)} failed; the compiler says:\n" + "".join(errors[-20:]))


def _follow(process: subprocess.Popen[str], total: int) -> list[str]:
    """Count the packages that the compiler names; return the other lines, which say what went wrong."""
    started = spoken = time.monotonic()
    compiled, errors = 0, []
    for line in process.stderr or ():
        if " " in line:
            errors.append(line)
            continue
        compiled += 1
        if time.monotonic() - spoken > 10:
            spoken = time.monotonic()
            say(f"  {compiled} of at most {total} packages compiled after {duration(spoken - started)}")
    return errors
