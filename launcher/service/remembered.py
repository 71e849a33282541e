"""Decisions that were made before: the same question has the same answer, so it is not computed again.

Merging policies and compiling a profile are pure functions (design section 4), and so is judging a command. A file in
the cache directory holds one answer under the digest of *everything* that went into it:

- all policies, grants, exclusions, base profiles and configuration: the checksum of the snapshot in use, which
  `launcher.policy.cache` has just held against the sources. A revoked grant or an edited policy gives another
  snapshot, another digest, and no answer;
- the user as authenticated now: name, ids, groups, roles, home, and where the home leads;
- the workspace, and what the command line asks: command, limits, --env, --allow-degraded;
- the host's features as read now, and the names (never the values) of the caller's environment;
- the code that decides: the identity of the bundle. Without a bundle, as in a checkout, nothing is remembered.

So an old file is not stale: it answers a question that is not asked any more. What is no function of those is never
remembered: a launch for somebody else (the workspace's owner is looked at), an ML program, a workspace with a manifest,
and anything that a grant with `expires_at` takes part in (the answer changes with the clock). A refusal is not either.
Which file the command is, and which files the granted names are, is looked at each time and must be as it was.

The file is believed as the policy cache is: ours or root's, not writable by others, whole. On the launch path.
"""

from __future__ import annotations

import marshal
import os
import sys

from launcher.canonical import sha256_hex
from launcher.policy.cache import replace_file, trusted_bytes
from launcher.service.request import MANIFEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from launcher.service.asking import Asked

FORMAT = 2
_MAGIC = f"mlsandbox decision {FORMAT} {sys.hexversion:x}\n".encode()
_DIGEST = 64
_WITHOUT_REFERENCES = 2  # the last version of marshal whose bytes depend on nothing but the values
_SLOTS = 256  # files at most: a question that falls on another's slot replaces it


class KnownProfile:
    """A profile as it was compiled: `data` and the digest of its canonical bytes."""

    __slots__ = ("data", "digest")

    def __init__(self, data: dict[str, Any], digest: str) -> None:
        self.data = data
        self.digest = digest


class Remembered:
    """A decided launch, as `launcher.service.deciding.Decided`, whose answer was found.

    `plan` is a mount plan that followed from it, as `fingerprint` names it, and that plan's digest.
    """

    __slots__ = ("asked", "passing", "plan", "profile", "run", "source")

    def __init__(self, asked: Asked, answer: dict[str, Any]) -> None:
        self.asked = asked
        self.profile = KnownProfile(answer["profile"], answer["digest"])
        self.passing: list[str] = answer["passing"]
        self.run: list[object] = answer["run"]
        self.plan: tuple[str, str] = answer["plan"]
        self.source = None


class Memory:
    """The place of one question. `find` and `keep` do nothing where the answer would be no function of the question."""

    __slots__ = ("_answers", "_asked", "_key", "_path")

    def __init__(self, asked: Asked, *, code: str | None = None) -> None:
        """`code` is the identity of the code that decides; that of the loaded bundle unless given."""
        self._asked = asked
        self._key = ""
        # a process of the service keeps them itself: what it decided before, the same code decided
        self._answers = asked.served.kept.answers if asked.served else None
        code = (code_identity() if self._answers is None else "served") if code is None else code
        if code and _is_pure(asked):
            self._key = fingerprint([code, *_question(asked)])
            slot = int(self._key[:8], 16) % _SLOTS
            self._path = f"{asked.locations.cache}/decision-{os.geteuid()}-{slot:02x}.marshal"

    def find(self) -> Remembered | None:
        """The answer to the question, or None."""
        if self._answers is not None:
            known = self._answers.get(self._key) if self._key else None
            return Remembered(self._asked, known) if known else None
        found = trusted_bytes(self._path) if self._key else None
        if found is None:
            return None
        body = found[1]
        start = len(_MAGIC) + _DIGEST
        if not body.startswith(_MAGIC) or sha256_hex(body[start:]).encode() != body[len(_MAGIC) : start]:
            return None
        answer = marshal.loads(body[start:])  # noqa: S302  owner and checksum were just judged
        return Remembered(self._asked, answer) if answer["key"] == self._key else None

    def keep(self, profile: Any, run: list[object], passing: list[str], plan: tuple[str, str] = ("", "")) -> None:
        """Keeps the answer: the profile, the image that `run` names and may be run, the variables that pass, and the
        digest of the plan that followed.
        """
        data: Mapping[str, Any] = profile.data
        rules = (*data["permissions"]["grants"], *data["permissions"]["denies"])
        if not self._key or any("expires_at" in rule["constraints"] for rule in rules):
            return
        answer = {"key": self._key, "digest": profile.digest, "profile": data, "run": run}
        answer |= {"passing": passing, "plan": plan}
        if self._answers is not None:
            if len(self._answers) >= _SLOTS:
                self._answers.clear()
            self._answers[self._key] = answer
            return
        body = marshal.dumps(answer)
        replace_file(self._path, _MAGIC + sha256_hex(body).encode() + body)


def fingerprint(value: object) -> str:
    """Names plain values, without being what other programs would compute: canonical JSON takes twenty times as long.

    Equal bytes are equal values. Equal values of other types (a tuple, a list) may differ, which is a miss.
    """
    return sha256_hex(marshal.dumps(value, _WITHOUT_REFERENCES))  # type: ignore[arg-type]  # plain values only


def code_identity() -> str:
    """The identity of the code that this process executes, where a bundle vouches for it, else ""."""
    return next((str(finder.identity) for finder in sys.meta_path if hasattr(finder, "identity")), "")


def _is_pure(asked: Asked) -> bool:
    request = asked.request
    return (
        bool(asked.snapshot.digest)
        and not request.program
        and not asked.acting.for_somebody_else
        and not os.path.lexists(f"{asked.workspace}/{MANIFEST}")
    )


def _question(asked: Asked) -> list[object]:
    request, user = asked.request, asked.acting.user
    return [
        asked.snapshot.digest,
        user.to_data(),
        os.path.realpath(user.home),
        asked.workspace,
        list(request.command),
        dict(request.limits),
        list(request.environment),
        request.allow_degraded,
        asked.features.to_data(),
        sorted({*request.inherited, *request.environment}),
    ]
