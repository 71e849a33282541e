"""What the runtime claims to the supervisor: one JSON object a line on a pipe, bounded, never waiting.

The claims come from inside the sandbox, so the supervisor records them as claims (`layer: runtime`). A job that asks
a million times may not stall on its own reports, nor fill the supervisor's memory: a full pipe drops the line, and
the next line that fits is preceded by the number of those that did not. The descriptor may also be a memory file, which
is never full: there the bound is ours, and uses stop before denials do, so that a busy job does not hide what it was
refused.
"""

from __future__ import annotations

import os
from stat import S_ISREG

from launcher.canonical import canonical_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.capability.grant import Grant

ALLOWED = "ALLOWED"
DENIED = "DENIED"

# pipe(7): writes of up to PIPE_BUF bytes are atomic, so a line is written whole or not at all (EAGAIN).
MAX_LINE = 4096
# Characters of one text; escaped, a character takes up to twelve bytes ("\ud83d\ude00"), so four texts may not fit.
MAX_TEXT = 1024
MAX_DECIDERS = 8
# Bytes in a file: what the supervisor reads, and from where on only denials, and only notes, are still written.
MAX_FILE = 1 << 20
USES_UP_TO = MAX_FILE - (1 << 18)
DENIALS_UP_TO = MAX_FILE - (1 << 14)


class Reporter:
    """Writes claims to a descriptor that it makes non-blocking and keeps from children. `dropped` counts lost lines.

    A descriptor below 0 reports nowhere.
    """

    __slots__ = ("_descriptor", "_is_file", "_written", "dropped")

    def __init__(self, descriptor: int = -1) -> None:
        self._descriptor = descriptor
        self._is_file = descriptor >= 0 and S_ISREG(os.fstat(descriptor).st_mode)
        self._written = 0
        self.dropped = 0
        if descriptor >= 0:
            os.set_blocking(descriptor, False)
            os.set_inheritable(descriptor, False)

    def access(
        self,
        outcome: str,
        type: str,  # noqa: A002  the vocabulary of the capability algebra
        operation: str,
        resource: str,
        deciders: Iterable[Grant] = (),
        detail: dict[str, object] | None = None,
    ) -> None:
        """One permission that was asked for: `resource` as the job wrote it, `outcome` ALLOWED or DENIED."""
        places = [{"policy": cut(rule.policy), "place": cut(str(rule.place))} for rule in list(deciders)[:MAX_DECIDERS]]
        self._send(
            {
                "event": "access",
                "outcome": outcome,
                "capability": type,
                "operation": operation,
                "resource": cut(resource),
                "deciders": places,
                "detail": {key: cut(text) if isinstance(text, str) else text for key, text in (detail or {}).items()},
            },
            USES_UP_TO if outcome == ALLOWED else DENIALS_UP_TO,
        )

    def note(self, event: str, detail: dict[str, object]) -> None:
        """Something else worth recording: a token that was revoked, permissions that were elevated."""
        self._send({"event": event, "outcome": "", "detail": detail}, MAX_FILE)

    def _send(self, claim: dict[str, object], most: int) -> None:
        if self._descriptor < 0:
            return
        line = _fitting(claim)
        if self._is_file and self._written + len(line) > most:
            self.dropped += 1
            return
        if self.dropped:
            lost = canonical_json({"event": "dropped", "outcome": "", "detail": {"count": self.dropped}}) + b"\n"
            self.dropped = 0 if self._write(lost) else self.dropped
        if not self._write(line):
            self.dropped += 1

    def _write(self, line: bytes) -> bool:
        try:
            written = os.write(self._descriptor, line)
            self._written += written
            return written == len(line)
        except BlockingIOError:
            return False
        except OSError:
            # The supervisor is gone or closed its end: the kernel still enforces, there is nobody left to tell.
            self._descriptor = -1
            return True


def cut(text: str) -> str:
    """`text`, or its beginning with the number of characters that are missing."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}...(+{len(text) - MAX_TEXT})"


def _fitting(claim: dict[str, object]) -> bytes:
    """The line, without what can be left out first when it is too long for one atomic write."""
    line = canonical_json(claim) + b"\n"
    for field, smaller in (("detail", {}), ("deciders", []), ("resource", str(claim.get("resource", ""))[:256])):
        if len(line) <= MAX_LINE:
            break
        claim = {**claim, field: smaller}
        line = canonical_json(claim) + b"\n"
    return line
