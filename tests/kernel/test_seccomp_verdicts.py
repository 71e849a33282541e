"""Verdict tables of the compiled filter, by interpreting its BPF: every number, and arguments around every rule."""

from __future__ import annotations

import errno
import functools
import json
import random
from typing import Any

import pyseccomp
import pytest

from launcher.kernel import seccomp
from launcher.kernel.seccomp.compiler import ARCHES, _number
from launcher.kernel.seccomp.constants import CONSTANTS, YOUNG_CALLS
from launcher.kernel.seccomp.table import Condition, Row, Table, parse
from launcher.kernel.seccomp.variant import normalised, tokens
from tests.kernel import cbpf

VARIANTS: list[dict[str, Any]] = [
    {},
    {"exec": "refuse", "inet": False},
    {"exec": "once", "unix": True},
    {"exec": "trace", "memfd": True, "live": True},
    {"inet": False, "unix": True, "add": ["+perf", "+ptrace", "+numa", "+xattr", "+openat2", "+watch-reads"]},
]
AUDIT = {"x86_64": cbpf.AUDIT_ARCH_X86_64, "aarch64": cbpf.AUDIT_ARCH_AARCH64}
PADDING = 1 << 32


def table() -> Table:
    with open(f"{seccomp.shipped_tables()}/default.yaml", "rb") as file:
        return parse(file.read(), "default.yaml")


def expected(row: Row, name: str, words: frozenset[str], args: list[int]) -> int:
    """The table's meaning, spelt out: the oracle that the compiled program is held against."""
    ruling, roles = row.ruling_in(words), row.calls[name]
    answers = {"allow": cbpf.ALLOW, "refuse": 0x50000 | errno.EPERM, "notify": cbpf.NOTIFY, "trace": 0x7FF00001}
    answers |= {word: 0x50000 | getattr(errno, word) for word in ("EPERM", "ENOSYS", "EOPNOTSUPP", "EACCES")}
    if None in roles.values():
        return answers[ruling.pointer]

    def holds(condition: Condition) -> bool:
        values = {
            role: args[where.position] if where.position is not None else where.value
            for role, where in roles.items()
            if where
        }
        return all(
            any((values[role] or 0) & mask == value for mask, value in matches) for role, matches in condition.items()
        )

    if any(holds(condition) for condition in ruling.never):
        return answers["refuse"]
    if ruling.verdict == "allow" and ruling.only is not None and not any(holds(item) for item in ruling.only):
        return answers["refuse"]
    return answers[ruling.verdict]


def interesting(row: Row, randomness: random.Random) -> list[list[int]]:
    """Argument vectors around the row's own comparisons, with and without padding in the upper half."""
    values = {0, 1, 0xFFFFFFFF, 2**64 - 1}
    for ruling in (row.ruling, *(ruling for _, ruling in row.variants)):
        for condition in (*(ruling.only or ()), *ruling.never):
            for mask, value in (pair for pairs in condition.values() for pair in pairs):
                values |= {value, value | 1, value ^ (mask & -mask), value ^ mask & 0xFFFFFFFF, value | ~mask & 0xFFFF}
    pool = (
        sorted(values) + [value | PADDING for value in sorted(values)] + [randomness.getrandbits(32) for _ in range(6)]
    )
    return [
        [randomness.choice(pool) for _ in range(6)] for _ in range(60 if row.ruling.only or row.ruling.never else 2)
    ]


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_the_program_means_what_the_table_says(variant: dict[str, Any], machine: str) -> None:
    code = cbpf.load(seccomp.filter_bytes("default", variant, None, machine=machine))
    words, randomness = tokens(normalised(variant)), random.Random(7)
    numbers: set[int] = set()
    for row in table().rows:
        for name in row.calls:
            number = _number(ARCHES[machine], name)
            if number is None:
                continue
            numbers.add(number)
            for args in interesting(row, randomness):
                verdict = cbpf.run(code, number, args, AUDIT[machine])
                assert verdict == expected(row, name, words, args), (name, [hex(arg) for arg in args])
    for number in set(range(600)) - numbers:
        assert cbpf.run(code, number, arch=AUDIT[machine]) == 0x50000 | errno.ENOSYS, number


def test_x32_numbers_are_unknown_and_foreign_architectures_killed() -> None:
    """Attacks 49 and 50."""
    code = cbpf.load(seccomp.filter_bytes("default", {}, None, machine="x86_64"))
    for number in range(600):
        assert cbpf.run(code, number | 0x40000000) == 0x50000 | errno.ENOSYS
        for arch in (cbpf.AUDIT_ARCH_I386, 0x40000028, cbpf.AUDIT_ARCH_AARCH64, 0):
            assert cbpf.run(code, number, arch=arch) == cbpf.KILL_PROCESS
    assert cbpf.run(code, 9999) == cbpf.run(code, -1) == 0x50000 | errno.ENOSYS


