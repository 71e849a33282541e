"""The channel between the supervisor and pid 1: whole messages in order, descriptors with their own."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from launcher.enforce.namespace import channel as channels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.enforce.namespace.channel import Channel

Pair = tuple["Channel", "Channel"]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = channels.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_messages_arrive_whole_and_in_order(pair: Pair) -> None:
    ours, theirs = pair
    ours.send("one", (1, "x\n\0y", b"\xff", None))
    ours.send("two")
    ours.send("three", ("z" * 30_000,))
    assert theirs.receive() == ("one", (1, "x\n\0y", b"\xff", None), [])
    assert theirs.receive() == ("two", (), [])
    assert theirs.receive() == ("three", ("z" * 30_000,), [])


def test_descriptors_belong_to_their_message(pair: Pair) -> None:
    ours, theirs = pair
    reader, writer = os.pipe()
    ours.send("before")
    ours.send("with", (7,), (reader, writer))
    ours.send("after")
    assert theirs.receive() == ("before", (), [])
    kind, values, (other_reader, other_writer) = theirs.receive()
    assert (kind, values) == ("with", (7,))
    assert theirs.receive() == ("after", (), [])
    os.write(other_writer, b"through")
    assert os.read(reader, 100) == b"through"
    for fd in (other_reader, other_writer):
        assert fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC  # never into a job
    for fd in (reader, writer, other_reader, other_writer):
        os.close(fd)


def test_the_end_of_the_other_side_is_an_empty_message() -> None:
    ours, theirs = channels.pair()
    ours.close()
    assert theirs.receive() == ("", (), [])
    theirs.close()


def test_an_end_is_numbered_above_what_jobs_are_handed_and_is_not_inherited(pair: Pair) -> None:
    for end in pair:
        assert end.fileno() >= channels.FIRST_FREE
        assert fcntl.fcntl(end.fileno(), fcntl.F_GETFD) & fcntl.FD_CLOEXEC


def test_the_object_of_the_same_end_is_the_same_end(pair: Pair) -> None:
    """What a network sends through it arrives between the messages, and closing leaves nothing open."""
    ours, theirs = pair
    ours.socket.send(b"raw")
    assert theirs.socket.recv(10) == b"raw"
    ours.send("still")
    assert theirs.receive()[0] == "still"
