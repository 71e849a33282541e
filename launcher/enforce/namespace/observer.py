"""A process beside the supervisor that looks at the job's calls with path names, and decides nothing.

It holds the listener of a second seccomp filter (launcher.kernel.pathcalls), reads the names from the job's memory
and answers every call with "go on". A call waits until it is answered, so a flood stalls the job that makes it and
nobody else: the supervisor only reads rows, of which there is a bounded number. When this process dies the kernel
answers ENOSYS to every such call: the job breaks, and nothing opens.

It has the ids of the user that the job is for, so that it tells nobody of files that he could not find himself; it is
outside of the job's process namespace, which can neither see nor signal it.

Where nothing may be executed after the job's image (`once`), it also holds that rule, since a process can have one
listener: the first execve, the launcher's own, goes on; every later one is answered ENOSYS, whatever it asks for.
"""

from __future__ import annotations

import _signal
import _socket
import errno
import fcntl
import os
import select
import time

from launcher.kernel import libc
from launcher.kernel.abi import (
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    RESOLVE_IN_ROOT,
    SECCOMP_IOCTL_NOTIF_ID_VALID,
    SECCOMP_IOCTL_NOTIF_RECV,
    SECCOMP_IOCTL_NOTIF_SEND,
    SECCOMP_USER_NOTIF_FLAG_CONTINUE,
    SIZEOF_SECCOMP_NOTIF,
    SIZEOF_SECCOMP_NOTIF_RESP,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from launcher.enforce.namespace.observed import InView, Judge
    from launcher.enforce.namespace.spec import Identity
    from launcher.kernel.pathcalls import Call, Notification

MOST_ROWS = 1000  # refusals that are reported; the rest is counted
_MOST_KNOWN = 1 << 16  # names already judged, as 8 byte hashes
_LONGEST_ROW = 16384
_ST_RDONLY = 1
_ENDING = 1.0  # seconds that an observer has to tell its last rows
_GO_ON = 0


class Observer:
    """The supervisor's side. `rows` are the refusals that were observed, `costs` what observing took."""

    def __init__(self, profile: dict[str, Any], identity: Identity | None, *, once: bool, traced: bool) -> None:
        """`identity`: whose eyes the host is looked at with, None for the launcher's own. `once`: execve is answered
        here; `traced`: execs are looked at by pid 1, which tells of them by `executed`.
        """
        self._profile = profile
        self._identity = identity
        # made here: pid 1, which uses both, sees no file of ours any more
        from launcher.kernel import pathcalls

        self.program = pathcalls.program(execs=not traced)  # the filter to install beside the job's own
        self._once = once
        self._rows_end = -1
        self._pid = 0
        self._buffer = b""
        self._words: _socket.socket | None = None
        self.rows: list[dict[str, Any]] = []
        self.costs: dict[str, int] = {}

    def start(self, listener: int) -> None:
        """Forks the observer, which takes over `listener`."""
        self._rows_end, writer = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._rows_end, False)
        self._words, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            _become(listener, writer, theirs.fileno(), self._profile, self._identity, once=self._once)
        os.close(writer)
        theirs.close()
        os.close(listener)

    def executed(self, pid_path: str, cwd: str) -> None:
        """pid 1 saw an exec of this name; dropped where the observer is behind."""
        if self._words:
            try:
                data = os.fsencode(cwd) + b"\0" + os.fsencode(pid_path)
                self._words.send(data[:_LONGEST_ROW], _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
            except OSError:
                return

    def fileno(self) -> int:
        return self._rows_end

    def read(self) -> None:
        """Takes the rows that have come."""
        try:
            data = os.read(self._rows_end, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            os.close(self._rows_end)
            self._rows_end = -1
            return
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            self._take(line)

    def _take(self, line: bytes) -> None:
        import json

        item = json.loads(line)  # written by our own process
        if "costs" in item:
            self.costs = item["costs"]
        elif len(self.rows) < MOST_ROWS:
            self.rows.append(item)

    def stop(self) -> None:
        """Takes the last rows, and ends the observer where it does not end by itself. Safe to call twice."""
        until = time.monotonic() + _ENDING
        while self._rows_end >= 0 and time.monotonic() < until:
            ready = select.select([self._rows_end], [], [], max(0.0, until - time.monotonic()))[0]
            if ready:
                self.read()
        if self._pid:
            os.kill(self._pid, _signal.SIGKILL)
            # one that hangs in a system call cannot be waited for; it ends with the call, and init reaps it
            while os.waitpid(self._pid, os.WNOHANG)[0] == 0 and time.monotonic() < until + _ENDING:
                time.sleep(0.002)
            self._pid = 0
        for fd in (self._rows_end, *([self._words.detach()] if self._words else [])):
            if fd >= 0:
                os.close(fd)
        self._rows_end, self._words = -1, None


def _become(
    listener: int, rows: int, words: int, profile: dict[str, Any], identity: Identity | None, *, once: bool
) -> NoReturn:
    try:
        for number in range(1, _signal.NSIG):
            if number not in (_signal.SIGKILL, _signal.SIGSTOP):
                try:
                    _signal.signal(number, _signal.SIG_IGN)
                except (OSError, ValueError):  # numbers of the C library
                    continue
        _signal.set_wakeup_fd(-1)
        listener, rows, words = _keep_only(listener, rows, words)
        if identity:
            os.setgroups(identity.groups)
            os.setresgid(identity.gid, identity.gid, identity.gid)
            os.setresuid(identity.uid, identity.uid, identity.uid)
        libc.prctl(PR_SET_NO_NEW_PRIVS, 1)
        libc.prctl(PR_SET_DUMPABLE, 0)
        libc.prctl(PR_SET_PDEATHSIG, _signal.SIGKILL)
        _Loop(listener, rows, words, profile, once=once).run()
    finally:
        os._exit(0)


def _keep_only(*wanted: int) -> list[int]:
    """The three descriptors at 3, 4, 5 and nothing else: the channel to pid 1 is the supervisor's lifeline."""
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64) for fd in wanted]
    kept = list(range(3, 3 + len(high)))
    for fd, number in zip(high, kept, strict=True):
        os.dup2(fd, number, inheritable=False)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for number in range(3):  # the caller's pipes must not stay open through us
        os.dup2(null, number)
    libc.close_range(3 + len(high), (1 << 32) - 1)
    return kept


