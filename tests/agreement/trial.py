"""One case on one host: the tree is made, the probe runs in a real launch, what the host then has is compared."""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import stat
import subprocess
from collections import Counter
from errno import ENOENT
from typing import TYPE_CHECKING

from launcher.capability import Permissions
from tests.agreement.expected import Expected
from tests.agreement.generator import CHANGING, KINDS, LIVE, READING, TOOLS, TOPS, Operation, case

if TYPE_CHECKING:
    from tests.sandboxed import Host

HERE = os.path.dirname(os.path.abspath(__file__))
HOLE, BROKEN = "hole", "broken job"
PROBE = ".probe"


class Difference:
    """The process and the kernel disagree about one operation."""

    def __init__(self, seed: int, direction: str, mechanism: str, operation: Operation | str, detail: str) -> None:
        self.seed = seed
        self.direction = direction
        self.mechanism = mechanism
        self.operation = operation
        self.detail = detail

    def __repr__(self) -> str:
        return f"[seed {self.seed}] {self.direction} ({self.mechanism}): {self.operation!r}: {self.detail}"


def prepare(host: Host) -> None:
    """The programs: the probe, and those that it starts."""
    probe, tool = host.write(PROBE, b"", 0o755), host.write("tool/t0", b"", 0o755)
    for path, source in ((probe, "probe.c"), (tool, "tool.c")):
        subprocess.run(["gcc", "-O1", "-static", "-o", path, f"{HERE}/{source}"], check=True, capture_output=True)
    with open(tool, "rb") as file:
        content = file.read()
    for name in TOOLS:
        host.write(f"tool/{name}", b"#!/bin/sh\nexit 0\n" if name.startswith("s") else content, 0o755)