@functools.cache
def compiled(variant: str) -> list[tuple[int, int, int, int]]:
    return cbpf.load(seccomp.filter_bytes("default", json.loads(variant), None, machine="x86_64"))


def verdict(name: str, *args: int, **variant: Any) -> str:
    code = compiled(json.dumps(variant))
    number = YOUNG_CALLS.get(name, pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name))
    found = cbpf.run(code, number, args)
    if found in (cbpf.ALLOW, cbpf.NOTIFY):
        return {cbpf.ALLOW: "allow", cbpf.NOTIFY: "notify"}[found]
    number_of_error = cbpf.errno_of(found)
    return errno.errorcode[number_of_error] if number_of_error else hex(found)


C = CONSTANTS
SUID, SGID, CREAT, TMPFILE = 0o4000, 0o2000, 0o100, 0o20000000

BY_HAND: list[tuple[str, tuple[int, ...], str]] = [
    # one row decides every way to make a file (attacks 19, 53)
    ("open", (0, CREAT, 0o644), "allow"), ("open", (0, CREAT, SUID | 0o755), "EPERM"), ("open", (0, 0, SUID), "allow"),
    ("open", (0, TMPFILE, SGID | 0o755), "EPERM"), ("openat", (0, 0, CREAT, SGID), "EPERM"),
    ("openat", (0, 0, CREAT, 0o777), "allow"), ("creat", (0, SUID), "EPERM"), ("creat", (0, 0o666), "allow"),
    ("openat2", (0, 0, 0, 24), "ENOSYS"),
    ("chmod", (0, 0o6755), "EPERM"), ("fchmod", (3, SGID), "EPERM"), ("fchmodat", (3, 0, SUID), "EPERM"),
    ("fchmodat2", (3, 0, SUID, 0), "EPERM"), ("fchmodat2", (3, 0, 0o1777, 0), "allow"), ("mkdir", (0, SGID), "EPERM"),
    ("mkdirat", (3, 0, SGID), "EPERM"), ("mkdir", (0, 0o1777), "allow"),
    ("mknod", (0, 0o020666), "EPERM"), ("mknod", (0, 0o060666), "EPERM"), ("mknod", (0, 0o010666), "allow"),
    ("mknodat", (3, 0, 0o140777), "allow"), ("mknodat", (3, 0, SUID | 0o100755), "EPERM"), ("mknodat", (3, 0, 0o644), "allow"),
    # one row decides every way to start a process (attacks 34, 53)
    ("fork", (), "allow"), ("vfork", (), "allow"), ("clone", (0x11,), "allow"), ("clone3", (0, 88), "ENOSYS"),
    ("clone", (0x3D0F00,), "allow"), ("clone", (C["CLONE_NEWUSER"] | 17,), "EPERM"),
    ("clone", (C["CLONE_NEWUSER"] | PADDING,), "EPERM"), ("clone", (C["CLONE_UNTRACED"] | 17,), "EPERM"),
    ("clone", (0x11 | PADDING,), "allow"), ("clone", (0x8011,), "EPERM"), ("unshare", (C["CLONE_NEWNET"],), "EPERM"), ("unshare", (0x80,), "EPERM"),
    ("unshare", (0x200,), "allow"), ("setns", (3, 0), "EPERM"),
    # terminals, with padding (attacks 52, 90; CVE-2019-10063)
    ("ioctl", (0, 0x5412), "EPERM"), ("ioctl", (0, 0x5412 | PADDING), "EPERM"), ("ioctl", (0, 0x541C | PADDING), "EPERM"),
    ("ioctl", (0, 0x5423), "EPERM"), ("ioctl", (0, 0x4B47), "EPERM"), ("ioctl", (0, 0x4B34), "EPERM"),
    ("ioctl", (0, 0x5606), "EPERM"), ("ioctl", (0, 0x5401), "allow"), ("ioctl", (0, 0x5410), "allow"),
    ("ioctl", (0, 0x40086602), "EPERM"), ("ioctl", (0, 0x401C5820), "EPERM"), ("ioctl", (0, 0x40049409), "allow"),
    # sockets (attack 73)
    ("socket", (2, 1, 0), "allow"), ("socket", (10, 2 | 0o2000000, 17), "allow"), ("socket", (1, 1, 0), "EPERM"),
    ("socket", (1 | PADDING, 1, 0), "EPERM"), ("socket", (40, 1, 0), "EPERM"), ("socket", (40 | PADDING, 1, 0), "EPERM"),
    ("socket", (2, 3, 1), "EPERM"), ("socket", (2, 2, 1), "EPERM"), ("socket", (2, 1, 262), "EPERM"),
    ("socket", (17, 3, 0), "EPERM"), ("socket", (38, 5, 0), "EPERM"), ("socket", (16, 3, 0), "allow"),
    ("socket", (16, 3, 9), "EPERM"), ("socket", (16, 3, 12), "EPERM"), ("socketpair", (1, 1, 0), "allow"),
    ("socketpair", (1, 5 | 0o2004000, 0), "allow"), ("socketpair", (1, 2, 0), "EPERM"), ("socketpair", (30, 1, 0), "EPERM"),
    # the rest of attacks 13, 25, 33, 57, 92, 99
    ("ptrace", (0,), "EPERM"), ("process_vm_writev", (), "EPERM"), ("pidfd_getfd", (), "EPERM"), ("kcmp", (), "EPERM"),
    ("bpf", (), "EPERM"), ("perf_event_open", (), "EPERM"), ("userfaultfd", (), "EPERM"), ("io_uring_setup", (), "EPERM"),
    ("keyctl", (), "EPERM"), ("mount", (), "EPERM"), ("fsopen", (), "EPERM"), ("open_tree_attr", (), "EPERM"),
    ("statmount", (), "ENOSYS"), ("personality", (0,), "allow"), ("personality", (0xFFFFFFFF,), "allow"),
    ("personality", (0x0040000,), "EPERM"), ("personality", (0x0400000,), "EPERM"), ("modify_ldt", (), "EPERM"),
    ("shmat", (1, 0, 0), "allow"), ("shmat", (1, 0, 0o100000), "EPERM"), ("memfd_create", (), "EPERM"),
    ("vmsplice", (1, 0, 1, 8), "EPERM"), ("vmsplice", (1, 0, 1, 0), "allow"), ("mbind", (), "EPERM"),
    ("sched_setscheduler", (0, 1), "EPERM"), ("sched_setscheduler", (0, 3 | 0x40000000), "allow"),
    ("sched_setscheduler", (0, 6 | PADDING), "EPERM"), ("sched_setattr", (), "ENOSYS"), ("ioprio_set", (1, 0, 1 << 13), "EPERM"),
    ("ioprio_set", (1, 0, 3 << 13), "allow"), ("prctl", (15,), "allow"), ("prctl", (35,), "EPERM"),
    ("prctl", (35 | PADDING,), "EPERM"), ("prctl", (15 | PADDING,), "allow"), ("prctl", (47, 2), "EPERM"), ("prctl", (47, 4), "allow"),
    ("prctl", (53,), "EPERM"), ("prctl", (59,), "EPERM"), ("prctl", (62,), "EPERM"), ("clock_settime", (), "EPERM"),
    ("open_by_handle_at", (), "EPERM"), ("fcntl", (3, 1026), "EPERM"), ("fcntl", (3, 1024), "EPERM"), ("fcntl", (3, 1030), "allow"),
    ("fcntl", (3, 4), "allow"), ("fcntl", (3, 1026 | PADDING), "EPERM"), ("setxattr", (), "ENOTSUP"),
    ("setxattrat", (), "ENOTSUP"), ("getxattr", (), "allow"), ("inotify_add_watch", (3, 0, 0x20), "EPERM"),
    ("inotify_add_watch", (3, 0, 0x3C6), "allow"), ("cachestat", (), "ENOSYS"), ("fanotify_init", (), "EPERM"),
    ("prlimit64", (0, 7, 1), "allow"), ("prlimit64", (1, 7, 0), "allow"), ("prlimit64", (1, 7, 1), "EPERM"),
    ("prlimit64", (1, 7, PADDING), "EPERM"), ("seccomp", (1, 0), "allow"), ("seccomp", (1, 8), "EPERM"), ("seccomp", (3, 0), "EPERM"),
    ("execve", (), "allow"), ("execveat", (), "allow"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "wanted"), BY_HAND, ids=[f"{name}{args}" for name, args, _ in BY_HAND])
