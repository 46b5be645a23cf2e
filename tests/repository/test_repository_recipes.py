"""The recipes of CONTRIBUTING.md name every file that knows their example, and no file that is gone."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+|[A-Z]+\.md)`")
# Folders of tools and of what was built; a name that begins with a dot is one of them.
NOT_OURS = frozenset({"build", "dist", "node_modules", "__pycache__"})
# They speak of every example, for they are about the recipes.
ABOUT_RECIPES = frozenset({"CONTRIBUTING.md", "tests/repository/test_repository_recipes.py"})


class Recipe(NamedTuple):
    title: str
    pattern: re.Pattern[str]
    paths: frozenset[str]
    steps: frozenset[str]


def recipes() -> Iterator[Recipe]:
    page = PAGE.partition("\n## Recipes\n")[2].partition("\n## ")[0]
    for section in re.split(r"^### ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        (pattern,) = re.findall(r"Pattern: `([^`]+)`", text)
        steps = re.findall(r"^\d+\. .*(?:\n {2,}.*)*", text, re.MULTILINE)
        yield Recipe(
            title, re.compile(pattern), frozenset(PATH.findall(text)), frozenset(PATH.findall("\n".join(steps)))
        )


def texts() -> Iterator[tuple[str, str]]:
    """Every file of the repository that is text, by its path."""
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in NOT_OURS]
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink() and b"\0" not in (content := path.read_bytes()):
                yield path.relative_to(ROOT).as_posix(), content.decode(errors="replace")


@pytest.fixture(scope="module")
def repository() -> dict[str, str]:
    return dict(texts())


RECIPES = tuple(recipes())


def by_title(recipe: Recipe) -> str:
    return recipe.title


@pytest.mark.parametrize("recipe", RECIPES, ids=by_title)
def test_a_recipe_names_every_file_that_knows_its_example(recipe: Recipe, repository: dict[str, str]) -> None:
    know = {path for path, text in repository.items() if recipe.pattern.search(text)} - ABOUT_RECIPES
    assert len(know) > 3
    assert sorted(know - recipe.paths) == []


@pytest.mark.parametrize("recipe", RECIPES, ids=by_title)
def test_the_files_of_a_recipe_exist(recipe: Recipe, repository: dict[str, str]) -> None:
    assert sorted(recipe.paths - set(repository)) == []


FAILURE_CLASSES = [recipe for recipe in RECIPES if "failure class" in recipe.title]


@pytest.mark.parametrize("recipe", FAILURE_CLASSES, ids=by_title)
def test_a_failure_class_takes_eight_files_at_most(recipe: Recipe) -> None:
    assert len(recipe.steps) <= 8


@pytest.mark.parametrize("recipe", FAILURE_CLASSES, ids=by_title)
def test_no_other_code_knows_a_failure_class(recipe: Recipe, repository: dict[str, str]) -> None:
    know = {path for path, text in repository.items() if recipe.pattern.search(text)} - ABOUT_RECIPES
    assert [path for path in sorted(know - recipe.steps) if not path.startswith(("docs/", "tests/"))] == []


def test_every_path_on_the_page_exists(repository: dict[str, str]) -> None:
    assert sorted(path for path in PATH.findall(PAGE) if not (ROOT / path).exists() and path not in repository) == []
