"""Names of images, and the one image that is made here without a builder."""

import hashlib
import io
import json
import tarfile

import pytest
from lmms_eval_cluster import images
from lmms_eval_cluster.console import ClusterError


def test_a_full_name_is_taken_apart_and_put_together() -> None:
    reference = images.parse("registry.example:5000/team/lmms-eval/operator:v1.2_x")
    assert reference == images.Reference("registry.example:5000", "team/lmms-eval/operator", "v1.2_x")
    assert str(reference) == "registry.example:5000/team/lmms-eval/operator:v1.2_x"
    assert reference.folder == "registry.example-5000"
    assert images.parse("localhost/lmms-eval/api:dev").host == "localhost"


@pytest.mark.parametrize("name", ["operator", "operator:dev", "lmms-eval/operator:dev", "localhost/lmms-eval/operator", "a b"])
def test_a_short_name_is_refused_with_the_way_to_write_it(name: str) -> None:
    with pytest.raises(ClusterError, match="localhost/lmms-eval/operator:dev"):
        images.parse(name)


def files(archive: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        return {entry.name: file.read() for entry in opened if (file := opened.extractfile(entry))}


def test_the_archive_of_one_file_is_consistent() -> None:
    contents = files(images.single_file_image("localhost/pause:1", b"program"))
    blobs = {name.rsplit("/", 1)[1]: blob for name, blob in contents.items() if name.startswith("blobs/")}
    assert all(hashlib.sha256(blob).hexdigest() == digest for digest, blob in blobs.items())

    entry = json.loads(contents["index.json"])["manifests"][0]
    assert entry["annotations"]["io.containerd.image.name"] == "localhost/pause:1"
    manifest = json.loads(blobs[entry["digest"].removeprefix("sha256:")])
    layer = blobs[manifest["layers"][0]["digest"].removeprefix("sha256:")]
    assert files(layer) == {"pause": b"program"}
