"""launcher.egress.protocol.authority, addresses and paths: one spelling for each thing."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.capability.hosts import canonical_host
from launcher.egress.protocol import addresses
from launcher.egress.protocol.authority import LITERAL, NAME, NUMERIC, parse_authority, parse_host, parse_port
from launcher.egress.protocol.malformed import Malformed
from launcher.egress.protocol.paths import canonical_path, split_target
from tests.egress.fuzzing import fuzz, mutated, outcome

NAMES = st.lists(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True), min_size=1, max_size=4).map(
    ".".join
)


@fuzz
@given(st.one_of(st.binary(max_size=80), mutated(NAMES.map(str.encode)), mutated(st.just(b"[::ffff:1.2.3.4]:443"))))
def test_any_bytes_are_a_canonical_host_or_refused(raw: bytes) -> None:
    try:
        host = parse_host(raw)
    except Malformed:
        return
    assert re.fullmatch(r"[!-~]+", host.text) and host.text == host.text.lower() and not host.text.endswith(".")
    assert parse_host(host.text.encode()) == host or host.kind == NUMERIC
    if host.kind == NAME:
        # The policy's reading of a host and the proxy's are one.
        assert canonical_host(host.text) == host.text
    if host.kind == LITERAL:
        assert str(ipaddress.ip_address(host.text)) == host.text or "." in host.text


@fuzz
@given(st.one_of(st.binary(max_size=60), mutated(st.just(b"api.example.com:443"))))
def test_an_authority_is_read_back_as_itself(raw: bytes) -> None:
    try:
        found = parse_authority(raw)
    except Malformed:
        return
    if found.host.kind != NUMERIC:
        assert parse_authority(str(found).encode()) == found


@pytest.mark.parametrize(
    "raw",
    [
        b"a:0",
        b"a:65536",
        b"a:0443",
        b"a:+1",
        b"a: 1",
        b"a:1 ",
        b"a:1_0",
        b"a:",
        b":443",
        b"a",
        b"[a]:1",
        b"[::1]x:1",
        b"[::1",
        b"u@a:1",
        b"a b:1",
        b"a\n:1",
        b"a..b:1",
        b"*.a:1",
        b"a%2e:1",
        b"evil.org\0.a:1",
        b"\xd9\xa4:1",
        b"a:\xd9\xa4",
    ],
)
def test_traps(raw: bytes) -> None:
    with pytest.raises(Malformed):
        parse_authority(raw)


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (b"127.1", NUMERIC),
        (b"0x7f.1", NUMERIC),
        (b"2130706433", NUMERIC),
        (b"0177.0.0.1", NUMERIC),
        (b"127.0.0.1.", NUMERIC),
        (b"1.2.3.4", LITERAL),
        (b"::1", LITERAL),
        (b"fe80::1%eth0", NUMERIC),
        (b"1.2.3.4.example", NAME),
        (b"API.Example.", NAME),
    ],
)
def test_kinds(raw: bytes, kind: str) -> None:
    assert parse_host(raw).kind == kind


@fuzz
@given(st.binary(max_size=7))
def test_ports(raw: bytes) -> None:
    port = outcome(lambda: parse_port(raw), Malformed)
    if isinstance(port, int):
        assert str(port).encode() == raw and 0 < port < 65536


# ---- addresses


@fuzz
@given(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)))
def test_public_is_never_more_than_global(packed: bytes) -> None:
    if addresses.classify(packed) == addresses.PUBLIC:
        found = ipaddress.ip_address(addresses.unmapped(packed))
        assert found.is_global and not found.is_multicast, found


@fuzz
@given(
    st.binary(min_size=4, max_size=4),
    st.sampled_from(["::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "::/96", "::ffff:0:0:0/96"]),
)
def test_what_carries_a_private_address_is_not_public(inner: bytes, carrier: str) -> None:
    net = addresses.network(carrier)
    at = net.bits // 8
    packed = (net.packed[:at] + inner + bytes(16))[:16]
    if addresses.classify(inner) != addresses.PUBLIC:
        assert addresses.classify(packed) != addresses.PUBLIC


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", "public"),
        ("2606:4700::1111", "public"),
        ("64:ff9b::808:808", "public"),
        ("64:ff9b::a9fe:a9fe", "embedded v4"),
        ("2002:7f00:1::", "embedded v4"),
        ("::127.0.0.1", "embedded v4"),
        ("fec0::1", "private"),
        ("192.0.0.192", "metadata"),
        ("168.63.129.16", "metadata"),
        ("::ffff:0:127.0.0.1", "embedded v4"),
        ("::ffff:169.254.169.254", "metadata"),
        ("169.254.1.1", "link-local"),
        ("100.64.0.1", "private"),
        ("0.0.0.0", "unspecified"),
        ("255.255.255.255", "reserved"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "embedded v4"),
        ("2606::5efe:10.0.0.1", "embedded v4"),
        ("4000::1", "reserved"),
    ],
)
def test_table(text: str, kind: str) -> None:
    packed = addresses.parse(text)
    assert packed is not None and addresses.classify(packed) == kind


# ---- paths


@fuzz
@given(st.one_of(st.binary(max_size=60), mutated(st.just(b"/v1/users/%41;x=1/.hidden?q=/../"))))
def test_a_path_has_one_reading(raw: bytes) -> None:
    try:
        path, _ = split_target(raw)
        found = canonical_path(path)
    except Malformed:
        return
    assert canonical_path(found.encode()) == found
    decoded = unquote(unquote(found, "latin-1"), "latin-1")
    for segment in decoded.split("/"):
        assert segment.split(";")[0] not in {".", ".."}
    assert "//" not in found.rstrip("/") and "\\" not in decoded and "\0" not in decoded


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"/..",
        b"/a/%2E%2e",
        b"/%252e",
        b"/a//b",
        b"/a\\b",
        b"/a#b",
        b"/\x80",
        b"/ ",
        b"/%0a",
        b"/%",
        b"/..%3b/a",
        b"/%c0%ae%c0%ae/a",
    ],
)
def test_paths_that_servers_read_differently(raw: bytes) -> None:
    with pytest.raises(Malformed):
        canonical_path(split_target(raw)[0])
