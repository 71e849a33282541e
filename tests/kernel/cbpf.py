"""A classic BPF interpreter for seccomp programs: the kernel's semantics in thirty lines, for exhaustive verdict tables."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_AARCH64 = 0xC00000B7
KILL_PROCESS = 0x80000000
ALLOW = 0x7FFF0000
NOTIFY = 0x7FC00000


def errno_of(verdict: int) -> int | None:
    return verdict & 0xFFFF if verdict & 0xFFFF0000 == 0x00050000 else None


def load(program: bytes) -> list[tuple[int, int, int, int]]:
    return list(struct.iter_unpack("=HBBI", program))


def run(code: list[tuple[int, int, int, int]], nr: int, args: Sequence[int] = (), arch: int = AUDIT_ARCH_X86_64) -> int:
    """What the program returns for one call. Any instruction outside the subset raises, as the kernel would refuse it."""
    words = [*args, *[0] * (6 - len(args))]
    data = struct.pack("=IIQ6Q", nr & 0xFFFFFFFF, arch, 0, *[word & 0xFFFFFFFFFFFFFFFF for word in words])
    pc = accumulator = 0
    while True:
        op, jt, jf, k = code[pc]
        pc += 1
        if op == 0x20:  # BPF_LD | BPF_W | BPF_ABS
            assert k % 4 == 0
            accumulator = struct.unpack_from("=I", data, k)[0]
        elif op == 0x54:  # BPF_ALU | BPF_AND | BPF_K
            accumulator &= k
        elif op == 0x05:  # BPF_JMP | BPF_JA
            pc += k
        elif op in (0x15, 0x25, 0x35, 0x45):  # JEQ, JGT, JGE, JSET with K
            taken = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k, 0x45: accumulator & k != 0}[
                op
            ]
            pc += jt if taken else jf
        elif op == 0x06:  # BPF_RET | BPF_K
            return k
        else:
            raise AssertionError(f"instruction {op:#x} is not in the subset")
