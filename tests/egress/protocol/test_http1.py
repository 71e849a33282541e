"""launcher.egress.protocol.http1 and body: laws over arbitrary bytes, and what must be refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.egress.protocol import body
from launcher.egress.protocol.http1 import (
    CHUNKED,
    UNTIL_CLOSE,
    Field,
    HeadReader,
    check_request_start,
    parse_request,
    parse_response,
    write_request,
    write_response,
)
from launcher.egress.protocol.malformed import Malformed
from tests.egress.fuzzing import cuts, fuzz, mutated, outcome

TOKEN = st.text("abcdefXYZ-_09", min_size=1, max_size=8)
VALUE = st.text("abc =,;/\u00e9\t0", max_size=12)
HEADS = st.builds(
    lambda method, target, version, fields: (
        f"{method} {target} HTTP/1.{version}\r\nHost: api.example.com\r\n"
        + "".join(f"{name}: {value}\r\n" for name, value in fields)
        + "\r\n"
    ).encode("latin-1"),
    st.sampled_from(["GET", "POST", "CONNECT", "OPTIONS"]),
    st.sampled_from(["/", "/v1/x?y", "http://api.example.com/x", "*", "api.example.com:443"]),
    st.sampled_from("01"),
    st.lists(
        st.one_of(
            st.tuples(TOKEN, VALUE),
            st.tuples(st.sampled_from(["Content-Length"]), st.sampled_from(["0", "5", "+5", "5, 5", " 5 ", "9" * 30])),
            st.tuples(st.sampled_from(["Transfer-Encoding"]), st.sampled_from(["chunked", "Chunked", "gzip, chunked"])),
            st.tuples(st.sampled_from(["Connection"]), st.sampled_from(["close", "keep-alive", "x, y", "Upgrade"])),
            st.tuples(st.sampled_from(["Upgrade"]), st.sampled_from(["websocket"])),
        ),
        max_size=4,
    ),
)


def read(pieces: list[bytes]) -> object:
    reader = HeadReader(check_request_start)
    for piece in pieces:
        head = reader.feed(piece)
        if head is not None:
            return parse_request(head)
    return None


@fuzz
@given(st.one_of(st.binary(max_size=300), mutated(HEADS)), st.lists(st.integers(0, 4000), max_size=4))
def test_any_bytes_are_a_request_or_refused_however_they_are_cut(data: bytes, at: list[int]) -> None:
    whole = outcome(lambda: read([data]), Malformed)
    cut = outcome(lambda: read(cuts(data, at)), Malformed)
    # A refusal may come earlier and name another fault of the same bytes; a verdict must not turn into another.
    assert isinstance(cut, tuple) == isinstance(whole, tuple)
    if not isinstance(whole, tuple):
        assert cut == whole


@fuzz
@given(mutated(HEADS))
def test_what_is_forwarded_is_read_as_what_was_judged(data: bytes) -> None:
    request = outcome(lambda: read([data]), Malformed)
    if request is None or isinstance(request, tuple):
        return
    head = write_request(request, b"/x", b"api.example.com", drop=frozenset(), add=())  # type: ignore[arg-type]
    assert head.count(b"\r\n\r\n") == 1 and head.endswith(b"\r\n\r\n")
    again = parse_request(head[:-2])
    assert again.length == request.length  # type: ignore[attr-defined]
    assert again.values(b"host") == [b"api.example.com"]
    assert not {f.key for f in again.fields} & {b"proxy-authorization", b"te", b"keep-alive"}
    assert len(again.values(b"content-length")) + len(again.values(b"transfer-encoding")) <= 1


@fuzz
@given(st.binary(max_size=200), st.sampled_from([b"GET", b"HEAD"]))
def test_any_bytes_are_a_response_or_502(data: bytes, method: bytes) -> None:
    try:
        response = parse_response(data + b"\r\n", method)
    except Malformed as error:
        assert error.status == 502
    else:
        assert b"\r\n\r\n" in write_response(response, keep_alive=False)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "duplicate Host"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad field name"),
        (b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", "obs-fold"),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", "bad request line"),
        (b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n", "bad request line"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "HTTP version not supported"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", "control character"),
        (b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "bad request line"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4, 4\r\n\r\n", "invalid Content-Length"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\n", "two Content-Length fields"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", "transfer coding other than chunked"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "transfer coding",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nConnection: authorization\r\n\r\n", "end-to-end"),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", "reflects"),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 201 + b"\r\n", "too many fields"),
    ],
)
def test_what_two_readers_could_read_in_two_ways_is_refused(head: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        read([head])


def test_hop_by_hop_fields_and_those_named_in_connection_stay_here() -> None:
    data = (
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: x-private, keep-alive\r\nX-Private: 1\r\nKeep-Alive: 5\r\n"
        b"Proxy-Authorization: z\r\nTE: trailers\r\nX-Kept: 1\r\n\r\n"
    )
    request = read([data])
    head = write_request(request, b"/", b"a", drop=frozenset(), add=(Field(b"Authorization", b"s"),))  # type: ignore[arg-type]
    assert head == b"GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\nAuthorization: s\r\n\r\n"


# ---- bodies


@fuzz
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    st.lists(st.integers(0, 900), max_size=6),
    st.binary(max_size=9),
)
def test_chunks_are_read_whole_however_they_are_cut(payloads: list[bytes], at: list[int], rest: bytes) -> None:
    data = b"".join(body.chunk(payload) for payload in payloads) + body.LAST_CHUNK + rest
    reader = body.BodyReader(CHUNKED)
    found = b"".join(reader.feed(piece) for piece in cuts(data, at))
    assert (found, reader.done, reader.rest) == (b"".join(payloads), True, rest)


@fuzz
@given(st.one_of(st.binary(max_size=200), mutated(st.just(b"5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nT: 1\r\n\r\nrest"))))
def test_any_chunked_bytes_are_read_or_refused(data: bytes) -> None:
    reader = body.BodyReader(CHUNKED)
    found = outcome(lambda: reader.feed(data), Malformed)
    assert isinstance(found, (bytes, tuple))


@fuzz
@given(st.binary(max_size=60), st.integers(0, 60), st.lists(st.integers(0, 60), max_size=3))
def test_counted_bodies(data: bytes, length: int, at: list[int]) -> None:
    reader = body.BodyReader(length)
    found = b"".join(reader.feed(piece) for piece in cuts(data, at))
    assert found == data[:length] and reader.rest == data[length:] and reader.done == (len(data) >= length)


def test_until_close_has_no_end_of_its_own() -> None:
    reader = body.BodyReader(UNTIL_CLOSE)
    assert reader.feed(b"abc") == b"abc" and not reader.done


@pytest.mark.parametrize(
    "data",
    [b"5\nhello\r\n", b"0x5\r\n", b"-1\r\n", b" 5\r\n", b"5 \rx\r\n", b"a" * 2000, b"0\r\n" + b"T: x\r\n" * 3000],
)
def test_bad_chunks(data: bytes) -> None:
    with pytest.raises(Malformed):
        body.BodyReader(CHUNKED).feed(data)


def test_only_websocket_is_upgraded_to() -> None:
    for wanted, kept in ((b"websocket", b"websocket"), (b"h2c", b""), (b"h2c, websocket", b""), (b"TLS/1.0", b"")):
        request = read([b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: " + wanted + b"\r\n\r\n"])
        assert request.upgrade == kept  # type: ignore[attr-defined]
        head = write_request(request, b"/", b"a", drop=frozenset(), add=())  # type: ignore[arg-type]
        assert (b"Upgrade" in head) == bool(kept)
