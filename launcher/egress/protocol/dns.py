"""One shape of DNS: a query with one question, and the answers that we give (RFC 1035, 6891 EDNS, 8914 EDE).

An own parser: 4 us against 109 (dnslib) and 227 (dnspython), and a question has no compression pointers to follow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_QUERY = (
    1232  # header, one question and an OPT are far below; the EDNS size that avoids fragments (DNS flag day 2020)
)
TTL = 60  # seconds; the mapping holds as long as the job, but a cache that outlives the job must forget it

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16
TYPE_A, TYPE_PTR, TYPE_AAAA, TYPE_OPT = 1, 12, 28, 41
REFUSED_TYPES = frozenset({251, 252, 253, 254})  # IXFR AXFR MAILB MAILA
CLASS_IN = 1
EDE_OPTION = 15
EDE_BLOCKED = 15  # RFC 8914 section 4.16: a policy of the operator

_LABEL = re.compile(rb"[!-\-/-~]+")  # printable ASCII without the dot: `evil.org\0` in a label is another name


class BadQuery(Exception):  # noqa: N818  it names the input
    """A query that gets an error. `rcode` is the answer, `reason` for the audit, `query` what could be read of it."""

    def __init__(self, rcode: int, reason: str, query: Query | None = None) -> None:
        super().__init__(reason)
        self.rcode = rcode
        self.reason = reason
        self.query = query


@dataclass(frozen=True, slots=True)
class Query:
    """One question. `name` is lower case without the final dot, `question` its bytes as sent (0x20 case kept)."""

    ident: int
    opcode: int
    recursion: bool
    name: str = ""
    kind: int = 0
    question: bytes = b""
    edns: bool = False


def parse_query(packet: bytes) -> Query | None:
    """The query, or None for what must not be answered at all (too short, or itself an answer). Raises BadQuery."""
    if len(packet) < 12 or packet[2] & 0x80:
        return None
    head = Query(packet[0] << 8 | packet[1], packet[2] >> 3 & 15, bool(packet[2] & 1))
    if head.opcode:
        raise BadQuery(NOTIMP, "opcode", head)
    if packet[2] & 0x02 or len(packet) > MAX_QUERY:
        raise BadQuery(FORMERR, "malformed", head)
    counts = tuple(packet[at] << 8 | packet[at + 1] for at in (4, 6, 8, 10))
    if counts[:3] != (1, 0, 0) or counts[3] > 1:
        raise BadQuery(FORMERR, "qdcount" if counts[0] != 1 else "malformed", head)
    return _question(packet, head, additional=counts[3])


def _question(packet: bytes, head: Query, additional: int) -> Query:
    name, end = _name(packet, head)
    if len(packet) < end + 4:
        raise BadQuery(FORMERR, "malformed", head)
    kind = packet[end] << 8 | packet[end + 1]
    klass = packet[end + 2] << 8 | packet[end + 3]
    query = Query(head.ident, 0, head.recursion, name, kind, packet[12 : end + 4], bool(additional))
    if klass != CLASS_IN:
        raise BadQuery(REFUSED, "class", query)
    if kind in REFUSED_TYPES:
        raise BadQuery(REFUSED, "qtype", query)
    _additional(packet[end + 4 :], query)
    return query


def _name(packet: bytes, head: Query) -> tuple[str, int]:
    labels, at = [], 12
    while True:
        length = packet[at] if at < len(packet) else 255
        # 0xc0 is a pointer, 0x40 and 0x80 are reserved: none of them has a place in a first question.
        if length > 63 or at + 1 + length > len(packet) or at - 12 > 254:
            raise BadQuery(FORMERR, "malformed", head)
        at += 1
        if not length:
            break
        label = packet[at : at + length]
        if not _LABEL.fullmatch(label):
            raise BadQuery(FORMERR, "malformed", head)
        labels.append(label.lower())
        at += length
    return b".".join(labels).decode("ascii"), at


def _additional(rest: bytes, query: Query) -> None:
    """Exactly one OPT record of version 0 where one was announced, and nothing behind it."""
    if not query.edns:
        if rest:
            raise BadQuery(FORMERR, "malformed", query)
        return
    if len(rest) < 11 or rest[0] or (rest[1] << 8 | rest[2]) != TYPE_OPT:
        raise BadQuery(FORMERR, "malformed", query)
    if rest[6]:
        raise BadQuery(BADVERS, "badvers", query)
    if len(rest) != 11 + (rest[9] << 8 | rest[10]):
        raise BadQuery(FORMERR, "malformed", query)


def respond(query: Query, rcode: int, records: tuple[bytes, ...] = (), *, blocked: str = "") -> bytes:
    """The answer. `blocked` adds an extended error with that text, but only where the query spoke EDNS (RFC 8914)."""
    flags = 0x8000 | query.opcode << 11 | (0x0100 if query.recursion else 0) | 0x0080 | rcode & 15
    header = b"".join(
        value.to_bytes(2, "big")
        for value in (query.ident, flags, 1 if query.question else 0, len(records), 0, int(query.edns))
    )
    tail = _opt(rcode, blocked) if query.edns else b""
    return header + query.question + b"".join(records) + tail


def _opt(rcode: int, blocked: str) -> bytes:
    text = blocked.encode("ascii", "replace")[:200]
    option = _option(EDE_OPTION, EDE_BLOCKED.to_bytes(2, "big") + text) if blocked else b""
    flags = bytes((rcode >> 4, 0, 0, 0))
    return b"\0" + TYPE_OPT.to_bytes(2, "big") + MAX_QUERY.to_bytes(2, "big") + flags + _sized(option)


def _option(code: int, data: bytes) -> bytes:
    return code.to_bytes(2, "big") + _sized(data)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def record(kind: int, data: bytes) -> bytes:
    """An answer record whose owner is the question's name (a pointer to offset 12)."""
    return b"\xc0\x0c" + kind.to_bytes(2, "big") + b"\0\1" + TTL.to_bytes(4, "big") + _sized(data)


def encode_name(name: str) -> bytes:
    """`a.example` as labels. Names come from our own table, so they are valid."""
    return b"".join(bytes((len(label),)) + label.encode("ascii") for label in name.split(".")) + b"\0"


class StreamReader:
    """DNS over TCP: two bytes of length before each message (RFC 7766)."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole. Raises BadQuery for a length that no query of ours can have."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= 2:
            length = int.from_bytes(self._buffer[:2], "big")
            if not 12 <= length <= MAX_QUERY:
                raise BadQuery(FORMERR, "malformed")
            if len(self._buffer) < 2 + length:
                break
            messages.append(self._buffer[2 : 2 + length])
            self._buffer = self._buffer[2 + length :]
        return messages


def framed(message: bytes) -> bytes:
    """`message` as it goes over TCP."""
    return _sized(message)
