"""Classic BPF as far as a seccomp filter needs it: our first block, and linking programs behind one another. Pure.

struct sock_filter {u16 code; u8 jt; u8 jf; u32 k;} and struct seccomp_data {int nr; u32 arch; ...}, <linux/filter.h>.
"""

from __future__ import annotations

import struct

LD_W_ABS = 0x20
JMP_JA = 0x05
JMP_JEQ_K = 0x15
JMP_JGT_K = 0x25
JMP_JGE_K = 0x35
RET_K = 0x06
SIZE = 8
BPF_MAXINSNS = 4096
OFFSET_NR = 0
OFFSET_ARCH = 4

RET_KILL_PROCESS = 0x80000000
RET_ALLOW = 0x7FFF0000
RET_ERRNO = 0x00050000

Instruction = tuple[int, int, int, int]


def gate(arch: int, known: set[int], unknown_errno: int) -> bytes:
    """A block that falls through for the `known` numbers of `arch`.

    Every other number gives `unknown_errno` (so calls of newer kernels are never open, and programs fall back), x32
    numbers too, as they are above all known ones. Another architecture kills: on x86-64 `int 0x80` reaches the i386
    table from the same process, and numbers mean other calls there.
    """
    block: list[Instruction] = [(LD_W_ABS, 0, 0, OFFSET_ARCH), (JMP_JEQ_K, 1, 0, arch), (RET_K, 0, 0, RET_KILL_PROCESS)]
    block.append((LD_W_ABS, 0, 0, OFFSET_NR))
    refused: Instruction = (RET_K, 0, 0, RET_ERRNO | unknown_errno)
    ranges = contiguous(known)
    end = len(block) + 4 * len(ranges) + 1
    for low, high in ranges:
        block += [(JMP_JGE_K, 1, 0, low), refused, (JMP_JGT_K, 1, 0, high)]
        block.append((JMP_JA, 0, 0, end - len(block) - 1))
    block.append(refused)
    return _pack(block)


def contiguous(numbers: set[int]) -> list[tuple[int, int]]:
    """`numbers` as sorted, inclusive ranges."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(numbers):
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ranges


def link(first: bytes, second: bytes) -> bytes:
    """One program: what `first` allows is decided by `second`; every other answer of `first` stands.

    BPF_JA has a 32-bit offset, so the jump reaches any distance that a program may have.
    """
    instructions = list(unpack(first))
    for index, (code, _, _, k) in enumerate(instructions):
        if code == RET_K and k == RET_ALLOW:
            instructions[index] = (JMP_JA, 0, 0, len(instructions) - index - 1)
    return checked(_pack(instructions) + second)


def checked(program: bytes) -> bytes:
    """`program`, if the kernel would take its size. Raises ValueError."""
    if len(program) % SIZE or not 0 < len(program) // SIZE <= BPF_MAXINSNS:
        raise ValueError(f"a filter of {len(program)} bytes is not a BPF program")
    return program


def unpack(program: bytes) -> list[Instruction]:
    return [(code, jt, jf, k) for code, jt, jf, k in struct.iter_unpack("=HBBI", program)]


def _pack(instructions: list[Instruction]) -> bytes:
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in instructions)
