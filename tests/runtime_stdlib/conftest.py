"""A job in a fresh directory: what it holds, what it reports, and the library called as a program calls it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.capability.grant import Grant
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.runtime import stdlib
from launcher.runtime.context import Context
from launcher.runtime.job import Job
from launcher.runtime.report import Reporter


class Workbench:
    """`hold` makes a scope current; `call` calls a library function in it; `claims` are the reports so far."""

    def __init__(self, root: Path) -> None:
        self.root = os.path.realpath(root)
        self._read, self._write = os.pipe()
        self._spare: list[int] = []
        self._entered: list[Context] = []

    def grant(self, notation: str, **constraints: Any) -> Grant:
        """`file.read,write data/*.csv other/**` as a grant."""
        head, *patterns = notation.split()
        kind, _, operations = head.partition(".")
        return Grant(kind, tuple(operations.split(",")), tuple(patterns), constraints, "test")

    def permissions(self, *grants: str | Grant, denies: tuple[str, ...] = ()) -> Permissions:
        held = [item if isinstance(item, Grant) else self.grant(item) for item in grants]
        return Permissions(held, [self.grant(text) for text in denies], Limits(), Scope(self.root, self.root))

    def hold(self, *grants: str | Grant, denies: tuple[str, ...] = (), elevate: Any = None, **job: Any) -> Context:
        self._spare.append(os.dup(self._write))
        reporter = Reporter(self._spare[-1])
        context = Context.root(
            self.permissions(*grants, denies=denies), job=Job(**job), reporter=reporter, elevate=elevate
        )
        context.__enter__()
        self._entered.append(context)
        return context

    def call(self, name: str, *arguments: Any) -> Any:
        module, _, function = name.partition(".")
        found = stdlib.load(module)
        assert found is not None
        return found.members[function].call(*arguments)

    def claims(self) -> list[dict[str, Any]]:
        os.set_blocking(self._read, False)
        try:
            return [json.loads(line) for line in os.read(self._read, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def put(self, name: str, content: str = "x") -> str:
        path = self.path(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(path).write_text(content, encoding="utf-8")
        return path

    def close(self) -> None:
        for context in reversed(self._entered):
            context.__exit__()
        for descriptor in (self._read, self._write, *self._spare):
            os.close(descriptor)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Workbench]:
    made = Workbench(tmp_path)
    yield made
    made.close()


@pytest.fixture
def call(bench: Workbench) -> Callable[..., Any]:
    return bench.call
