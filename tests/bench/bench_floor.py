"""What the mechanisms of a launch cost from Python alone: the floor under `mlsandbox launch -- /bin/true`.

    tests/bench/bench_floor.py [--rounds 31] [--prefix INSTALLED]        (as root)

Takes the mount plan of a launch (`--dry-run --json`) and writes it as a flat list of system calls for a program of
hundred lines that needs no module but `posix` and `_ctypes`: the same namespaces, mounts, masks, second user namespace,
Landlock rules, and filter, in the same three processes. It decides, plans, limits, supervises and records nothing: no
launcher in Python, however little it thought, could cost less. Its filter lets a program be started without the tracer.
"""

from __future__ import annotations

import argparse
import glob
import json
import marshal
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import bench_launch  # type: ignore[import-not-found]  # noqa: E402  beside this file

PROGRAM = r"""
import _ctypes
import marshal
import posix
import sys

class W(_ctypes._SimpleCData):
    _type_ = "P"
class L(_ctypes._SimpleCData):
    _type_ = "l"
class S(_ctypes.CFuncPtr):
    _flags_ = 0x1 | 0x8 | 0x4
    _restype_ = L
    _argtypes_ = (W,) * 7
call = S(_ctypes.dlsym(_ctypes.dlopen(None, 2), "syscall"))
def sc(n, *a):
    r = call(n, *a, *(0,) * (6 - len(a)))
    if r < 0:
        raise OSError(_ctypes.get_errno(), posix.strerror(_ctypes.get_errno()), str((n, a)))
    return r
ops, rules, filt, uid = marshal.loads(posix.read(posix.open(sys.argv[1], 0), 1 << 18))
CL = 0x80000
def wr(p, d):
    fd = posix.open(p, 1 | CL); posix.write(fd, d); posix.close(fd)
def maps():
    sc(157, 4, 1); wr("/proc/self/setgroups", b"deny"); wr("/proc/self/gid_map", b"%d %d 1" % (uid, uid)); wr("/proc/self/uid_map", b"%d %d 1" % (uid, uid)); sc(157, 4, 0)
def fs(kind, settings, attrs):
    fd = sc(430, kind, 1)
    for k, v in settings:
        sc(431, fd, 1, k, v, 0)
    sc(431, fd, 6, 0, 0, 0)
    m = sc(432, fd, 1, attrs)
    posix.close(fd)
    return m
def clone_tree(fd, attrs):
    t = sc(428, fd, b"\0", 1 | CL | 0x8000 | 0x1000)
    sc(442, t, b"\0", 0x8000 | 0x1000, attrs.to_bytes(8, "little") + bytes(8) + (1 << 18).to_bytes(8, "little") + bytes(8), 32)
    return t
def child():
    maps()
    posix.setresgid(uid, uid, uid); posix.setresuid(uid, uid, uid); sc(157, 4, 0)
    root = fs(b"tmpfs\0", ((b"size\0", b"16m\0"), (b"mode\0", b"0755\0")), 6)
    sc(429, root, b"\0", -100, b"/sys\0", 4)
    empty = null = -1
    for op, target, *a in ops:
        if op == "dir": posix.mkdir(target, 0o755, dir_fd=root)
        elif op == "link": posix.symlink(a[0], target, dir_fd=root)
        elif op == "file":
            fd = posix.open(target, 0o101 | CL, 0o644, dir_fd=root); posix.write(fd, a[0]); posix.close(fd)
        else:
            if op == "fs": m = fs(*a)
            elif op == "bind":
                s = posix.open(a[0], 0o10000000 | CL); m = clone_tree(s, a[1]); posix.close(s)
            elif op == "self":
                s = posix.open(target, 0o10000000 | CL, dir_fd=root); m = clone_tree(s, 15); posix.close(s)
            elif op == "null":
                if null < 0: null = posix.open("dev/null", 0o10000000 | CL, dir_fd=root)
                m = clone_tree(null, 11)
            else:
                if empty < 0:
                    m = fs(b"tmpfs\0", ((b"size\0", b"0\0"), (b"mode\0", b"0555\0")), 15); empty = posix.dup(m)
                else: m = clone_tree(empty, 15)
            sc(429, m, b"\0", root, target.encode() + b"\0", 4); posix.close(m)
    sc(442, root, b"\0", 0x1000, (15).to_bytes(8, "little") + bytes(24), 32)
    posix.fchdir(root); sc(155, b".\0", b".\0"); sc(166, b".\0", 2); posix.chdir("/")
    sc(272, 0x10020000); maps()
    sc(272, 0x02000000)
    for c in range(41): sc(157, 24, c)
    sc(126, (0x20080522).to_bytes(8, "little"), bytes(24)); sc(157, 38, 1)
    pid = posix.fork()
    if pid == 0:
        posix.setsid()
        ruleset = sc(444, (65535).to_bytes(8, "little") + bytes(8) + (3).to_bytes(8, "little"), 24, 0)
        for path, rights in rules:
            try: fd = posix.open(path, 0o10000000 | CL)
            except OSError: continue
            sc(445, ruleset, 1, rights.to_bytes(8, "little") + fd.to_bytes(4, "little"), 0); posix.close(fd)
        sc(446, ruleset, 0)
        class B(_ctypes._SimpleCData):
            _type_ = "B"
        class A(_ctypes.Array):
            _type_ = B
            _length_ = 1
        kept = bytearray(filt)
        area = A.from_buffer(kept)
        sc(317, 1, 0, (len(filt) // 8).to_bytes(8, "little") + _ctypes.addressof(area).to_bytes(8, "little"))
        sc(436, 3, 0xFFFFFFFF, 4)
        posix.execve("/usr/bin/true", ["true"], {})
    posix._exit(posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1]))
posix.setegid(uid); posix.seteuid(uid)
pid = call(56, 0x10000000 | 0x20000 | 0x20000000 | 0x8000000 | 0x4000000 | 0x40000000 | 17, 0, 0, 0, 0, 0)
if pid == 0:
    try: child()
    except BaseException as e:
        t = e.__traceback__.tb_next; posix.write(2, repr((e, t.tb_lineno, t.tb_frame.f_locals.get("op"), t.tb_frame.f_locals.get("target"))).encode() + b"\n"); posix._exit(9)
posix.seteuid(0)
posix._exit(posix.waitstatus_to_exitcode(posix.waitpid(pid, 0)[1]))
"""
ATTRIBUTES = {"ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8}
RET_TRACE, RET_ALLOW, ACTION = 0x7FF00000, 0x7FFF0000, 0xFFFF0000
FILE_RIGHTS = 0b1100000000000111
FILTER_HEADER = 150  # launcher/kernel/seccomp/cache.py: two lines of 64 digits below a magic one


class Steps:
    """The steps of a plan in the order of the plan, and the directories and files to make for them."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self._made: set[str] = set()
        self._own: set[str] = set()
        self._host: set[str] = set()

    def add(self, row: dict[str, Any]) -> None:
        target = (row.get("target") or f"/dev/{row['name']}").strip("/")
        parts = target.split("/")[:-1]
        for count in range(1, len(parts) + 1):
            self._make("/".join(parts[:count]), directory=True)
        getattr(self, f"_{row['op'].replace('-', '_')}")(target, row)

    def _make(self, path: str, *, directory: bool) -> None:
        """Makes `path`, unless it is made or the tree of the host that is mounted there has it."""
        inner = max([top for top in self._own | self._host if path.startswith(f"{top}/")], key=len, default="")
        if path in self._made or path in self._own or path in self._host or inner in self._host:
            return
        self._made.add(path)
        self.rows.append(("dir", path) if directory else ("file", path, b""))

    def _mkdir(self, target: str, _row: dict[str, Any]) -> None:
        self._make(target, directory=True)

    def _symlink(self, target: str, row: dict[str, Any]) -> None:
        self.rows.append(("link", target, row["text"]))

    def _write(self, target: str, row: dict[str, Any]) -> None:
        self.rows.append(("file", target, bytes(row["content"])))

    def _mount(self, target: str, row: dict[str, Any]) -> None:
        self._make(target, directory=True)
        settings = tuple((_c(key), _c(value)) for key, value in row["settings"].items() if value)
        self.rows.append(("fs", target, _c(row["fstype"]), settings, _bits(row["options"])))
        (self._own if row["fstype"] == "tmpfs" else self._host).add(target)
        self._made = {path for path in self._made if not path.startswith(f"{target}/")}

    def _bind(self, target: str, row: dict[str, Any]) -> None:
        directory = os.path.isdir(row["source"])
        self._make(target, directory=directory)
        self.rows.append(("bind", target, row["source"], _bits(row["options"])))
        if directory:
            self._host.add(target)

    def _device(self, target: str, _row: dict[str, Any]) -> None:
        self._make(target, directory=False)
        self.rows.append(("bind", target, f"/{target}", _bits(["nosuid", "noexec"])))

    def _mask(self, target: str, _row: dict[str, Any]) -> None:
        if os.path.exists(f"/{target}"):
            self.rows.append(("empty" if os.path.isdir(f"/{target}") else "null", target))

    def _read_only(self, target: str, _row: dict[str, Any]) -> None:
        if os.path.exists(f"/{target}"):
            self.rows.append(("self", target))

    def _seal(self, _target: str, _row: dict[str, Any]) -> None:
        """One call, left out: the program makes no difference between a file system's own and what is above it."""


def _c(text: str) -> bytes:
    return text.encode() + b"\0"


def _bits(options: list[str]) -> int:
    return sum(ATTRIBUTES[option] for option in options)


def _rules(rows: list[Any]) -> list[tuple[str, int]]:
    return [(path, rights if os.path.isdir(path) else rights & FILE_RIGHTS) for path, rights in rows]


def _untraced(program: bytes) -> bytes:
    changed = bytearray(program)
    for at in range(0, len(changed), 8):
        value = int.from_bytes(changed[at + 4 : at + 8], "little")
        if changed[at] == 6 and value & ACTION == RET_TRACE:  # BPF_RET
            changed[at + 4 : at + 8] = RET_ALLOW.to_bytes(4, "little")
    return bytes(changed)


def _prepare(launch: bench_launch.Case, top: str) -> list[str]:
    """Writes the program and its steps; the command that runs it."""
    words = [launch.argv[0], "launch", "--json", "--dry-run", "--", "/bin/true"]
    done = subprocess.run(words, env=launch.environment, cwd=top, check=True, capture_output=True, text=True)
    plan = json.loads(done.stdout)["plan"]
    steps = Steps()
    for row in plan["operations"]:
        steps.add(row)
    with open(glob.glob(f"{launch.environment['MLSANDBOX_ROOT']}/cache/*.bpf")[0], "rb") as file:
        program = _untraced(file.read()[FILTER_HEADER:])
    with open(f"{top}/steps", "wb") as file:
        marshal.dump((steps.rows, _rules(plan["landlock"]), program, UID), file)
    with open(f"{top}/floor.py", "w", encoding="ascii") as file:
        file.write(PROGRAM)
    code = "import py_compile; py_compile.compile('floor.py', 'floor.pyc', optimize=2)"
    subprocess.run([bench_launch.PYTHON, "-I", "-c", code], check=True, cwd=top)
    return [bench_launch.PYTHON, "-IS", f"{top}/floor.pyc", f"{top}/steps"]


UID = 1879048192


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--prefix", help="an installation to measure instead of a new one")
    arguments = parser.parse_args()
    if os.geteuid() != 0:
        raise SystemExit("the floor is that of a launch as root")
    top = tempfile.mkdtemp(prefix="mlsandbox-bench-")
    os.chmod(top, 0o755)
    try:
        prefix = arguments.prefix or bench_launch._install(f"{top}/prefix")
        bwrap, python, launch, *_others = bench_launch._cases(top, prefix)
        bench_launch._warm([launch], top)
        floor = bench_launch.Case("floor", _prepare(launch, top), {}, pwd.getpwuid(0))
        cases = [bwrap, python, floor, launch]
        bench_launch._measure(cases, arguments.rounds, top)
    finally:
        shutil.rmtree(top)
    for case in cases:
        times = f"{case.median(0) / bwrap.median(0):4.1f} times bwrap's"
        cpu = f"{case.median(1) / python.median(1):4.1f} times python's"
        print(f"{case.name:16} wall {case.median(0):6.1f} ms, {times}   CPU {case.median(1):6.1f} ms, {cpu}")
    print(f"load {' '.join([f'{load:.2f}' for load in os.getloadavg()])} on {os.cpu_count()} processors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
