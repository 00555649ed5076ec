"""docs/specification.md and the tests agree on what is promised."""

import ast
import re

from tests.support.processes import CHECKOUT

PAGE = (CHECKOUT / "docs" / "specification.md").read_text()
PROMISES = re.findall(r"^\*\*([AW]\d+)\. ", PAGE, re.MULTILINE)


def promises_named() -> dict[str, set[str]]:
    """The ids in the docstrings of tests, each with the tests that name it."""
    naming: dict[str, set[str]] = {}
    for path in (CHECKOUT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for promise in re.findall(r"\b[AW]\d{1,2}\b", ast.get_docstring(node) or ""):
                    naming.setdefault(promise, set()).add(f"{path.name}::{node.name}")
    return naming


def test_every_promise_is_made_once() -> None:
    ids = {f"A{number}" for number in range(1, 29)} | {f"W{number}" for number in range(1, 25)}
    assert sorted(PROMISES) == sorted(ids)


def test_every_promise_has_a_test_that_names_it() -> None:
    assert set(PROMISES) - set(promises_named()) == set()


def test_every_promise_that_a_test_names_is_made() -> None:
    """An id that is not on the page is a slip, or a promise that nobody is told about."""
    unknown = {promise: tests for promise, tests in promises_named().items() if promise not in PROMISES}
    assert unknown == {}


def test_the_source_names_no_promise() -> None:
    """An id means nothing to a reader of the code, who is told in words instead."""
    folders = [CHECKOUT / name for name in ("durable_responses", "workflows", "activities", "dev")]
    sources = [path for folder in folders for path in folder.rglob("*.py")]
    naming = [str(path.relative_to(CHECKOUT)) for path in sources if re.search(r"[(\s][AW]\d{1,2}\b", path.read_text())]
    assert naming == []
