"""What a job says that it needs, read by a process that has nothing: its source and manifest are the attacker's.

The reader is a job like any other, under the base profile `parser` (no grants, tight limits); its answer is one JSON
object, bounded, and every value in it is checked before it is believed.
"""

from __future__ import annotations

import os

from launcher.capability.grant import Grant, Place
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.errors import DocumentError, SandboxError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from launcher.enforce.namespace.spec import Identity
    from launcher.identity.user import User
    from launcher.service.sandboxes import Sandboxes

_LARGEST_ANSWER = 4 << 20  # bytes: the declarations, and the compiled program
_READER = "launcher.runtime.parse_main"
_POLICY = "declared"


class Declared:
    """`needs` as grants, the diagnostics (data of launcher.language.diagnostics) and the imports of the source."""

    __slots__ = ("compiled", "diagnostics", "imports", "needs", "uses")

    def __init__(self, needs: list[Grant], diagnostics: list[dict[str, Any]], imports: Sequence[str] = ()) -> None:
        self.needs = needs
        self.diagnostics = diagnostics
        self.imports = list(imports)
        # what the source can be seen to use: type, operation, resource, line, column; for `check`, never a verdict
        self.uses: list[dict[str, Any]] = []
        # the program as the reader compiled it, for the job's sandbox and nobody else; b"" where it did not
        self.compiled = b""


def read_source(source: bytes, name: str, reader: Reader) -> Declared:
    """The declarations of the ML `source`. Raises DocumentError when the reader's answer is none."""
    said, compiled = reader.read(source, name)
    answer = _object(said, name)
    needs, diagnostics, imports = (answer.get(key, []) for key in ("needs", "diagnostics", "imports"))
    if not isinstance(needs, list) or not isinstance(diagnostics, list) or not _texts(imports):
        raise DocumentError("the reader of declarations gave no lists", place=name)
    notes = [item for item in diagnostics if isinstance(item, dict)]
    declared = Declared([_need(item, name) for item in needs], notes, imports)
    declared.compiled = compiled
    uses = answer.get("uses", [])
    declared.uses = [item for item in uses if isinstance(item, dict)] if isinstance(uses, list) else []
    return declared


def _object(data: bytes, name: str) -> dict[str, Any]:
    import json

    try:
        answer = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise DocumentError(f"the declarations cannot be read: {error}", place=name) from error
    if not isinstance(answer, dict):
        raise DocumentError("the declarations are no object", place=name)
    return answer


def _need(item: object, name: str) -> Grant:
    """One declared need, every part checked: the reader may have been taken over by what it read."""
    if not isinstance(item, dict):
        raise DocumentError("a declaration is no object", place=name)
    operations, patterns = item.get("operations"), item.get("patterns")
    if not _texts(operations) or not _texts(patterns) or not isinstance(item.get("type"), str):
        raise DocumentError("a declaration has no type, operations and patterns", place=name)
    where = item.get("place")
    numbers = where[1:] if isinstance(where, list) else []
    place = Place(name, *[number if isinstance(number, int) else 0 for number in (*numbers, 0, 0)][:2])
    try:
        return Grant(str(item["type"]), tuple(operations or ()), tuple(patterns or ()), policy=_POLICY, place=place)
    except SandboxError as error:
        raise DocumentError(error.message, hint=error.hint, place=str(place)) from error


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


class Reader:
    """Reads ML source in an empty sandbox of `identity`, or finds what it said of the same source before."""

    __slots__ = ("_base", "_cache", "_features", "_identity", "_sandboxes", "_switch", "_user")

    def __init__(
        self,
        user: User,
        identity: Identity,
        base: dict[str, Any],
        features: Any,
        cache: str,
        sandboxes: Sandboxes | None = None,
    ) -> None:
        """`sandboxes` is the service's fork server; without one this process forks."""
        self._sandboxes = sandboxes
        self._user = user
        self._identity = identity
        self._base = base
        self._features = features
        self._cache = cache
        self._switch = os.geteuid() == 0

    def read(self, source: bytes, name: str) -> tuple[bytes, bytes]:
        """What is said of `source`, and its compiled program. Raises DocumentError, EnforcementError."""
        from launcher.service.known_programs import KnownProgram

        known = KnownProgram(source, name, self._user, self._cache)
        found = known.find()
        if found is None:
            found = self._run(source, name)
            known.keep(*found)
        return found

    def _run(self, source: bytes, name: str) -> tuple[bytes, bytes]:
        """Runs the reader: the source on descriptor 3; on stdout the answer, a line, and the compiled program."""
        from launcher.enforce import interpreter
        from launcher.enforce.job import Job
        from launcher.enforce.namespace.backend import Prepared, run
        from launcher.enforce.result import Result

        python = interpreter.for_job(as_root=self._switch)
        job = Job(f"reader-{os.getpid()}", self._identity, python.path, [*python.arguments(_READER), name])
        job.switch_ids = self._switch
        python.fill(job)
        job.exec_once = True
        given = _memory(source)
        answer, complaints = _memory(b""), _memory(b"")
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        job.stdio = (nothing, answer, complaints)
        job.passed = ((given, 3),)
        result = Result(job.id, "")
        try:
            prepared = Prepared(self._profile(), job, self._cache)
            if self._sandboxes:
                self._sandboxes.run(prepared, result)
            else:
                run(prepared, result, lambda: None)
            if result.exit_code != 0:
                raise DocumentError(
                    f"the program could not be read ({_reason(result, complaints)})",
                    hint="it may be too large or too deeply nested",
                    place=name,
                )
            said, _, compiled = os.pread(answer, _LARGEST_ANSWER, 0).partition(b"\n")
            # half a program is none
            return said, compiled if os.fstat(answer).st_size <= _LARGEST_ANSWER else b""
        finally:
            for fd in (given, answer, complaints, nothing):
                os.close(fd)

    def _profile(self) -> dict[str, Any]:
        from launcher.compile.base import BaseProfile
        from launcher.compile.compiler import compile_profile
        from launcher.compile.options import Options
        from launcher.policy.merge import Merged

        scope = Scope(self._user.home, "/tmp")  # noqa: S108  the sandbox's own, where nothing is
        nothing = Merged(
            Permissions((), (), Limits(), scope),
            base="parser",
            run_with="granted",
            commit="always",
            limits=Limits(),
            policies=(),
        )
        # What the reader's host cannot limit is limited by rlimits and the wall clock: it holds no grant to abuse.
        options = Options("/tmp", allow_degraded=True)  # noqa: S108
        return compile_profile(nothing, self._user, BaseProfile(self._base), self._features, options).data


def _memory(data: bytes) -> int:
    fd = os.memfd_create("mlsandbox", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _reason(result: Any, complaints: int) -> str:
    said = os.pread(complaints, 2000, 0).decode("utf-8", "replace").strip().splitlines()
    ended = f"limit {result.limit}" if result.limit else f"exit status {result.exit_code}"
    return f"{ended}: {said[-1]}" if said else ended
