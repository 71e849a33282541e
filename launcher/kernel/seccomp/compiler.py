"""Rules -> BPF, by libseccomp (pyseccomp). Not on the launch path: a launch installs cached bytes.

libseccomp gives no order between two actions for one call, so no call has two in one program. There are two programs:
`never` clauses with the default ALLOW, then the allow list with the default EPERM, linked behind our gate.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from launcher.errors import EnforcementError
from launcher.kernel.seccomp import bpf
from launcher.kernel.seccomp.constants import ERRNOS, YOUNG_CALLS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from launcher.kernel.seccomp.rules import CallRules, Clause

try:
    import pyseccomp
except (ImportError, RuntimeError) as error:  # RuntimeError: the library itself is missing
    raise EnforcementError(
        "load libseccomp for", f"the system call filter ({error})", hint="install libseccomp2 and the package pyseccomp"
    ) from error

ARCHES = {"x86_64": pyseccomp.Arch.X86_64, "aarch64": pyseccomp.Arch.AARCH64}
TRACE_DATA = 1
"""The data of SECCOMP_RET_TRACE for an exec under `exec: trace`."""
_UNKNOWN_NAME = -1  # __NR_SCMP_ERROR; other negative numbers are names of other architectures
_OPTIMIZE_BINARY_TREE = 2
_EPERM = pyseccomp.ERRNO(ERRNOS["EPERM"])


def compile_rules(calls: Iterable[CallRules], machine: str) -> bytes:
    """The filter of `calls` for `machine` ("x86_64", "aarch64"), as an array of struct sock_filter.

    Raises EnforcementError for a machine or a call name that nobody knows: a table with a typing error refuses all.
    """
    if machine not in ARCHES:
        raise EnforcementError("compile", f"a system call filter for {machine}", hint=f"one of {', '.join(ARCHES)}")
    arch = ARCHES[machine]
    present = {call: number for call in calls if (number := _number(arch, call.name)) is not None}
    known = {number for call, number in present.items() if call.verdict != "ENOSYS"}
    refusing, allowing = _filter(arch, pyseccomp.ALLOW), _filter(arch, _EPERM)
    allowing.set_attr(pyseccomp.Attr.CTL_OPTIMIZE, _OPTIMIZE_BINARY_TREE)
    for call, number in present.items():
        _add_call(refusing, allowing, call, _rule_number(arch, call.name, number))
    listed = bpf.link(_exported(refusing), _exported(allowing))
    return bpf.checked(bpf.gate(arch, known, ERRNOS["ENOSYS"]) + listed)


def _number(arch: int, name: str) -> int | None:
    """The number of a call, None where the architecture has no such call (or a cross compile cannot name it)."""
    number = pyseccomp.resolve_syscall(arch, name)
    if number == _UNKNOWN_NAME:
        if name not in YOUNG_CALLS:
            raise EnforcementError("compile", f"the system call {name!r}", hint="no such system call is known")
        return YOUNG_CALLS[name] if arch == pyseccomp.system_arch() else None
    return number if number >= 0 else None


def _rule_number(arch: int, name: str, number: int) -> int:
    """libseccomp takes numbers of the machine it runs on, and translates them by name to the filter's."""
    return number if arch == pyseccomp.system_arch() else pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name)


def _filter(arch: int, default: int) -> pyseccomp.SyscallFilter:
    made = pyseccomp.SyscallFilter(default)
    if arch != pyseccomp.system_arch():
        made.add_arch(arch)
        made.remove_arch(pyseccomp.system_arch())
    made.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    return made


def _add_call(
    refusing: pyseccomp.SyscallFilter, allowing: pyseccomp.SyscallFilter, call: CallRules, number: int
) -> None:
    for clause in call.never:
        refusing.add_rule(_EPERM, number, *_arguments(clause))
    if call.verdict in ("refuse", "ENOSYS"):
        return  # the default of the allow list, and the gate's answer
    action = _action(call.verdict)
    for clause in call.only if call.only is not None else ((),):
        allowing.add_rule(action, number, *_arguments(clause))


def _arguments(clause: Clause) -> list[pyseccomp.Arg]:
    return [pyseccomp.Arg(argument, pyseccomp.MASKED_EQ, mask, value) for argument, mask, value in clause]


def _action(verdict: str) -> int:
    fixed = {"allow": pyseccomp.ALLOW, "notify": pyseccomp.NOTIFY, "trace": pyseccomp.TRACE(TRACE_DATA)}
    return int(fixed[verdict] if verdict in fixed else pyseccomp.ERRNO(ERRNOS[verdict]))


def _exported(made: pyseccomp.SyscallFilter) -> bytes:
    with os.fdopen(os.memfd_create("filter", os.MFD_CLOEXEC), "rb") as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()