class Trial:
    """`seed` makes the same trial again."""

    def __init__(self, host: Host, seed: int, count: int = 100, kinds: dict[str, int] = KINDS) -> None:
        self.host = host
        self.seed = seed
        self.case = case(seed, random.Random(seed), host.workspace, f"{host.workspace}/{PROBE}", count, kinds)
        self.differences: list[Difference] = []
        self.counts: dict[tuple[str, bool], int] = {}
        self.near = 0
        self.documented: Counter[str] = Counter()  # docs/explanation/agreement.md
        self._before: dict[str, str | None] = {}
        self._sockets: list[socket.socket] = []

    def run(self) -> Trial:
        self._make_tree()
        self.host.policy(self.case.capabilities, deny=self.case.deny)
        try:
            expected = Expected(self._permissions(), self.host.workspace, self._directories())
            ran = self.host.launch(f"{self.host.workspace}/{PROBE}", input=self._lines(), timeout=100)
            assert ran.status == 0, (self.seed, self.case.capabilities, self.case.deny, ran)
            self._answers = answers(ran.raw)
            self._after = self._tree()
            self._compare(expected)
        finally:
            for listener in self._sockets:
                listener.close()
        return self

    # -- before

    def _make_tree(self) -> None:
        for top in (*TOPS, LIVE):
            shutil.rmtree(f"{self.host.workspace}/{top}", ignore_errors=True)
            self._directory(top)
        for number, operation in enumerate(self.case.operations):
            first = operation.paths[0]
            if operation.kind == "rmdir":
                self._directory(first)
            elif operation.kind in {"mkdir", "create"}:
                self._directory(first.rpartition("/")[0].partition("/nw")[0])
            elif operation.kind == "list":
                self._directory(first)
            elif operation.kind == "connect":
                self._listen(first)
            elif operation.kind != "exec":
                self.host.write(first, f"original {number}\n", 0o644)
            for goal in operation.paths[1:]:
                self._directory(goal.rpartition("/")[0])
        self._before = self._tree()

    def _directory(self, path: str) -> None:
        """A directory of the workspace, and what is missing above it."""
        made = ""
        for word in path.split("/"):
            made = f"{made}/{word}" if made else word
            whole = f"{self.host.workspace}/{made}"
            if not os.path.isdir(whole):
                os.mkdir(whole, 0o755)
                self.host._own(whole)

    def _listen(self, path: str) -> None:
        self._directory(path.rpartition("/")[0])
        listener = socket.socket(socket.AF_UNIX)
        whole = f"{self.host.workspace}/{path}"
        if os.path.lexists(whole):
            listener.close()
            return
        listener.bind(os.fsencode(whole))
        listener.listen()
        os.chmod(whole, 0o777)
        self._sockets.append(listener)

    def _tree(self) -> dict[str, str | None]:
        """Path to content, None for a directory; sockets are left out."""
        found: dict[str, str | None] = {}
        for top in (*TOPS, LIVE):
            for where, directories, names in os.walk(f"{self.host.workspace}/{top}"):
                inside = os.path.relpath(where, self.host.workspace)
                found[inside] = None
                found.update({f"{inside}/{name}": None for name in directories})
                for name in names:
                    if not stat.S_ISSOCK(os.lstat(f"{where}/{name}").st_mode):
                        with open(f"{where}/{name}", encoding="utf-8", errors="surrogateescape") as file:
                            found[f"{inside}/{name}"] = file.read()
        return found

    def _directories(self) -> set[str]:
        inside = {f"{self.host.workspace}/{path}" for path, content in self._before.items() if content is None}
        return inside | {self.host.workspace}

    def _permissions(self) -> Permissions:
        """What the launch hands to the runtime inside, from the compiled profile."""
        shown = self.host.run("explain", "--json", "--", f"{self.host.workspace}/{PROBE}")
        assert shown.returncode == 0, (self.seed, self.case.capabilities, self.case.deny, shown.stderr)
        return Permissions.from_data(json.loads(shown.stdout)["profile"]["permissions"])

    def _lines(self) -> bytes:
        lines = []
        for number, operation in enumerate(self.case.operations):
            words = [f"{self.host.workspace}/{path}" for path in operation.paths]
            if operation.kind == "exec":
                words += [words[0], *operation.words]
            elif operation.kind in {"write", "append", "create"}:
                words.append(f"new {number}\n")
            lines.append(f"{number} {operation.kind} {' '.join(os.fsencode(word).hex() or '00' for word in words)}\n")
        return "".join(lines).encode()

    # -- afterwards

    def _compare(self, expected: Expected) -> None:
        predicted = dict(self._before)
        for number, operation in enumerate(self.case.operations):
            allowed = expected.allowed(operation)
            self.near += expected.near_miss(operation, self.case)
            mechanism = self._mechanism(operation)
            self.counts[mechanism, allowed] = self.counts.get((mechanism, allowed), 0) + 1
            if operation.kind in CHANGING:
                self._changed(number, operation, allowed, expected, predicted)
            elif operation.kind in READING:
                self._read(number, operation, allowed, expected)
            elif allowed != (self._answers[number][0] == 0):
                self._differ(operation, allowed, f"errno {self._answers[number][0]}")
        for path in sorted({*predicted, *self._after}):
            if predicted.get(path, "") != self._after.get(path, ""):
                text = f"{predicted.get(path, 'nothing')!r} became {self._after.get(path, 'nothing')!r}"
                self.differences.append(Difference(self.seed, HOLE, "other names", path, text))

    def _mechanism(self, operation: Operation) -> str:
        if operation.kind in {"exec", "connect"}:
            return operation.kind
        live = operation.paths[0].startswith(f"{LIVE}/") and any(
            rule.get("live") for rule in self.case.capabilities["file"]
        )
        return ("live " if live else "") + ("read" if operation.kind in READING else "write")

    def _differ(self, operation: Operation, allowed: bool, detail: str) -> None:
        self.differences.append(
            Difference(self.seed, BROKEN if allowed else HOLE, self._mechanism(operation), operation, detail)
        )

    def _read(self, number: int, operation: Operation, allowed: bool, expected: Expected) -> None:
        errno, data = self._answers[number]
        path = operation.paths[0]
        if operation.kind == "read":
            got = errno == 0 and b"".join(data) == os.fsencode(self._before[path] or "")
        elif operation.kind == "stat":
            got = errno == 0
        else:
            self._listed(operation, allowed, expected)
            return
        if got != allowed:
            self._differ(operation, allowed, f"errno {errno}, {data!r}")

    def _listed(self, operation: Operation, allowed: bool, expected: Expected) -> None:
        """Names that are shown are granted for something; where listing is allowed all names that may be read are."""
        number = self.case.operations.index(operation)
        errno, data = self._answers[number]
        top = operation.paths[0]
        shown = {os.fsdecode(name) for name in data}
        files = {
            path[len(top) + 1 :]
            for path, content in self._before.items()
            if content is not None and path.startswith(f"{top}/")
        }
        files = {name for name in files if "/" not in name}
        foreign = [name for name in shown & files if not expected._stat(expected.path(f"{top}/{name}"))]
        missing = [name for name in files - shown if expected._read(expected.path(f"{top}/{name}"))]
        if foreign:
            self._differ(operation, allowed=False, detail=f"shows {foreign}")
        granted_for_itself = expected.listed(expected.path(top))
        if allowed and errno == ENOENT and not missing and not granted_for_itself:
            self.documented["a directory without a granted name"] += 1
        elif allowed and (errno or missing):
            self._differ(operation, allowed=True, detail=f"errno {errno}, {missing} are missing")

    def _changed(
        self, number: int, operation: Operation, allowed: bool, expected: Expected, predicted: dict[str, str | None]
    ) -> None:
        """Compares the effect on the host, and takes what it may be into `predicted`."""
        wanted = self._effect(number, operation)
        touched = {*wanted, *self._parents(operation, expected)}
        done = all(self._after.get(path, "") == content for path, content in wanted.items())
        undone = all(self._after.get(path, "") == predicted.get(path, "") for path in wanted)
        if operation.kind == "rename" and not done and not expected._read(expected.path(operation.paths[0])):
            allowed = False  # the process, too, refuses to move what it may not read; mv would have to copy it
        if not done if allowed else not (undone or self._partly(operation, expected)):
            has = [self._after.get(path, "") for path in wanted]
            self._differ(operation, allowed, f"errno {self._answers[number][0]}, the host has {has}")
        for path in touched:
            predicted.pop(path, None)
            if path in self._after:
                predicted[path] = self._after[path]

    def _effect(self, number: int, operation: Operation) -> dict[str, str | None]:
        """Path to what the host has there when the operation took effect; "" where it has nothing."""
        first, new = operation.paths[0], f"new {number}\n"
        old = self._before.get(first, "")
        effects: dict[str, dict[str, str | None]] = {
            "write": {first: new},
            "append": {first: f"{old}{new}"},
            "create": {first: new},
            "delete": {first: ""},
            "mkdir": {first: None},
            "rmdir": {first: ""},
            "rename": {first: "", operation.paths[-1]: old},
        }
        return effects[operation.kind]

    def _parents(self, operation: Operation, expected: Expected) -> list[str]:
        """The missing directory of a created file, if it may be made, whatever becomes of the file."""
        directory = operation.paths[0].rpartition("/")[0]
        made = operation.kind == "create" and directory not in self._before
        return [directory] if made and expected.may_make(expected.path(directory)) else []

    def _partly(self, operation: Operation, expected: Expected) -> bool:
        """A rename that is half granted is judged by its halves: a removal, and a file of whatever content may be read."""
        if operation.kind != "rename":
            return False
        source, target = operation.paths
        gone = source not in self._after
        made = target in self._after
        hidden = expected._read(expected.path(target)) and not expected._read(expected.path(source))
        return (
            (not gone or expected._delete(expected.path(source)))
            and (gone or self._after[source] == self._before[source])
            and (not made or expected.create(expected.path(target)))
            and (not made or not hidden or self._after[target] != self._before[source])
        )


def answers(raw: bytes) -> dict[int, tuple[int, list[bytes]]]:
    """Number to (errno, data) from the probe's lines."""
    found: dict[int, tuple[int, list[bytes]]] = {}
    listed: dict[int, list[bytes]] = {}
    for line in raw.decode().splitlines():
        number, word, *rest = line.split()
        data = [bytes.fromhex(item) for item in rest]
        if word == "list":
            listed[int(number)] = data
        else:
            found[int(number)] = (int(word), data or listed.get(int(number), []))
    return found
