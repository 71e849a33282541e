"""The system calls that name a path, for an observer: where their arguments are, and a filter that reports them.

The filter answers them SECCOMP_RET_USER_NOTIF and allows everything else. It stands beside the job's own filter, of
which every refusal is stronger (seccomp(2): ERRNO and KILL come before USER_NOTIF), so it takes nothing away.
"""

from __future__ import annotations

from launcher.kernel import libc
from launcher.kernel.abi import AT_EMPTY_PATH, MACHINE, NR, SIZEOF_SECCOMP_NOTIF

# What a call wants of the name: `look` at it, `open` it as its flags say, `write` it, make it a directory, and so on.
LOOK, OPEN, WRITE, MKDIR, RMDIR, UNLINK, MAKE, CONNECT, EXEC = (
    "look", "open", "write", "mkdir", "rmdir", "unlink", "make", "connect", "exec",
)  # fmt: skip


class Call:
    """`names` are (position of the directory's descriptor or None, position of the path, what is wanted)."""

    __slots__ = ("aarch64", "empty", "flags", "implied", "name", "names", "x86_64")

    def __init__(
        self, name: str, x86_64: int, aarch64: int, *names: tuple[int | None, int, str],
        flags: int = -1, empty: int = -1, implied: int = 0,
    ) -> None:  # fmt: skip
        self.name = name
        self.x86_64 = x86_64
        self.aarch64 = aarch64
        self.names = names
        self.flags = flags  # position of the open flags or of the flags of unlinkat
        self.empty = empty  # position of flags that may hold AT_EMPTY_PATH: fstat(3), which names nothing
        self.implied = implied  # the open flags that the call implies

    @property
    def number(self) -> int:
        """Its number on this machine, -1 where it has none."""
        return int({"x86_64": self.x86_64, "aarch64": self.aarch64}.get(MACHINE, -1))


_O_CREAT_WRONLY_TRUNC = 0o1101
# <asm/unistd_64.h> and <asm-generic/unistd.h>
CALLS = (
    Call("open", 2, -1, (None, 0, OPEN), flags=1),
    Call("openat", 257, 56, (0, 1, OPEN), flags=2),
    Call("creat", 85, -1, (None, 0, OPEN), implied=_O_CREAT_WRONLY_TRUNC),
    Call("stat", 4, -1, (None, 0, LOOK)),
    Call("lstat", 6, -1, (None, 0, LOOK)),
    Call("newfstatat", 262, 79, (0, 1, LOOK), empty=3),
    Call("statx", 332, 291, (0, 1, LOOK), empty=2),
    Call("access", 21, -1, (None, 0, LOOK)),
    Call("faccessat", 269, 48, (0, 1, LOOK)),
    Call("faccessat2", 439, 439, (0, 1, LOOK), empty=3),
    Call("readlink", 89, -1, (None, 0, LOOK)),
    Call("readlinkat", 267, 78, (0, 1, LOOK)),
    Call("statfs", 137, 43, (None, 0, LOOK)),
    Call("chdir", 80, 49, (None, 0, LOOK)),
    Call("truncate", 76, 45, (None, 0, WRITE)),
    Call("mkdir", 83, -1, (None, 0, MKDIR)),
    Call("mkdirat", 258, 34, (0, 1, MKDIR)),
    Call("rmdir", 84, -1, (None, 0, RMDIR)),
    Call("unlink", 87, -1, (None, 0, UNLINK)),
    Call("unlinkat", 263, 35, (0, 1, UNLINK), flags=2),
    Call("rename", 82, -1, (None, 0, UNLINK), (None, 1, MAKE)),
    Call("renameat", 264, 38, (0, 1, UNLINK), (2, 3, MAKE)),
    Call("renameat2", 316, 276, (0, 1, UNLINK), (2, 3, MAKE)),
    Call("link", 86, -1, (None, 0, LOOK), (None, 1, MAKE)),
    Call("linkat", 265, 37, (0, 1, LOOK), (2, 3, MAKE)),
    Call("symlink", 88, -1, (None, 1, MAKE)),
    Call("symlinkat", 266, 36, (1, 2, MAKE)),
    Call("mknod", 133, -1, (None, 0, MAKE)),
    Call("mknodat", 259, 33, (0, 1, MAKE)),
    Call("connect", 42, 203, (None, 1, CONNECT)),
)
EXECS = (Call("execve", 59, 221, (None, 0, EXEC)), Call("execveat", 322, 281, (0, 1, EXEC), empty=4))
BY_NUMBER = {call.number: call for call in (*CALLS, *EXECS) if call.number >= 0}
EXEC_NUMBERS = frozenset(call.number for call in EXECS)

