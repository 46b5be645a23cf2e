"""Which cluster is meant, and what is said where none is possible."""

from pathlib import Path

import pytest
from lmms_eval_cluster import cli
from lmms_eval_cluster.console import ClusterError
from lmms_eval_cluster.existing import ExistingProvider
from lmms_eval_cluster.settings import cluster_from


def test_a_named_kubeconfig_comes_before_everything() -> None:
    environ = {"LMMS_EVAL_KUBECONFIG": "/some/where", "LMMS_EVAL_CLUSTER_PROVIDER": "local"}
    provider = cli.choose(cluster_from(environ, control_plane_only=False), environ)
    assert isinstance(provider, ExistingProvider)
    assert provider.kubeconfig() == Path("/some/where")


def test_an_unknown_provider_is_refused() -> None:
    environ = {"LMMS_EVAL_CLUSTER_PROVIDER": "cloud"}
    with pytest.raises(ClusterError, match="say kind or local"):
        cli.choose(cluster_from(environ, control_plane_only=False), environ)


def test_without_docker_and_root_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(ClusterError, match="LMMS_EVAL_KUBECONFIG.*Docker.*root"):
        cli.choose(cluster_from({}, control_plane_only=False), {})


def test_images_for_a_foreign_cluster_need_a_registry(tmp_path: Path) -> None:
    provider = ExistingProvider(cluster_from({}, control_plane_only=False), tmp_path / "kubeconfig", registry="")
    with pytest.raises(ClusterError, match="Set LMMS_EVAL_REGISTRY"):
        provider.load(["localhost/lmms-eval/operator:dev"])


def test_an_error_is_one_line_and_exit_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["tool", "kubectx"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("There is no tool 'kubectx'")
    assert "Traceback" not in printed.err
