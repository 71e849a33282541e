"""Random rules, compiled by libseccomp, mean what they say: overlapping masks, both halves of a register, both lists."""

from __future__ import annotations

import errno

import pyseccomp
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.kernel.seccomp.compiler import compile_rules
from launcher.kernel.seccomp.rules import CallRules, Clause
from tests.kernel import cbpf

NAMES = ["read", "ioctl", "fcntl", "prctl", "socket", "mremap"]
WORDS = [0, 1, 2, 3, 0x10, 0xFF, 0xFFFFFFFF, 1 << 32, 0xF << 30, (1 << 64) - 1]
values = st.sampled_from(WORDS) | st.integers(0, (1 << 64) - 1)


@st.composite
def clauses(draw: st.DrawFn) -> Clause:
    positions = draw(st.sets(st.integers(0, 5), min_size=1, max_size=3))
    made = []
    for position in sorted(positions):
        mask = draw(values)
        made.append((position, mask, draw(values) & mask))
    return tuple(made)


@st.composite
def call_rules(draw: st.DrawFn) -> list[CallRules]:
    made = []
    for name in draw(st.sets(st.sampled_from(NAMES), min_size=1)):
        never = tuple(draw(st.lists(clauses(), max_size=3)))
        only = draw(st.none() | st.lists(clauses(), min_size=1, max_size=4).map(tuple))
        verdict = draw(
            st.sampled_from(["allow", "allow", "allow", "refuse", "ENOSYS", "EOPNOTSUPP", "notify", "trace"])
        )
        made.append(CallRules(name, verdict, never, only if verdict == "allow" else None))
    return made


def expected(call: CallRules, args: list[int]) -> int:
    def holds(clause: Clause) -> bool:
        return all(args[position] & mask == value for position, mask, value in clause)

    fixed = {"allow": cbpf.ALLOW, "refuse": 0x50000 | errno.EPERM, "notify": cbpf.NOTIFY, "trace": 0x7FF00001}
    if call.verdict == "ENOSYS":
        return 0x50000 | errno.ENOSYS
    if any(holds(clause) for clause in call.never):
        return fixed["refuse"]
    if call.only is not None and not any(holds(clause) for clause in call.only):
        return fixed["refuse"]
    return fixed.get(call.verdict, 0x50000 | errno.EOPNOTSUPP)


def near(calls: list[CallRules], draw: st.DataObject) -> list[int]:
    """Arguments that meet a clause, or miss it by one bit."""
    args = [draw.draw(values) for _ in range(6)]
    every = [clause for call in calls for clause in (*call.never, *(call.only or ()))]
    if every:
        for position, mask, value in draw.draw(st.sampled_from(every)):
            args[position] = (args[position] & ~mask) | value
        if draw.draw(st.booleans()):
            args[draw.draw(st.integers(0, 5))] ^= 1 << draw.draw(st.integers(0, 63))
    return args


@settings(max_examples=60, deadline=None)
@given(call_rules(), st.data())
def test_the_program_means_the_rules(calls: list[CallRules], data: st.DataObject) -> None:
    code = cbpf.load(compile_rules(calls, "x86_64"))
    for _ in range(8):
        args = near(calls, data)
        for call in calls:
            number = pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, call.name)
            assert cbpf.run(code, number, args) == expected(call, args), (call, [hex(arg) for arg in args])
        assert cbpf.run(code, 39, args) == 0x50000 | errno.ENOSYS