# <linux/bpf_common.h>, <linux/seccomp.h>, <linux/audit.h>
_LD_W_ABS, _JEQ, _JSET, _RET = 0x20, 0x15, 0x45, 0x06
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_NR, _ARCH, _ARGS = 0, 4, 16
_ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
LONGEST_PATH = 4096  # PATH_MAX
_SOCKADDR_UN = 110
_AF_UNIX = 1
_PAGE = 4096
AT_FDCWD = 0xFFFFFF9C  # as the kernel reads an int


def program(*, execs: bool) -> bytes:
    """The observing filter as struct sock_filter; with `execs` it reports execve and execveat, too."""
    lines = [_line(_LD_W_ABS, _ARCH), _line(_JEQ, _ARCHES[MACHINE], 1, 0), _line(_RET, _ALLOW), _line(_LD_W_ABS, _NR)]
    for call in (*CALLS, *(EXECS if execs else ())):
        if call.number < 0:
            continue
        if call.empty >= 0 and call not in EXECS:
            lines += [
                _line(_JEQ, call.number, 0, 4),
                _line(_LD_W_ABS, _ARGS + 8 * call.empty),
                _line(_JSET, AT_EMPTY_PATH, 0, 1),
                _line(_RET, _ALLOW),
                _line(_RET, _NOTIFY),
            ]
        else:
            lines += [_line(_JEQ, call.number, 0, 1), _line(_RET, _NOTIFY)]
    return b"".join([*lines, _line(_RET, _ALLOW)])


def _line(code: int, k: int, yes: int = 0, no: int = 0) -> bytes:
    return code.to_bytes(2, "little") + bytes((yes, no)) + k.to_bytes(4, "little")


class Notification:
    """struct seccomp_notif: `id` to answer to, `pid` in the reader's namespace, the call's number and arguments."""

    __slots__ = ("arguments", "id", "number", "pid")

    def __init__(self, data: bytes | bytearray) -> None:
        self.id = bytes(data[0:8])
        self.pid = int.from_bytes(data[8:12], "little")
        self.number = int.from_bytes(data[16:20], "little", signed=True)
        self.arguments = [int.from_bytes(data[at : at + 8], "little") for at in range(32, SIZEOF_SECCOMP_NOTIF, 8)]


def read_path(pid: int, address: int) -> bytes | None:
    """The text at `address` of process `pid`, at most PATH_MAX bytes; None where it cannot be read or does not end."""
    data = b""
    while len(data) < LONGEST_PATH:
        # up to the end of the page: what follows it may not be mapped
        part = read_memory(pid, address + len(data), _PAGE - (address + len(data)) % _PAGE)
        if not part:
            return None
        end = part.find(b"\0")
        if end >= 0:
            return data + part[:end]
        data += part
    return None


def read_socket_path(pid: int, address: int, length: int) -> bytes | None:
    """The path in a struct sockaddr_un, None for another family, an abstract name or what cannot be read."""
    data = read_memory(pid, address, min(length, _SOCKADDR_UN))
    if len(data) < 3 or int.from_bytes(data[:2], "little") != _AF_UNIX or data[2] == 0:
        return None
    return data[2:].split(b"\0")[0]


def read_memory(pid: int, address: int, length: int) -> bytes:
    """process_vm_readv(2): at most `length` bytes, fewer or none where the memory is not there or not ours to read."""
    kept = bytearray(length)
    area = libc.buffer(kept)
    local = libc.address_of(area).to_bytes(8, "little") + length.to_bytes(8, "little")
    remote = address.to_bytes(8, "little") + length.to_bytes(8, "little")
    got = libc.syscall(NR["process_vm_readv"], pid, local, 1, remote, 1, 0)
    return bytes(kept[: max(got, 0)])