def test_verdicts_written_by_hand(name: str, args: tuple[int, ...], wanted: str) -> None:
    assert verdict(name, *args) == wanted


@pytest.mark.parametrize(
    ("mode", "wanted"), [("allow", "allow"), ("refuse", "EPERM"), ("once", "notify"), ("trace", "0x7ff00001")]
)
def test_both_execs_have_the_verdict_of_the_mode(mode: str, wanted: str) -> None:
    assert verdict("execve", exec=mode) == verdict("execveat", exec=mode) == wanted


def test_variants_by_hand() -> None:
    assert verdict("socket", 1, 2, 0, unix=True) == "allow"
    assert verdict("socket", 2, 1, 0, inet=False) == "EPERM"
    assert verdict("socketpair", 1, 1, 0, inet=False) == "allow"
    assert verdict("socketpair", 1, 2, 0, inet=False, unix=True) == "allow"
    assert verdict("memfd_create", memfd=True) == "allow"
    assert verdict("memfd_secret", memfd=True) == "EPERM"
    assert verdict("perf_event_open", add=["+perf"]) == "allow"
    assert verdict("setxattr", add=["+xattr"]) == "allow"
    assert verdict("openat2", add=["+openat2"]) == "allow"
    assert verdict("seccomp", 1, 0, exec="trace") == "EPERM"
    assert verdict("prctl", 22, exec="trace") == "EPERM"
    assert verdict("prctl", 22) == verdict("prctl", 47, 1, exec="trace") == "allow"