class _Loop:
    """The observer's own process."""

    def __init__(self, listener: int, rows: int, words: int, profile: dict[str, Any], *, once: bool) -> None:
        from launcher.enforce.namespace.hostview import HostView
        from launcher.enforce.namespace.observed import Judge

        self._listener = listener
        self._rows = rows
        self._words = words
        self._once = once
        self._first = True
        self._root = -1
        self._known: set[int] = set()
        self._said: set[int] = set()
        self._costs = {"calls": 0, "names": 0, "microseconds": 0, "rows": 0, "dropped": 0}
        self._judge: Judge = Judge(profile, HostView(), self._in_view, execs=not once)

    def run(self) -> None:
        """Until no process of the job is left."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(self._words, select.POLLIN)
        while True:
            for fd, events in poll.poll():
                if fd == self._listener and events & select.POLLIN:
                    self._one()
                elif fd == self._words and events & select.POLLIN:
                    self._told()
                elif fd == self._words:
                    poll.unregister(self._words)
                else:  # POLLHUP: the last process with the filter has ended
                    while select.select([self._words], [], [], 0)[0] and self._told():
                        pass
                    self._write({"costs": self._costs})
                    return

    def _one(self) -> None:
        began = time.perf_counter_ns()
        data = bytearray(SIZEOF_SECCOMP_NOTIF)
        try:
            fcntl.ioctl(self._listener, SECCOMP_IOCTL_NOTIF_RECV, data)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):  # its process was killed meanwhile
                return
            raise
        from launcher.kernel.pathcalls import BY_NUMBER, EXEC_NUMBERS, Notification

        note = Notification(data)
        refused = self._once and note.number in EXEC_NUMBERS and not self._first
        ours = self._first and note.number in EXEC_NUMBERS
        try:
            if not ours:
                self._consider(note, BY_NUMBER[note.number])
        except (OSError, KeyError, ValueError):
            pass  # it is gone, or its memory is not to be read: nothing is observed
        if ours:
            self._first = False
        self._answer(note, errno.ENOSYS if refused else _GO_ON)
        self._costs["calls"] += 1
        self._costs["microseconds"] += (time.perf_counter_ns() - began) // 1000

    def _answer(self, note: Notification, error: int) -> None:
        answer = bytearray(SIZEOF_SECCOMP_NOTIF_RESP)
        answer[0:8] = note.id
        if error:
            answer[16:20] = (-error).to_bytes(4, "little", signed=True)
        else:
            answer[20:24] = SECCOMP_USER_NOTIF_FLAG_CONTINUE.to_bytes(4, "little")
        try:
            fcntl.ioctl(self._listener, SECCOMP_IOCTL_NOTIF_SEND, answer)
        except OSError:  # ENOENT: killed while it was looked at
            return

    def _consider(self, note: Notification, call: Call) -> None:
        from launcher.kernel import pathcalls

        flags = call.implied if call.flags < 0 else note.arguments[call.flags] & 0xFFFFFFFF
        for directory, position, want in call.names:
            address = note.arguments[position]
            if want == pathcalls.CONNECT:
                name = pathcalls.read_socket_path(note.pid, address, note.arguments[2])
            else:
                name = pathcalls.read_path(note.pid, address)
            if not name:
                continue
            path = os.fsdecode(name)
            if not path.startswith("/"):
                at = pathcalls.AT_FDCWD if directory is None else note.arguments[directory] & 0xFFFFFFFF
                path = f"{_directory(note.pid, at)}/{path}"
            if self._root < 0:
                self._root = os.open(f"/proc/{note.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            # the process may be gone and its number another's: what was read is then thrown away
            fcntl.ioctl(self._listener, SECCOMP_IOCTL_NOTIF_ID_VALID, note.id)
            self._judged(want, os.path.normpath(path), flags)

    def _judged(self, want: str, path: str, flags: int) -> None:
        key = hash((want, path, flags))
        if key in self._known:
            return
        if len(self._known) >= _MOST_KNOWN:
            self._known.clear()
        self._known.add(key)
        self._costs["names"] += 1
        for row in self._judge.rows(want, path, flags):
            said = hash((row["capability"], row["operation"], row["resource"]))
            if said in self._said:
                continue
            if self._costs["rows"] >= MOST_ROWS:
                self._costs["dropped"] += 1
                continue
            self._said.add(said)
            self._costs["rows"] += 1
            self._write(row)

    def _told(self) -> bool:
        """One exec that pid 1 saw; false at the end."""
        data = os.read(self._words, _LONGEST_ROW)
        if data:
            cwd, _, path = data.partition(b"\0")
            self._judged("exec", os.path.normpath(os.path.join(os.fsdecode(cwd), os.fsdecode(path))), 0)
        return bool(data)

    def _write(self, row: dict[str, Any]) -> None:
        import json

        line = json.dumps(row).encode() + b"\n"
        while line:
            line = line[os.write(self._rows, line) :]

    def _in_view(self, path: str) -> InView:
        from launcher.enforce.namespace.observed import InView

        if self._root < 0:
            return InView(present=True)
        try:
            # a link out of the view stays in it, as it does for the job
            fd = libc.openat2(self._root, path, os.O_PATH, 0, RESOLVE_IN_ROOT)
        except OSError as error:
            return InView(present=error.errno not in (errno.ENOENT, errno.ENOTDIR))
        try:
            import stat

            found = os.fstat(fd)
            writable = not os.fstatvfs(fd).f_flag & _ST_RDONLY
            return InView(present=True, is_directory=stat.S_ISDIR(found.st_mode), writable=writable)
        finally:
            os.close(fd)


def _directory(pid: int, fd: int) -> str:
    from launcher.kernel.pathcalls import AT_FDCWD

    return os.readlink(f"/proc/{pid}/cwd" if fd == AT_FDCWD else f"/proc/{pid}/fd/{fd}")
