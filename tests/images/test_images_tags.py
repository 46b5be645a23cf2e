"""An image's tag changes with what the image is made of, and with nothing else."""

from pathlib import Path

import pytest
from lmms_eval_images.console import ImageError
from lmms_eval_images.tags import compute_tag


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").write_text("a = 1\n")
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    (tmp_path / "notes.md").write_text("not part of it\n")
    return tmp_path


def tag(tree: Path, *extra: str) -> str:
    return compute_tag(tree, ["Dockerfile", "src"], extra)


def test_twelve_digits_that_do_not_depend_on_where_or_when(
    tree: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "copy"
    (elsewhere / "src").mkdir(parents=True)
    (elsewhere / "src" / "a.py").write_text("a = 1\n")
    (elsewhere / "Dockerfile").write_text("FROM scratch\n")
    assert len(tag(tree)) == 12
    assert tag(tree) == tag(elsewhere)
    assert tag(tree) == compute_tag(tree, ["src", "Dockerfile"], [])


def test_other_files_and_bytecode_change_nothing(tree: Path) -> None:
    before = tag(tree)
    (tree / "notes.md").write_text("changed\n")
    (tree / "src" / "__pycache__").mkdir()
    (tree / "src" / "__pycache__" / "a.pyc").write_bytes(b"\0")
    assert tag(tree) == before


def test_content_names_executable_bits_and_words_change_it(tree: Path) -> None:
    tags = [tag(tree), tag(tree, "base:1"), tag(tree, "base:2")]
    (tree / "src" / "a.py").chmod(0o755)
    tags.append(tag(tree))
    (tree / "src" / "a.py").write_text("a = 2\n")
    tags.append(tag(tree))
    (tree / "src" / "a.py").rename(tree / "src" / "b.py")
    tags.append(tag(tree))
    assert len(set(tags)) == len(tags)


def test_a_missing_input_is_named(tree: Path) -> None:
    with pytest.raises(ImageError, match=r"^gone\.lock is missing"):
        compute_tag(tree, ["gone.lock"], [])
