"""Which old images go, and what build/images.json says."""

import json
from pathlib import Path

from lmms_eval_images.tags import list_outdated, record_images

HERE = "localhost/lmms-eval/operator"


def name(letter: str) -> str:
    return f"{HERE}:{letter * 12}"


def test_the_present_one_and_its_predecessor_stay() -> None:
    newest_first = [name("d"), name("c"), name("b"), name("a")]
    assert list_outdated(HERE, name("d"), newest_first) == [name("b"), name("a")]


def test_an_old_one_that_is_wanted_again_stays_with_the_newest_other() -> None:
    newest_first = [name("d"), name("c"), name("b")]
    assert list_outdated(HERE, name("b"), newest_first) == [name("c")]


def test_tags_of_people_and_other_repositories_are_left_alone() -> None:
    others = [f"{HERE}:try", f"{HERE}:1.2.3", f"localhost/lmms-eval/api:{'a' * 12}", f"localhost/{'a' * 12}"]
    assert list_outdated(HERE, name("a"), [name("a"), *others, name("b")]) == []


def test_the_record_keeps_what_is_still_there(tmp_path: Path) -> None:
    path = tmp_path / "build" / "images.json"
    record_images(
        path, {"operator": name("a"), "api": "localhost/lmms-eval/api:1", "s3": "localhost/lmms-eval/s3:1"}, []
    )
    record_images(path, {"operator": name("b")}, [name("b"), "localhost/lmms-eval/api:1"])
    assert json.loads(path.read_text()) == {"api": "localhost/lmms-eval/api:1", "operator": name("b")}
