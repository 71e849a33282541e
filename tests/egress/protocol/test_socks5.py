"""launcher.egress.protocol.socks5 and postgres: laws over arbitrary bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.egress.protocol import postgres, socks5
from launcher.egress.protocol.authority import LITERAL, Authority, Host
from launcher.egress.protocol.malformed import Malformed
from tests.egress.fuzzing import cuts, fuzz, mutated, outcome

GOOD = b"\x05\x01\x00\x05\x01\x00\x03\x0fapi.example.com\x01\xbbrest"


def negotiate(pieces: list[bytes]) -> object:
    reader, events = socks5.SocksReader(), []
    for piece in pieces:
        event = reader.feed(piece)
        while event is not None:
            events.append(event)
            if isinstance(event, Authority):
                return events, reader.rest
            event = reader.feed(b"")
    return events


@fuzz
@given(st.one_of(st.binary(max_size=60), mutated(st.just(GOOD))), st.lists(st.integers(0, 60), max_size=5))
def test_any_bytes_give_one_verdict_however_they_are_cut(data: bytes, at: list[int]) -> None:
    whole, cut = outcome(lambda: negotiate([data]), Malformed), outcome(lambda: negotiate(cuts(data, at)), Malformed)
    if isinstance(whole, tuple) and isinstance(whole[0], list):
        assert isinstance(cut, tuple) and cut[0] == whole[0]
    else:
        assert cut == whole


def test_names_and_addresses() -> None:
    assert negotiate([GOOD]) == ([socks5.Greeting(), Authority(Host("api.example.com"), 443)], b"rest")
    v4 = GOOD[:6] + b"\x01\x01\x02\x03\x04\x00\x50"
    assert negotiate([v4]) == ([socks5.Greeting(), Authority(Host("1.2.3.4", LITERAL), 80)], b"")
    mapped = GOOD[:6] + b"\x04" + bytes(10) + b"\xff\xff\x7f\0\0\1\x00\x50"
    assert negotiate([mapped]) == ([socks5.Greeting(), Authority(Host("127.0.0.1", LITERAL), 80)], b"")


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"\x05\x01\x02", socks5.NO_METHOD),
        (b"\x04\x01", b""),
        (GOOD[:4] + b"\x02" + GOOD[5:], socks5.reply(7)),
        (GOOD[:6] + b"\x02" + GOOD[7:], socks5.reply(8)),
        (GOOD.replace(b"api.", b"a\0i."), socks5.reply(2)),
        (GOOD.replace(b"\x01\xbb", b"\0\0"), socks5.reply(2)),
    ],
)
def test_refusals(data: bytes, answer: bytes) -> None:
    with pytest.raises(socks5.Refused) as caught:
        negotiate([data])
    assert caught.value.answer == answer


# ---- PostgreSQL


def startup(*pairs: bytes) -> bytes:
    body = b"\0\3\0\0" + b"".join(piece + b"\0" for piece in pairs) + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def read(pieces: list[bytes]) -> object:
    reader = postgres.StartupReader()
    for piece in pieces:
        event = reader.feed(piece)
        if event is not None:
            return event, reader.packet
    return None


@fuzz
@given(
    st.one_of(st.binary(max_size=80), mutated(st.just(startup(b"user", b"u", b"database", b"d")))),
    st.lists(st.integers(0, 80), max_size=4),
)
def test_start_up_packets_however_they_are_cut(data: bytes, at: list[int]) -> None:
    assert outcome(lambda: read([data]), Malformed) == outcome(lambda: read(cuts(data, at)), Malformed)


def test_database_defaults_to_the_user() -> None:
    assert read([startup(b"user", b"u")]) == (postgres.Startup("u", "u", replication=False), startup(b"user", b"u"))


@pytest.mark.parametrize(
    "data",
    [
        startup(),
        startup(b"user"),
        startup(b"user", b"u", b"user", b"v"),
        startup(b"database", b"d"),
        b"GET / HTTP/1.1\r\n",
        b"\0\0\x27\x11\0\3\0\0",
        struct.pack("!II", 9, 80877103) + b"x",
        struct.pack("!II", 8, 2 << 16),
    ],
)
def test_other_protocols_and_doubtful_packets(data: bytes) -> None:
    with pytest.raises(Malformed):
        read([data])


def test_fatal_holds_no_nul_of_the_message() -> None:
    packet = postgres.fatal("no\0way", "hint")
    assert packet[:1] == b"E" and struct.unpack("!I", packet[1:5])[0] == len(packet) - 1
    assert packet[5:].count(b"\0") == 6 and b"noway" in packet
