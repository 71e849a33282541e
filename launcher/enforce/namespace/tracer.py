"""pid 1 as the tracer of its sandbox: one loop for stops and for reaping.

A consequence: strace and gdb do not work inside a job whose commands are listed.
"""

from __future__ import annotations

import _signal
import os

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.execcheck import image_of
from launcher.kernel import ptrace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.execcheck import ExecCheck

_MOST_REPORTS = 200  # a job that tries and tries must not flood its supervisor
_MOST_ATTEMPTS = 2000
_LONGEST = 4096


class Tracer:
    """Judges every exec but the first, which is the launcher's own choice."""

    __slots__ = ("_attempts", "_check", "_control", "_first", "_reports", "_watched")

    def __init__(self, check: ExecCheck, control: Channel, *, watched: bool = False) -> None:
        """`watched`: tell of every exec that begins (--trace-denials); what does not exist gets no further."""
        self._check = check
        self._control = control
        self._first = True
        self._reports = 0
        self._watched = watched
        self._attempts = 0

    def stopped(self, pid: int, status: int) -> None:
        """Handles one stop of a tracee: `status` as wait4(2) gave it."""
        event = ptrace.event_of(status)
        signal = os.WSTOPSIG(status & 0xFFFF)
        if event == ptrace.EVENT_EXEC:
            self._executed(pid)
        elif event == ptrace.EVENT_SECCOMP and self._watched:
            self._attempted(pid)
            ptrace.cont(pid)
        elif event == ptrace.EVENT_STOP and signal in ptrace.GROUP_STOPS:
            ptrace.listen(pid)
        else:
            ptrace.cont(pid, 0 if event else signal)

    def _attempted(self, pid: int) -> None:
        """Tells the observer which name an exec begins with. The memory is the job's: a claim, and nothing more."""
        self._attempts += 1
        if self._attempts > _MOST_ATTEMPTS:
            return
        try:
            path = ptrace.exec_path(pid)
            if path:
                self._control.send(messages.ATTEMPTED, (os.readlink(f"/proc/{pid}/cwd"), os.fsdecode(path)))
        except OSError:  # killed meanwhile
            return

    def _executed(self, pid: int) -> None:
        if self._first:
            self._first = False
            ptrace.cont(pid)
            return
        try:
            image = image_of(pid)
            refusal = self._check.refusal(image)
            name, words = image.file, image.arguments
        except (OSError, ValueError) as error:  # what cannot be looked at does not run
            refusal, name, words = (f"the image cannot be examined: {error}", ()), "?", ()
        if refusal is None:
            ptrace.cont(pid)
            return
        os.kill(pid, _signal.SIGKILL)
        self._report(name, " ".join(words), refusal[0], [str(rule.place) for rule in refusal[1]])

    def _report(self, file: str, line: str, reason: str, places: list[str]) -> None:
        self._reports += 1
        if self._reports <= _MOST_REPORTS:
            shown = (file[:_LONGEST], line[:_LONGEST], reason[:_LONGEST], tuple(places[:8]))
            self._control.send(messages.REFUSED_EXEC, shown)
