"""launcher.egress.protocol.tls, with OpenSSL's own ClientHellos as the oracle."""

from __future__ import annotations

import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.egress.protocol import tls
from launcher.egress.protocol.malformed import Malformed
from tests.egress.fuzzing import cuts, fuzz, mutated, outcome


def openssl_hello(name: str | None, alpn: list[str] | None = None) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


HELLO = openssl_hello("api.example.com", ["h2", "http/1.1"])


def records(handshake: bytes, sizes: list[int]) -> bytes:
    """A handshake message in records of the given sizes, the last one taking the rest."""
    out, at = b"", 0
    for size in [*sizes, len(handshake)]:
        piece = handshake[at : at + size]
        at += size
        if piece:
            out += b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece
    return out


def read(pieces: list[bytes]) -> object:
    reader = tls.HelloReader()
    for piece in pieces:
        hello = reader.feed(piece)
        if hello is not None:
            return hello
    return None


@fuzz
@given(st.lists(st.integers(1, 200), max_size=8), st.lists(st.integers(0, 3000), max_size=8))
def test_openssl_is_read_over_any_records_and_segments(sizes: list[int], at: list[int]) -> None:
    found = read(cuts(records(HELLO[5:], sizes), at))
    assert found == tls.ClientHello("api.example.com", (b"h2", b"http/1.1"), ech=False)


@fuzz
@given(st.one_of(st.binary(max_size=200), mutated(st.just(HELLO))), st.lists(st.integers(0, 3000), max_size=3))
def test_any_bytes_give_one_verdict_however_they_are_cut(data: bytes, at: list[int]) -> None:
    whole, cut = outcome(lambda: read([data]), Malformed), outcome(lambda: read(cuts(data, at)), Malformed)
    if isinstance(whole, tls.ClientHello):
        assert cut == whole
    assert isinstance(whole, tuple) == isinstance(cut, tuple) or isinstance(cut, tls.ClientHello)


def test_without_a_name() -> None:
    assert read([openssl_hello(None)]) == tls.ClientHello(None, (), ech=False)


def test_an_endless_hello_is_refused() -> None:
    start = b"\x16\x03\x01\x40\x00\x01\x00\xff\xff" + bytes(0x4000 - 4)
    with pytest.raises(Malformed, match="too large"):
        read([start] + [b"\x16\x03\x01\x40\x00" + bytes(0x4000)] * 5)


@pytest.mark.parametrize("name", ["1.2.3.4", "a..b", "-a", "a\0b", "", "x" * 64])
def test_a_name_that_is_none(name: str) -> None:
    raw = name.encode()
    entry = b"\0" + len(raw).to_bytes(2, "big") + raw
    extension = len(entry).to_bytes(2, "big") + entry
    body = b"\3\3" + bytes(32) + b"\0" + b"\0\2\x13\1" + b"\1\0"
    extensions = b"\0\0" + len(extension).to_bytes(2, "big") + extension
    body += len(extensions).to_bytes(2, "big") + extensions
    with pytest.raises(Malformed, match="SNI invalid"):
        read([records(b"\1" + len(body).to_bytes(3, "big") + body, [])])


def test_the_alert_is_what_openssl_reads() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="a")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    incoming.write(tls.alert(tls.ACCESS_DENIED))
    with pytest.raises(ssl.SSLError, match=r"(?i)access.denied"):
        client.do_handshake()
