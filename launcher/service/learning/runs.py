"""One run of the job under a candidate policy, in a process of its own; nothing that it wrote is committed."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

from launcher.canonical import sha256_hex
from launcher.errors import SandboxError
from launcher.policy.cache import Snapshot
from launcher.policy.model import Policy
from launcher.service.launching import Launch
from launcher.service.learning import document

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from launcher.identity.user import User
    from launcher.service.request import Request

# A name that nobody can have (RFC 2606 reserves the domain, where it does not exist): with a host there is a resolver
# that hears which names the job asks for.
LISTENING = "network.https:mlsandbox-learn.example.com"
_DECLINED = "declined at the review"
_MOST_INPUT = 16 << 20
_NUMBERS = re.compile(rb"[0-9a-fA-F]*[0-9][0-9a-fA-F]*")


class Candidate(Snapshot):
    """What is configured, with one policy in place of what the user is granted. Denies and limits stay as they are."""

    def __init__(self, before: Snapshot, grants: Sequence[str]) -> None:
        super().__init__({**before._data, "digest": ""})  # noqa: SLF001  the same class; no digest: nothing is remembered
        self._grants = tuple(grants)

    def policies_for(self, user: User) -> list[Policy]:
        """The candidate, and of each policy that applies only what restricts."""
        return [document.policy(self._grants), *[_restrictions(policy) for policy in super().policies_for(user)]]


def _restrictions(policy: Policy) -> Policy:
    return Policy(policy.handle, denies=policy.denies, limits=policy.limits, base=policy.base, place=policy.place)


class Outcome:
    """What one run did. `effects` are the changes that would have been committed: (path, change).

    `traces` are digests of what it said on both streams (by its lines, by its lines without numbers such as times and
    process ids, and by their count) and of what it wrote: two runs of the same job are compared by what two runs with
    the same grants share.
    """

    __slots__ = ("denials", "effects", "error", "hint", "said", "status", "traces")

    def __init__(self, data: dict[str, Any], output: bytes, said: bytes) -> None:
        self.error = str(data.get("error", ""))
        self.hint = str(data.get("hint", ""))
        self.status = int(data.get("exit_code", 125))
        self.said = said
        self.traces: list[object] = [*_traces(output), *_traces(said), data.get("written", "")]
        refused: Iterable[dict[str, Any]] = data.get("refused", ())
        changes = [(str(row["path"]), str(row["change"])) for row in refused if row["reason"] == _DECLINED]
        self.effects = frozenset([*changes, *_committed(data)])
        self.denials: list[dict[str, Any]] = [row for row in data.get("denials", ()) if row["reason"] != _DECLINED]

    def shared(self, other: Outcome) -> list[int]:
        """The places of `traces` at which the two are alike."""
        return [place for place, trace in enumerate(self.traces) if trace == other.traces[place]]

    def same(self, other: Outcome, places: Sequence[int]) -> bool:
        """Whether both ended alike, changed the same files, and have the same traces at these places."""
        alike = (self.status, self.error, self.effects) == (other.status, other.error, other.effects)
        return alike and all(self.traces[place] == other.traces[place] for place in places)


def _traces(text: bytes) -> list[object]:
    # in any order: that of a directory's names depends on how it is mounted
    return [_lines(text), _lines(_NUMBERS.sub(b"0", text)), text.count(b"\n")]


def _lines(text: bytes) -> str:
    return sha256_hex(b"\n".join(sorted(text.split(b"\n"))))


def _committed(data: dict[str, Any]) -> list[tuple[str, str]]:
    return [(str(row["path"]), str(row["change"])) for row in data.get("committed", ())]


def once(
    request: Request, grants: Sequence[str], given: bytes, *, traced: bool = True, commit: bool = False
) -> Outcome:
    """Runs the job with just these grants, and `given` on its standard input."""
    out, said, reader, writer = _memory(b""), _memory(b""), *os.pipe2(os.O_CLOEXEC)
    stdin = _memory(given)
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reader)
            request.stdio = (stdin, out, said)
            data = _launched(request, grants, traced=traced, commit=commit)
            with open(writer, "wb") as pipe:
                pipe.write(json.dumps(data).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        with open(reader, "rb") as pipe:
            told = pipe.read()
        os.waitpid(pid, 0)
        data = json.loads(told) if told else {"error": "the launcher ended early"}
        return Outcome(data, _content(out), _content(said))
    finally:
        for fd in (stdin, out, said):
            os.close(fd)


def _launched(request: Request, grants: Sequence[str], *, traced: bool, commit: bool) -> dict[str, Any]:
    request.candidate = lambda before: Candidate(before, grants)
    request.trace_denials = traced
    request.terminal = False
    written = []

    def declined(lines: Iterable[str], _accepted: int, _refused: int) -> bool:
        written.append(sha256_hex("\n".join(lines).encode("utf-8", "surrogateescape")))
        return False

    if not commit:
        request.review = declined
    try:
        return {**Launch(request).run().to_data(), "written": "".join(written)}
    except SandboxError as error:
        return {"error": str(error), "hint": error.hint, "exit_code": error.status}


def _memory(data: bytes) -> int:
    fd = os.memfd_create("learn", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _content(fd: int) -> bytes:
    with open(os.dup(fd), "rb") as file:
        file.seek(0)
        return file.read()


def standard_input() -> bytes:
    """All of standard input where it is no terminal, to be given to each run anew; at most 16 MiB."""
    if os.isatty(0):
        return b""
    data = b""
    while len(data) < _MOST_INPUT and (part := os.read(0, 1 << 16)):
        data += part
    return data
