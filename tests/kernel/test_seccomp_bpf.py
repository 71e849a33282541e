from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.kernel.seccomp import bpf
from tests.kernel import cbpf

ALLOW_ALL = struct.pack("=HBBI", bpf.RET_K, 0, 0, bpf.RET_ALLOW)


@given(st.sets(st.integers(0, 500), max_size=60), st.integers(0, 0xFFFFFFFF))
def test_gate_lets_exactly_the_known_numbers_through(known: set[int], number: int) -> None:
    code = cbpf.load(bpf.gate(cbpf.AUDIT_ARCH_X86_64, known, 38) + ALLOW_ALL)
    for nr in (number, *list(known)[:5], number & 0x1FF, number & 0x1FF | 0x40000000):
        expected = cbpf.ALLOW if nr in known else 0x00050000 | 38
        assert cbpf.run(code, nr) == expected


@given(st.integers(0, 0xFFFFFFFF))
def test_gate_kills_every_other_architecture(arch: int) -> None:
    code = cbpf.load(bpf.gate(cbpf.AUDIT_ARCH_X86_64, {1, 2}, 38) + ALLOW_ALL)
    expected = cbpf.ALLOW if arch == cbpf.AUDIT_ARCH_X86_64 else cbpf.KILL_PROCESS
    assert cbpf.run(code, 1, arch=arch) == expected


def test_link_asks_the_second_only_where_the_first_allows() -> None:
    refuse_7 = [(0x20, 0, 0, 0), (0x15, 0, 1, 7), (0x06, 0, 0, 0x50001), (0x06, 0, 0, bpf.RET_ALLOW)]
    refuse_9 = [(0x20, 0, 0, 0), (0x15, 0, 1, 9), (0x06, 0, 0, 0x50026), (0x06, 0, 0, bpf.RET_ALLOW)]
    pack = [b"".join(struct.pack("=HBBI", *line) for line in lines) for lines in (refuse_7, refuse_9)]
    code = cbpf.load(bpf.link(*pack))
    assert [cbpf.run(code, nr) for nr in (7, 9, 11)] == [0x50001, 0x50026, bpf.RET_ALLOW]


def test_a_program_that_the_kernel_would_not_take_is_refused() -> None:
    for program in (b"", ALLOW_ALL[:5], ALLOW_ALL * 4097):
        with pytest.raises(ValueError, match="not a BPF program"):
            bpf.checked(program)
