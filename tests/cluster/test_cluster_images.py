"""Names of images, the names of their snapshots, and the archives that are made here without a builder."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest
from lmms_eval_cluster import archive, buildah, images
from lmms_eval_cluster.console import ClusterError


def test_a_full_name_is_taken_apart_and_put_together() -> None:
    reference = images.parse("registry.example:5000/team/lmms-eval/operator:v1.2_x")
    assert reference == images.Reference("registry.example:5000", "team/lmms-eval/operator", "v1.2_x")
    assert str(reference) == "registry.example:5000/team/lmms-eval/operator:v1.2_x"
    assert images.parse("localhost/lmms-eval/api:dev").host == "localhost"


@pytest.mark.parametrize(
    "name", ["operator", "operator:dev", "lmms-eval/operator:dev", "localhost/lmms-eval/operator", "a b"]
)
def test_a_short_name_is_refused_with_the_way_to_write_it(name: str) -> None:
    with pytest.raises(ClusterError, match="localhost/lmms-eval/operator:dev"):
        images.parse(name)


def test_snapshots_are_named_as_the_image_specification_chains_digests() -> None:
    one, two, three = images.chains(["sha256:aa", "sha256:bb", "sha256:cc"])
    assert one == images.Chain("sha256:aa", ())
    assert two == images.Chain("sha256:" + hashlib.sha256(b"sha256:aa sha256:bb").hexdigest(), ("sha256:aa",))
    assert three.parent == (two.name,)


def test_the_folder_of_a_snapshot_is_read_from_its_mount() -> None:
    lowest: dict[str, object] = {"Type": "bind", "Source": "/snapshots/1/fs", "Options": ["rw", "rbind"]}
    higher: dict[str, object] = {
        "Type": "overlay",
        "Source": "overlay",
        "Options": ["upperdir=/snapshots/2/fs", "lowerdir=/snapshots/1/fs"],
    }
    assert images.writable_folder(lowest) == Path("/snapshots/1/fs")
    assert images.writable_folder(higher) == Path("/snapshots/2/fs")


def test_the_layers_of_an_image_come_lowest_first() -> None:
    records = {"a": {"id": "a"}, "b": {"id": "b", "parent": "a"}, "c": {"id": "c", "parent": "a"}}
    assert [record["id"] for record in buildah.lineage(records, "c")] == ["a", "c"]
    assert buildah.lineage(records, None) == []


def test_the_archive_of_one_program_is_consistent() -> None:
    contents = files(archive.single_program("localhost/pause:1", b"bytes"))
    blobs = {name.rsplit("/", 1)[1]: blob for name, blob in contents.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(blob).hexdigest() == digest for digest, blob in blobs.items())

    entry = json.loads(contents["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/pause:1"
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    layer = blobs[manifest["layers"][0]["digest"].removeprefix("sha256:")]
    assert files(layer) == {"program": b"bytes"}


def test_an_archive_may_name_layers_that_it_does_not_bring() -> None:
    contents = files(archive.pack("localhost/a:1", b"{}", [archive.layer("sha256:aa", 7_000_000_000)]))
    assert len([name for name in contents if name.startswith("blobs/")]) == 2


def files(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as opened:
        return {entry.name: file.read() for entry in opened if (file := opened.extractfile(entry))}
