from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.enforce.staging.content import OTHER, PREFIX, SAME, append, compare, copy, partly_written, placeholder

MIB = 1 << 20


def holding(content: bytes) -> int:
    fd = os.memfd_create("x")
    os.write(fd, content)
    return fd


@given(st.binary(max_size=64), st.binary(max_size=64))
def test_compare(new: bytes, old: bytes) -> None:
    wanted = SAME if new == old else PREFIX if new.startswith(old) else OTHER
    left, right = holding(new), holding(old)
    assert compare(left, right) == wanted
    os.close(left)
    os.close(right)


@pytest.mark.parametrize("at", [0, MIB - 1, MIB, 3 * MIB])
def test_compare_sees_one_byte_in_large_files(at: int) -> None:
    content = bytearray(os.urandom(1024)) * (3 * 1024) + b"x"
    old = holding(bytes(content))
    content[at] ^= 1
    assert compare(holding(bytes(content)), old) == OTHER
    assert compare(holding(bytes(content) + b"y"), old) == OTHER


def test_terabytes_of_hole_are_compared_at_once() -> None:
    old, new = os.memfd_create("x"), os.memfd_create("x")
    os.ftruncate(old, 4 << 40)
    os.ftruncate(new, 4 << 40)
    os.pwrite(new, b"more", 4 << 40)
    assert compare(new, old) == PREFIX
    os.pwrite(old, b"same", 2 << 40)
    os.pwrite(new, b"same", 2 << 40)
    assert compare(new, old) == PREFIX
    os.pwrite(new, b"!", 3 << 40)
    assert compare(new, old) == OTHER


def test_copy_and_append(tmp_path: Path) -> None:
    content = os.urandom(2 * MIB + 17)
    source = holding(content)
    target = os.open(tmp_path / "t", os.O_RDWR | os.O_CREAT)
    copy(source, target, MIB)
    append(source, target, MIB, len(content))
    assert (tmp_path / "t").read_bytes() == content


def test_holes_stay_holes(tmp_path: Path) -> None:
    source = os.memfd_create("x")
    os.pwrite(source, b"begin", 0)
    os.pwrite(source, b"end", 1 << 40)
    os.ftruncate(source, 2 << 40)
    target = os.open(tmp_path / "t", os.O_RDWR | os.O_CREAT)
    copy(source, target, 1 << 41)
    append(source, target, (1 << 40) - 1, 1 << 41)
    found = os.fstat(target)
    assert found.st_size == (2 << 40) + (1 << 40) + 1
    assert found.st_blocks * 512 < MIB
    assert os.pread(target, 5, 0) == b"begin"
    assert os.pread(target, 3, 1 << 40) == os.pread(target, 3, (2 << 40) + 1) == b"end"


@given(st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 300))
def test_append_adds_exactly_the_rest(old: bytes, content: bytes, offset: int) -> None:
    offset = min(offset, len(content))
    target, source = holding(old), holding(content)
    append(source, target, offset, len(content))
    assert os.pread(target, 1000, 0) == old + content[offset:]
    os.close(target)
    os.close(source)


@pytest.mark.parametrize("size", [1, 7, 8, 1000, 64 << 10, (64 << 10) + 1, 1_000_000])
def test_placeholders_tell_a_partial_write(size: int) -> None:
    old = os.memfd_create("x")
    placeholder(old, size)
    assert os.fstat(old).st_size == size
    whole = holding(bytes(range(1, 252)) * (size // 251 + 1))
    os.ftruncate(whole, size)
    assert not partly_written(whole, old)
    if size >= 1000:
        partial = os.memfd_create("x")
        copy(old, partial, size)
        os.ftruncate(partial, size)
        if size > 64 << 10:
            partial = os.memfd_create("x")
            os.ftruncate(partial, size)
        os.pwrite(partial, b"new", size // 2)
        assert partly_written(partial, old)
    shortened = os.memfd_create("x")
    assert not partly_written(shortened, old)


def test_a_placeholder_holds_nothing_of_the_file_and_is_never_the_same() -> None:
    first, second = os.memfd_create("x"), os.memfd_create("x")
    placeholder(first, 4096)
    placeholder(second, 4096)
    assert os.pread(first, 4096, 0) != os.pread(second, 4096, 0)
