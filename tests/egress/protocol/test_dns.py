"""launcher.egress.protocol.dns: laws over arbitrary packets."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.egress.protocol import dns
from tests.egress.fuzzing import cuts, fuzz, mutated

LABEL = st.text("abcXYZ019-_", min_size=1, max_size=12)


def packet(labels: list[str], kind: int = 1, *, edns: bool = False, ident: int = 7) -> bytes:
    name = b"".join(bytes((len(label),)) + label.encode() for label in labels) + b"\0"
    opt = b"\0\0\x29\x10\0\0\0\0\0\0\0" if edns else b""
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, int(edns)) + name + struct.pack("!HH", kind, 1) + opt


QUERIES = st.builds(
    packet, st.lists(LABEL, min_size=1, max_size=5), st.sampled_from([1, 28, 12, 255, 65]), edns=st.booleans()
)


@fuzz
@given(st.one_of(st.binary(max_size=300), mutated(QUERIES)))
def test_any_packet_is_a_query_or_gets_an_error_or_silence(data: bytes) -> None:
    try:
        query = dns.parse_query(data)
    except dns.BadQuery as bad:
        if bad.query is None:
            return
        query, rcode = bad.query, bad.rcode
    else:
        rcode = dns.NOERROR
    if query is None:
        return
    reply = dns.respond(query, rcode, blocked="x" * 300)
    assert reply[:2] == data[:2] and reply[2] & 0x80 and reply[3] & 15 == rcode & 15
    assert len(reply) <= 512 + 300
    # What is repeated is the question alone, never what followed it.
    assert reply[12:].startswith(query.question) and data[12:].startswith(query.question)


@fuzz
@given(st.lists(LABEL, min_size=1, max_size=5), st.booleans())
def test_a_question_is_read_and_its_case_kept(labels: list[str], edns: bool) -> None:
    query = dns.parse_query(packet(labels, edns=edns))
    assert query is not None
    assert query.name == ".".join(labels).lower() and query.edns == edns
    assert ".".join(labels).replace(".", "").encode() in dns.respond(query, 0).replace(b"\0", b"") or len(labels) > 1


@fuzz
@given(st.lists(QUERIES, min_size=1, max_size=4), st.lists(st.integers(0, 500), max_size=5))
def test_messages_over_tcp_however_they_are_cut(queries: list[bytes], at: list[int]) -> None:
    reader = dns.StreamReader()
    found = [message for piece in cuts(b"".join(map(dns.framed, queries)), at) for message in reader.feed(piece)]
    assert found == queries


def test_extended_error_only_where_the_query_spoke_edns() -> None:
    plain, with_edns = dns.parse_query(packet(["a"])), dns.parse_query(packet(["a"], edns=True))
    assert plain is not None and with_edns is not None
    assert b"why" not in dns.respond(plain, dns.NXDOMAIN, blocked="why")
    assert dns.respond(with_edns, dns.NXDOMAIN, blocked="why").endswith(b"\x00\x0f\x00\x05\x00\x0fwhy")


@pytest.mark.parametrize(
    ("data", "rcode"),
    [
        (packet(["a"])[:4] + b"\0\2" + packet(["a"])[6:], dns.FORMERR),
        (packet(["a"]) + b"x", dns.FORMERR),
        (packet(["a"], edns=True) + b"x", dns.FORMERR),
        (packet(["a"], 252), dns.REFUSED),
        (packet(["a.b"]), dns.FORMERR),
        (packet(["a" * 63] * 4), dns.FORMERR),
    ],
)
def test_refusals(data: bytes, rcode: int) -> None:
    with pytest.raises(dns.BadQuery) as caught:
        dns.parse_query(data)
    assert caught.value.rcode == rcode


def test_answers_and_fragments_get_silence() -> None:
    assert dns.parse_query(b"\0" * 11) is None
    assert dns.parse_query(packet(["a"])[:2] + b"\x81\0" + packet(["a"])[4:]) is None
