"""The supervisor's side of a job's proxy: start it early, give it the listeners, ask it, end it. [L]

The proxy is forked before the sandbox is built, so that its imports run meanwhile, and needs no privilege afterwards.
It ends when this handle's line closes, whatever happens to the supervisor.
"""

from __future__ import annotations

import os
import select
import time
from _json import encode_basestring_ascii as quote
from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket, socketpair

from launcher.egress.topology import send_listeners
from launcher.errors import EnforcementError, SandboxError
from launcher.kernel import abi, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from launcher.egress.topology import Listener

READY_TIME = 20.0  # seconds for imports, rules and a certificate authority on a loaded machine
ANSWER_TIME = 10.0
END_TIME = 1.0  # after which a proxy that does not end is killed


class Handle:
    """One proxy process. `events` is a descriptor of JSON lines to be read by the supervisor, see read_events()."""

    __slots__ = ("_buffer", "_control", "_pending", "events", "pid")

    def __init__(self, pid: int, control: socket, events: int) -> None:
        self.pid = pid
        self.events = events
        self._control = control
        self._buffer = b""
        self._pending = b""

    def ready(self) -> dict[str, Any]:
        """Wait until the rules are compiled: `{"ca": PEM, "java": base64}`, empty strings without interception.

        Raises EnforcementError when the proxy could not start.
        """
        answer = self._answer(READY_TIME)
        if not answer.get("ok"):
            reason = f"the egress proxy: {answer.get('error') or 'it ended'}"
            raise EnforcementError("start", reason, hint=str(answer.get("hint", "")))
        return answer

    def give(self, listeners: Iterable[Listener]) -> None:
        """Hand the sockets of the job's namespace over (topology.build); they are closed here. After ready()."""
        send_listeners(self._control, listeners)

    def reload(self, network: dict[str, Any]) -> None:
        """Judge by other rules from now on, cut what they forbid. Raises EnforcementError; the old rules then stay."""
        answer = self._ask('{"op":"reload",' + _json(network)[1:])
        if not answer.get("ok"):
            raise EnforcementError("reload", f"the egress rules: {answer.get('error') or 'the proxy ended'}")

    def totals(self) -> dict[str, Any]:
        """`{"hosts": {name: {connections, denied, bytes_up, bytes_down}}, "denied": n}` so far."""
        return self._ask('{"op":"totals"}')

    def stop(self) -> dict[str, Any]:
        """End the proxy and with it every connection; the final totals, empty when it had died. Safe to call twice."""
        if not self.pid:
            return {}
        answer = self._ask('{"op":"stop"}')
        self._drain(END_TIME)
        self._control.close()
        if self.events >= 0:
            os.close(self.events)
            self.events = -1
        self._reap()
        return answer

    def read_events(self) -> list[bytes]:
        """Whole lines that have come, without waiting. Each is one audit event in JSON."""
        self._drain(0)
        *lines, self._pending = self._pending.split(b"\n")
        return lines

    def _ask(self, line: str) -> dict[str, Any]:
        try:
            self._control.sendall(line.encode("ascii") + b"\n")
        except OSError:
            return {}
        return self._answer(ANSWER_TIME)

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line on the control socket. Events are read meanwhile: a full pipe would block the proxy."""
        end = time.monotonic() + seconds
        while b"\n" not in self._buffer:
            left = end - time.monotonic()
            found = _ready([self._control.fileno(), self.events], left)
            if not found:
                return {}
            if self.events in found:
                self._drain(0)
            if self._control.fileno() in found and not self._receive():
                return {}
        line, _, self._buffer = self._buffer.partition(b"\n")
        return _parse(line)

    def _receive(self) -> bool:
        """Take what is on the control socket; False when the proxy has gone."""
        try:
            data = self._control.recv(65536)
        except OSError:
            return False  # reset: it ended with our question unread
        self._buffer += data
        return bool(data)

    def _drain(self, seconds: float) -> None:
        """Take events until the pipe is empty, or has ended within `seconds`."""
        end = time.monotonic() + seconds
        while self.events >= 0 and _ready([self.events], end - time.monotonic()):
            data = os.read(self.events, 65536)
            if not data:
                os.close(self.events)
                self.events = -1
            self._pending += data

    def _reap(self) -> None:
        end = time.monotonic() + END_TIME
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(self.pid, 9)
                os.waitpid(self.pid, 0)
                break
            time.sleep(0.002)
        self.pid = 0


def start(network: dict[str, Any], settings: dict[str, Any], prepare: Callable[[], None] | None = None) -> Handle:
    """Fork the proxy. Raises OSError.

    `network` is `{"grants": [...], "denies": [...], "generation": n}` (the Profile's egress grants and the network
    denies of its permissions). `settings` are JSON values for launcher.egress.child: `limits`, `secrets`,
    `placeholders`, `upstream_proxy`, `no_proxy`, `anchors`, `job`. `prepare` runs in the new process before anything is
    imported: fill in there what only this process may know, then drop ids and capabilities; a SandboxError of it is
    what ready() raises. The caller must have one thread only.
    """
    ours, theirs = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            _become(theirs.fileno(), writer)
            if _prepared(prepare):
                from launcher.egress.child import run

                run(3, 4, network, settings)
                status = 0
        finally:
            os._exit(status)
    theirs.close()
    os.close(writer)
    return Handle(pid, ours, reader)


def _become(control: int, events: int) -> None:
    """Keep nothing of the supervisor but these two descriptors, as 3 and 4, and the null device."""
    os.setsid()
    null = os.open("/dev/null", os.O_RDWR)
    high = [os.dup(fd) for fd in (control, events, null)]
    while min(high) < 5:
        high = [os.dup(fd) for fd in high]
    for target, source in ((3, high[0]), (4, high[1]), (0, high[2]), (1, high[2]), (2, high[2])):
        os.dup2(source, target, inheritable=False)
    os.closerange(5, _limit())


def _prepared(prepare: Callable[[], None] | None) -> bool:
    """In the new process: whether it may go on; if not, the supervisor has been told why."""
    try:
        if prepare is not None:
            prepare()
        _harden()
    except (SandboxError, OSError) as error:
        hint = error.hint if isinstance(error, SandboxError) else ""
        os.write(3, _json({"ok": False, "error": str(error), "hint": hint}).encode("ascii") + b"\n")
        return False
    return True


def _harden() -> None:
    """Credentials may be in this process: another one of the same user must not read its memory."""
    libc.prctl(abi.PR_SET_NO_NEW_PRIVS, 1)
    libc.prctl(abi.PR_SET_DUMPABLE, 0)


def _limit() -> int:
    """One above the highest descriptor that is open."""
    return max([int(name) for name in os.listdir("/proc/self/fd")]) + 1


def _ready(fds: list[int], seconds: float) -> list[int]:
    """Those of `fds` (negative ones are left out) that can be read or have ended. poll: select stops at fd 1,023."""
    poller = select.poll()
    for fd in fds:
        if fd >= 0:
            poller.register(fd, select.POLLIN)
    return [fd for fd, _ in poller.poll(max(0.0, seconds) * 1000)]


def _json(value: Any) -> str:
    """JSON of plain values; `json` itself costs 8 ms on the launch path."""
    if isinstance(value, dict):
        return "{" + ",".join([f"{quote(str(key))}:{_json(item)}" for key, item in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([_json(item) for item in value]) + "]"
    if isinstance(value, str):
        return str(quote(value))
    return {True: "true", False: "false", None: "null"}.get(value) or repr(value)


def _parse(line: bytes) -> dict[str, Any]:
    from json import loads  # answers are read after the job has started: not on the way to it

    answer = loads(line)
    return dict(answer) if isinstance(answer, dict) else {}
