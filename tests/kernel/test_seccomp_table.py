"""The table language: what it refuses, and that the shipped table is complete."""

from __future__ import annotations

import pyseccomp
import pytest

from launcher.errors import ConfigurationError
from launcher.kernel.seccomp import shipped_tables
from launcher.kernel.seccomp.constants import CONSTANTS, YOUNG_CALLS
from launcher.kernel.seccomp.rules import rules
from launcher.kernel.seccomp.table import Table, parse

HEAD = b"schema: mlsandbox.seccomp/1\nadditions: {perf: counters}\nconflicts: [[+perf, live]]\n"


def shipped() -> Table:
    with open(f"{shipped_tables()}/default.yaml", "rb") as file:
        return parse(file.read(), "default.yaml")


def with_row(row: str) -> Table:
    return parse(HEAD + b"groups: [{group: G, rows: [" + row.encode() + b"]}]\n", "t.yaml")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{op: a, calls: [read], verdikt: refuse}", "unknown key 'verdikt'"),
        ("{op: a, calls: [read], verdict: deny}", "unknown verdict 'deny'"),
        ("{op: a, calls: {open: {mode: 6}}}", "an argument is 0 to 5"),
        ("{op: a, calls: {open: {mode: 1}}, only: [{flags: lacks O_CREAT}]}", "no argument 'flags'"),
        ("{op: a, calls: {open: {mode: 1}}, only: [{mode: lacks S_ISVTXX}]}", "unknown constant"),
        ("{op: a, calls: {open: {mode: 1}}, only: [{mode: without S_ISUID}]}", "a condition is"),
        ("{op: a, calls: {open: {mode: 1}}, only: [{mode: {mask: S_IFMT, is: [S_ISUID]}}]}", "outside the mask"),
        ("{op: a, calls: [read], in: {liv: {verdict: refuse}}}", "unknown variant 'liv'"),
        ("{op: a, calls: [read]}, {op: b, calls: [read]}", "two rows decide the system call 'read'"),
        ("{op: a, calls: [read]}, {op: a, calls: [write]}", "two rows decide the operation"),
    ],
)
def test_nothing_misspelt_is_taken(row: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        with_row(row)
    assert caught.value.place == "t.yaml"


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"schema: other/1\ngroups: []", b"\x00", b"a: b: c", b"schema: mlsandbox.seccomp/1"]
)
def test_what_is_no_table_is_an_error_with_its_place(text: bytes) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "t.yaml")
    assert caught.value.place == "t.yaml"


def test_contradictions_and_unknown_additions_are_refused() -> None:
    table = with_row("{op: a, calls: [read]}")
    with pytest.raises(ConfigurationError, match="contradict"):
        rules(table, frozenset({"+perf", "live"}))
    with pytest.raises(ConfigurationError, match=r"unknown system call addition '\+pref'"):
        rules(table, frozenset({"+pref"}))


@pytest.mark.parametrize("arch", [pyseccomp.Arch.X86_64, pyseccomp.Arch.AARCH64])
def test_every_call_that_libseccomp_knows_has_its_row(arch: int) -> None:
    named = {name for row in shipped().rows for name in row.calls}
    known = set()
    for number in range(1024):
        try:
            known.add(pyseccomp.resolve_syscall(arch, number).decode())
        except ValueError:
            continue
    assert len(known) > 300
    assert known - named == set()


def test_every_young_call_has_its_row() -> None:
    assert set(YOUNG_CALLS) - {name for row in shipped().rows for name in row.calls} == set()


def test_young_numbers_agree_with_libseccomp_where_it_knows_them() -> None:
    for name, number in YOUNG_CALLS.items():
        assert pyseccomp.resolve_syscall(pyseccomp.Arch.X86_64, name) in (number, -1), name


def test_constants_agree_with_python_where_it_has_them() -> None:
    import fcntl
    import os
    import resource
    import socket
    import stat
    import termios

    modules = (os, stat, fcntl, socket, termios, resource)
    checked = 0
    for name, value in CONSTANTS.items():
        for module in modules:
            if isinstance(getattr(module, name, None), int):
                assert getattr(module, name) == value, name
                checked += 1
    assert checked > 30


def test_conditions_that_say_never_or_always_are_folded() -> None:
    table = with_row("{op: a, calls: {creat: {flags: =O_CREAT, mode: 1}, mkdir: {flags: =0, mode: 1}}, "
                     "never: [{flags: has O_CREAT, mode: has S_ISUID}]}")  # fmt: skip
    creat, mkdir = rules(table, frozenset())
    assert creat.never == (((1, 0o4000, 0o4000),),)
    assert mkdir.never == ()


def test_a_call_with_a_value_behind_a_pointer_is_unknown() -> None:
    table = with_row("{op: a, calls: {openat2: {mode: pointer}}, only: [{mode: lacks S_ISUID}]}")
    assert [call.verdict for call in rules(table, frozenset())] == ["ENOSYS"]
