"""The frames of the service: what is one arrives whole with its descriptors, and what is none is refused."""

from __future__ import annotations

import _socket
import os
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.service import wire
from launcher.service.wire import (
    HEADER,
    LONGEST,
    LONGEST_ANSWER,
    MAGIC,
    MOST_DESCRIPTORS,
    ClosedError,
    Connection,
    WireError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


def pair(*, blocking: bool = True) -> tuple[Connection, Connection]:
    one, other = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
    ends = [_socket.socket(fileno=end.detach()) for end in (one, other)]
    for end in ends:
        end.setblocking(blocking)
    made = (Connection(ends[0]), Connection(ends[1]))
    _MADE.extend(made)
    return made


_MADE: list[Connection] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _MADE:
        _MADE.pop().close()


def frame(body: bytes, *, magic: bytes = MAGIC, length: int | None = None, count: int = 0) -> bytes:
    size = len(body) if length is None else length
    return magic + size.to_bytes(4, "little") + count.to_bytes(4, "little") + body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.lists(st.dictionaries(st.text(), json_values, max_size=5), min_size=1, max_size=4))
def test_messages_arrive_in_order_and_unchanged(messages: list[wire.Message]) -> None:
    ours, theirs = pair()
    for message in messages:
        ours.send(message)
    assert [theirs.receive() for _ in messages] == [(message, []) for message in messages]
    ours.close()
    with pytest.raises(ClosedError):
        theirs.receive()
    theirs.close()


def test_descriptors_come_with_their_message() -> None:
    ours, theirs = pair()
    reading, writing = os.pipe()
    ours.send({"n": 1}, [writing])
    ours.send({"n": 2})
    os.close(writing)
    first, second = theirs.receive(), theirs.receive()
    assert first
    assert second == ({"n": 2}, [])
    message, (fd,) = first
    assert message == {"n": 1}
    assert not os.get_inheritable(fd)
    os.write(fd, b"x")
    os.close(fd)
    assert os.read(reading, 2) == b"x"
    assert os.read(reading, 2) == b""
    os.close(reading)


def test_a_message_arrives_in_any_pieces() -> None:
    ours, theirs = pair(blocking=False)
    data = frame(b'{"a":"' + b"x" * 5000 + b'"}') * 3
    whole, rng = [], random.Random(7)
    while data:
        size = rng.randint(1, 900)
        ours.socket.send(data[:size])
        data = data[size:]
        while (received := theirs.receive()) is not None:
            whole.append(received[0]["a"])
    assert whole == ["x" * 5000] * 3


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        frame(b"{}", magic=b"mls2"),
        frame(b"{}", length=LONGEST_ANSWER + 1),
        frame(b"{}", length=0xFFFFFFFF),
        frame(b"", length=0),
        frame(b"{}", count=1),
        frame(b"{}", count=MOST_DESCRIPTORS + 1),
        frame(b"[]"),
        frame(b"{} {}"),
        frame(b'{"a":1,"a":2}'),
        frame(b'{"a":1.5}'),
        frame(b'{"a":NaN}'),
        frame(b'{"a":-Infinity}'),
        frame(b'{"a":' + b"9" * 5000 + b"}"),
        frame(b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        frame(b"[" * 1_000_000),
        frame(b"\xff\xfe"),
        frame(b'{"a":"\x01"}'),
        frame(b"null"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    ours, theirs = pair(blocking=False)
    sent = 0
    with pytest.raises(WireError) as caught:
        while True:
            try:
                sent += ours.socket.send(data[sent : sent + 65536]) if sent < len(data) else 0
            except BlockingIOError:
                pass
            assert theirs.receive() is None
            assert sent < len(data)
    assert not isinstance(caught.value, ClosedError)
    assert len(caught.value.message) < 300


def test_a_frame_that_announces_less_than_came_is_refused_and_keeps_no_descriptor() -> None:
    ours, theirs = pair()
    before = len(os.listdir("/proc/self/fd"))
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, (1).to_bytes(4, "little"))]
    ours.socket.sendmsg([frame(b"{}")], rights)
    with pytest.raises(WireError):
        theirs.receive()
    theirs.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_a_flood_of_descriptors_is_refused() -> None:
    ours, theirs = pair()
    before = len(os.listdir("/proc/self/fd"))
    packed = b"".join([(1).to_bytes(4, "little")] * 200)
    ours.socket.sendmsg([frame(b"{}", count=1)], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)])
    with pytest.raises(WireError, match="descriptors"):
        theirs.receive()
    theirs.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_what_a_slow_reader_has_not_taken_waits_and_is_whole() -> None:
    ours, theirs = pair(blocking=False)
    reading, writing = os.pipe()
    text = "x" * (1 << 20)
    ours.send({"a": text})
    ours.send({"b": text}, [writing])
    os.close(writing)
    assert ours.backlog > 0
    got: list[tuple[wire.Message, list[int]]] = []
    while len(got) < 2:
        ours.flush()
        if (received := theirs.receive()) is not None:
            got.append(received)
    assert got[0] == ({"a": text}, [])
    assert got[1][0] == {"b": text}
    assert len(got[1][1]) == 1
    os.close(got[1][1][0])
    assert os.read(reading, 1) == b""
    os.close(reading)
    assert ours.backlog == 0
    assert HEADER == 12


def test_a_server_takes_shorter_messages_than_it_sends() -> None:
    ours, theirs = pair(blocking=False)
    ours.send({"a": "x" * LONGEST})
    server = Connection(theirs.socket, longest=LONGEST)
    with pytest.raises(WireError, match="at most"):
        server.receive()


def test_a_descriptor_that_could_not_be_sent_is_closed() -> None:
    """A tenant's process asks for a fork server while the service dies, and waits at the other end of what it sent: an
    end that it held itself would let it wait for ever, with the locks of its control groups.
    """
    ours, theirs = pair()
    theirs.close()
    reading, writing = os.pipe()
    with pytest.raises(ClosedError):
        ours.send({"fork_server": True}, [writing])
    os.close(writing)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b"", "somebody still holds the other end"
    os.close(reading)
