"""The verb `launch`: a job on a client's own descriptors, for as long as the client is there.

The client's descriptors go past the service, straight to the process of the tenant: looking at one, even closing it,
can wait for a file system that the tenant answers for. Nor are they believed there: each must be of a kind that bytes
can be carried to or from, opened for that, and not by O_PATH. Flags are left as they are; they are the client's.

The bytes are carried by a process of root's. So nothing is taken that asks who reads or writes it: files of /proc, /sys
and the like, devices other than terminals and /dev/null's family, sockets but those of a stream. What a local stream
socket's other end is told (SO_PASSCRED) are the tenant's ids (`pumps.Output.speak_for`).
"""

from __future__ import annotations

import _signal
import _socket
import fcntl
import os
import stat

from launcher.errors import SandboxError, UsageError
from launcher.kernel.filesystems import asks_who_uses
from launcher.service import received

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.service.calls import Call
    from launcher.service.jobs import Ended, Jobs, RunningJob
    from launcher.service.request import Request
    from launcher.service.wire import Message

_O_PATH = 0o10000000
_STDIO = 3
_HINT = (
    "files, pipes, terminals and stream sockets are; for a file of /proc or /sys use a pipe: cat FILE | mlsandbox ..."
)
# What a client may pass on: what a terminal or kill(1) sends to a command. SIGWINCH: the terminal's size has changed.
SIGNALS = frozenset(
    {
        *(_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2),
        *(_signal.SIGSTOP, _signal.SIGCONT, _signal.SIGWINCH, _signal.SIGKILL),
    }
)


def _is_stream_socket(fd: int) -> bool:
    socket = _socket.socket(fileno=os.dup(fd))
    try:
        local = socket.family in {_socket.AF_UNIX, _socket.AF_INET, _socket.AF_INET6}
        return local and socket.type == _socket.SOCK_STREAM
    finally:
        socket.close()


def _is_plain_device(fd: int) -> bool:
    return os.isatty(fd) or os.major(os.fstat(fd).st_rdev) == _MEMORY_DEVICES


_MEMORY_DEVICES = 1  # null, zero, full, random; mem and port are root's to open, and kmsg to write
# By the kind of a file: whether bytes can be carried, with nobody asking whose process carries them.
_STREAMS: dict[int, Callable[[int], bool]] = {
    stat.S_IFIFO: lambda _fd: True,
    stat.S_IFSOCK: _is_stream_socket,
    stat.S_IFCHR: _is_plain_device,
    stat.S_IFREG: lambda fd: not asks_who_uses(fd),
}


class Launches:
    """Handles `launch`."""

    def __init__(self, jobs: Jobs, root: str | None, admit: Callable[[Request, str], Callable[[], None]]) -> None:
        """`admit` counts a launch of a tenant and returns what is to be called at its end (`queue.beside`)."""
        self._admit = admit
        self._jobs = jobs
        self._root = root

    def launch(self, call: Call) -> None:
        """`{"verb": "launch", **received.to_data(request)}`. Answers, as parts, with a socket on which the client
        passes standard input, output, error and its program, and with `{"job": id}`; then `{"result": ...}`.
        Meanwhile the client may say `{"signal": number}`.
        """
        request = received.from_data(call.message, self._root)
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        try:
            job = self._start(call, request, ours.fileno())
            call.stream({"descriptors": True}, [theirs.fileno()])
        finally:
            ours.close()
            theirs.close()
        call.on_gone = job.kill

        def more(message: Message) -> None:
            number = message.get("signal")
            if type(number) is int and number in SIGNALS:
                job.signal(number)

        call.on_message = more

    def ask(self, call: Call) -> None:
        """The verbs `check`, `explain` and `plan`: as `launch`, and answered with what `inspecting` says."""
        request = received.from_data(call.message, self._root)
        program = call.message.get("source")
        if program is not None:
            request.source = received.source(program)

        def ended(end: Ended) -> None:
            if end.error:
                call.fail(end.error)
            else:
                call.reply(end.result or {})

        self._jobs.ask(str(call.message["verb"]), request, call.acting, ended)

    def _start(self, call: Call, request: Request, streams: int) -> RunningJob:
        release = self._admit(request, call.acting.user.name)

        def ended(end: Ended) -> None:
            release()
            if end.error:
                call.fail(end.error)
            else:
                call.reply({"result": end.result})

        try:
            job = self._jobs.start(request, call.acting, streams, ended, on_start=lambda: call.stream({"job": job.id}))
        except SandboxError:
            release()
            raise
        return job


def take_descriptors(socket: _socket.socket) -> list[int]:
    """In the tenant's process: what the client passed, to be checked by `check_descriptors`."""
    space = _socket.CMSG_SPACE(4 * (_STDIO + 1))
    _data, ancillary, _flags, _address = socket.recvmsg(1, space, _socket.MSG_CMSG_CLOEXEC)
    packed = b"".join([item[2] for item in ancillary if item[1] == _socket.SCM_RIGHTS])
    return [int.from_bytes(packed[at : at + 4], "little") for at in range(0, len(packed) - 3, 4)]


def check_descriptors(fds: list[int], *, terminal: bool, program: bool) -> None:
    """Raises UsageError for descriptors that a launch cannot have."""
    if len(fds) != _STDIO + program:
        raise UsageError("a launch passes standard input, output and error, and the program where there is one")
    wanted = (os.O_RDONLY, os.O_WRONLY, os.O_WRONLY, os.O_RDONLY)
    for number, (fd, access) in enumerate(zip(fds, wanted, strict=False)):
        flags = fcntl.fcntl(fd, fcntl.F_GETFL)
        kind = stat.S_IFMT(os.fstat(fd).st_mode)
        carried = kind in _STREAMS and not flags & _O_PATH and _STREAMS[kind](fd)
        if not carried or (flags & os.O_ACCMODE) not in {access, os.O_RDWR}:
            raise UsageError(f"descriptor {number} of a launch is none that a stream can be carried by", hint=_HINT)
        if number == _STDIO and kind != stat.S_IFREG:
            raise UsageError("the program is not a file")
    if terminal and not all(map(os.isatty, fds[:_STDIO])):
        raise UsageError("a launch with a terminal passes a terminal")
