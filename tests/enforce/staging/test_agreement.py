"""Random jobs under random grants: with everything granted the host becomes what the job saw; otherwise every difference
of the host is one that the grants allow, and every change that they allow is on the host. Seeds reproduce."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.capability import Permissions
from launcher.kernel import libc
from launcher.kernel.abi import MNT_DETACH
from tests.enforce.staging.stage import USERS, Room, Stage, allow, room

pytestmark = pytest.mark.kernel
SEED = int(os.environ.get("MLSANDBOX_SEED", str(random.SystemRandom().getrandbits(32))))
ROUNDS = int(os.environ.get("MLSANDBOX_ROUNDS", "25"))
NAMES = ["a", "b", "k", "d", "e"]
Tree = dict[str, str | None]


@pytest.fixture(params=USERS, ids=[f"uid{uid}" for uid in USERS])
def place(request: pytest.FixtureRequest) -> Iterator[Room]:
    with room(request.param) as base:
        yield Room(base, request.param)


def tree(root: str) -> Tree:
    """Path -> content, None for a directory."""
    found: Tree = {}
    for path in sorted(Path(root).rglob("*")):
        found[str(path.relative_to(root))] = None if path.is_dir() else path.read_text()
    return found


def some_path(randomness: random.Random) -> str:
    return "/".join(randomness.choice(NAMES) for _ in range(randomness.randrange(1, 4)))


def grow(root: str, randomness: random.Random) -> None:
    for _ in range(randomness.randrange(2, 9)):
        path = Path(root) / some_path(randomness)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"old {randomness.random()}")
        except OSError:
            continue


def act(randomness: random.Random) -> None:
    path, other = some_path(randomness), some_path(randomness)
    choice = randomness.randrange(9)
    try:
        if choice <= 1:
            Path(path).write_text(f"new {randomness.random()}")
        elif choice == 2:
            with open(path, "a") as file:
                file.write("more")
        elif choice == 3:
            os.unlink(path)
        elif choice == 4:
            os.makedirs(path)
        elif choice == 5:
            os.rmdir(path)
        elif choice == 6:
            os.rename(path, other)
        elif choice == 7:
            shutil.rmtree(path)
        else:
            Path(path).write_text(Path(path).read_text())
    except OSError:
        return


def one(stage: Stage, permissions: Permissions, seed: int) -> tuple[Tree, Tree, Tree, list[dict[str, Any]]]:
    """The host before, the job's view at its end, the host afterwards, and the report."""
    for path in (stage.host, f"{stage.base}/state"):
        shutil.rmtree(path, ignore_errors=True)
        os.makedirs(path, exist_ok=True)
    libc.umount2(f"{stage.base}/scratch", MNT_DETACH)
    stage.mount_scratch()
    randomness = random.Random(seed)
    grow(stage.host, randomness)
    before = tree(stage.host)
    view: Tree = {}

    def job() -> None:
        for _ in range(randomness.randrange(1, 25)):
            act(randomness)

    layers = stage.stage(permissions)
    stage.work(job, look=lambda root: view.update(tree(root)))
    entries = stage.finish(permissions, layers).entries
    for fd in (layers.upper, layers.lower, layers.target):
        os.close(fd)
    return before, view, tree(stage.host), entries


def test_with_everything_granted_the_host_becomes_what_the_job_saw(place: Room) -> None:
    allowed = allow(str(place.host), "file.read,write,append,delete:**", "path.read,write:**")

    def body(stage: Stage) -> list[Any]:
        wrong = []
        for seed in range(SEED, SEED + ROUNDS):
            _before, view, after, entries = one(stage, allowed, seed)
            outcomes = {entry["outcome"] for entry in entries}
            if view != after or outcomes - {"committed"}:
                wrong.append([seed, view, after, entries])
        return wrong

    assert place.do(body)[:1] == [], f"MLSANDBOX_SEED={SEED}"


RULES = ["file.write:**/a", "file.append:**/b", "file.write:d/**", "file.delete:**/a", "file.delete:e/**", "path.write:d/**",
         "path.write:**", "!file.write,append:**/k", "!file.delete:d/*", "!path.write:**/e"]  # fmt: skip


def holes(before: Tree, after: Tree, allowed: Permissions, host: str) -> list[str]:
    """Differences of the host that the grants do not allow."""

    def may(operation: str, path: str) -> bool:
        kind, _, name = operation.partition(".")
        return bool(allowed.decide(kind, name, f"{host}/{path}"))

    wrong = []
    for path in {*before, *after}:
        old, new = before.get(path, ""), after.get(path, "")
        gone = path not in after or (path in before and (old is None) != (new is None))
        if gone and not may("path.write" if old is None else "file.delete", path):
            wrong.append(f"removed {path}")
        if path in after and new is None and (path not in before or old is not None):
            if not may("path.write", path) and not allowed.parent_of_granted_write(f"{host}/{path}"):
                wrong.append(f"mkdir {path}")
        elif path in after and new is not None and (path not in before or old != new):
            appended = path not in before or old is None or new.startswith(old)
            if not may("file.write", path) and not (appended and may("file.append", path)):
                wrong.append(f"wrote {path}")
    return wrong


def test_every_difference_of_the_host_is_granted_and_every_granted_one_is_there(place: Room) -> None:
    def body(stage: Stage) -> list[Any]:
        wrong: list[Any] = []
        changed = refused = 0
        for seed in range(SEED, SEED + ROUNDS):
            chosen = random.Random(seed).sample(RULES, 5)
            allowed = allow(stage.host, "file.read:/**", "path.read:/**", *chosen)
            before, view, after, entries = one(stage, allowed, seed)
            found = holes(before, after, allowed, stage.host)
            unexplained = [
                path for path in {*view, *after} if view.get(path, "") != after.get(path, "")
                and not any(entry["path"] == f"{stage.host}/{path}" and entry["outcome"] != "committed" for entry in entries)
            ]  # fmt: skip
            changed += before != after
            refused += view != after
            if found or unexplained:
                wrong.append([seed, chosen, found, unexplained, before, view, after, entries])
        assert min(changed, refused) * 5 > ROUNDS, "too few cases with and without a change"
        return wrong

    assert place.do(body)[:1] == [], f"MLSANDBOX_SEED={SEED}"
