"""Where the API server is and who we are there, from kubeconfigs and from a pod's files."""

import base64
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from lmms_eval_core.kube.configuration import TOKEN_SECONDS, ConfigurationError, TokenFile, load_kubeconfig, load_pod

POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def kubeconfig(path: Path, *, user: dict[str, Any] | None = None, current: str = "here", **cluster: Any) -> str:
    """The name of a kubeconfig with one context."""
    document = {
        "current-context": current,
        "clusters": [{"name": "c", "cluster": {"server": "https://cluster:6443/", **cluster}}],
        "contexts": [{"name": current, "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": user or {}}],
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


def test_a_token_and_a_server_are_those_of_the_current_context(tmp_path: Path) -> None:
    found = load_kubeconfig(kubeconfig(tmp_path / "config", user={"token": "secret"}, **{"tls-server-name": "other"}))
    assert (found.host, found.token(), found.server_name) == ("https://cluster:6443", "secret", "other")
    assert found.ssl_context.verify_mode is ssl.CERT_REQUIRED


def test_paths_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    (tmp_path / "token").write_text("from a file\n")
    file = kubeconfig(tmp_path / "config", user={"tokenFile": "token"}, **{"certificate-authority": "ca.crt"})
    found = load_kubeconfig(file)
    assert found.token() == "from a file"
    assert len(found.ssl_context.get_ca_certs()) == 1


def test_a_client_certificate_is_presented(tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("someone")
    certificate, key = issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes()
    user = {
        f"client-{kind}-data": base64.b64encode(data).decode()
        for kind, data in (("certificate", certificate), ("key", key))
    }
    assert load_kubeconfig(kubeconfig(tmp_path / "config", user=user)).token() == ""
    other = base64.b64encode(authority.issue_cert("other").private_key_pem.bytes()).decode()
    with pytest.raises(ConfigurationError, match="cannot be used with its key"):
        load_kubeconfig(kubeconfig(tmp_path / "config", user=user | {"client-key-data": other}))
    with pytest.raises(ConfigurationError, match="client-certificate-data is no Base64"):
        load_kubeconfig(kubeconfig(tmp_path / "config", user={"client-certificate-data": "a"}))


def test_nobody_is_verified_only_where_the_kubeconfig_says_so(tmp_path: Path) -> None:
    cluster: dict[str, Any] = {"insecure-skip-tls-verify": True}
    found = load_kubeconfig(kubeconfig(tmp_path / "config", **cluster))
    assert found.ssl_context.verify_mode is ssl.CERT_NONE


def test_of_several_kubeconfigs_the_first_entry_of_a_name_counts(tmp_path: Path) -> None:
    first = kubeconfig(tmp_path / "first", user={"token": "first"})
    second = kubeconfig(tmp_path / "second", user={"token": "second"}, current="there")
    assert load_kubeconfig(f"{first}:{second}").token() == "first"
    assert load_kubeconfig(f"{second}:{first}").token() == "second"


@pytest.mark.parametrize("plug_in", ["exec", "auth-provider"])
def test_a_plug_in_for_credentials_is_refused(tmp_path: Path, plug_in: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"plug-ins for credentials \({plug_in}\) are not run; give a token"):
        load_kubeconfig(kubeconfig(tmp_path / "config", user={plug_in: {"command": "touch"}}))


def test_what_is_wrong_with_a_kubeconfig_is_said_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "config"
    with pytest.raises(ConfigurationError, match=rf"{file} cannot be read"):
        load_kubeconfig(str(file))
    for text, reason in (
        ("a: [", "is no kubeconfig"),
        ("- a", "is no kubeconfig"),
        ("current-context: x", "there is no 'x'"),
    ):
        file.write_text(text)
        with pytest.raises(ConfigurationError, match=rf"{file}.*{reason}"):
            load_kubeconfig(str(file))


def test_a_pod_has_its_own_files(tmp_path: Path) -> None:
    token, authority = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("projected")
    trustme.CA().cert_pem.write_to_path(authority)
    found = load_pod(token_file=token, ca_file=authority, environ=POD)
    assert (found.host, found.token()) == ("https://10.0.0.1:443", "projected")
    found = load_pod(token_file=token, ca_file=authority, environ=POD | {"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert found.host == "https://[fd00::1]:443"
    with pytest.raises(ConfigurationError, match="name a kubeconfig in KUBECONFIG"):
        load_pod(token_file=token, ca_file=authority, environ={})
    with pytest.raises(ConfigurationError, match="ca.crt"):
        load_pod(token_file=token, ca_file=tmp_path / "none" / "ca.crt", environ=POD)
    authority.write_text("no certificate")
    with pytest.raises(ConfigurationError, match="certificate of the authority"):
        load_pod(token_file=token, ca_file=authority, environ=POD)


def test_a_token_file_is_read_again_and_the_last_token_outlives_it(tmp_path: Path) -> None:
    now = 0.0
    file = tmp_path / "token"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        TokenFile(file)()
    file.write_text("\n")
    with pytest.raises(ConfigurationError, match="is empty"):
        TokenFile(file)()
    file.write_text("old\n")
    token = TokenFile(file, clock=lambda: now)
    assert token() == "old"
    file.write_text("new\n")
    assert token() == "old"
    now += TOKEN_SECONDS
    assert token() == "new"
    file.unlink()
    now += TOKEN_SECONDS
    assert token() == "new"
