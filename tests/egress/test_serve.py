"""The proxy as a whole: limits, reload, HTTP as it is really spoken, databases, local services, a corporate proxy."""

from __future__ import annotations

import json
import os
import socket
import ssl
import statistics
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.egress.certificates import CertificateAuthority
from launcher.egress.server.options import Limits
from launcher.egress.topology import PROXY_PORT
from tests.egress.test_cases import bytes_of, connection, denied, exchange, http_verdict, load, read_all, startup
from tests.egress.world import PUBLIC, World, database, grant

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    MakeWorld = Callable[..., World]

pytestmark = pytest.mark.kernel
CASES = {case["id"]: case for case in load()}
HELLO = bytes_of(CASES["E278"])


@pytest.fixture
def make() -> Iterator[MakeWorld]:
    worlds: list[World] = []

    def build(*args: Any, **settings: Any) -> World:
        worlds.append(World(*args, **settings))
        return worlds[-1]

    yield build
    for world in worlds:
        world.close()


WEB = [grant(["api.example.com"], ("http", "https"))]


def get(path: str = "/", host: str = "api.example.com", extra: str = "", version: str = "1.1") -> bytes:
    return f"GET {path} HTTP/{version}\r\nHost: {host}\r\n{extra}\r\n".encode()


# ---- HTTP as it is spoken


def test_one_upstream_connection_for_many_requests(make: MakeWorld) -> None:
    world = make(WEB)
    with connection(world, 80) as conn:
        for number in range(5):
            conn.sendall(get(f"/{number}"))
            assert f"GET /{number} ".encode() in read_all(conn)
    assert sum(r.get("upstream") == "connect" for r in world.collect(0.1)) == 1
    event = world.wait(lambda r: r.get("audit", {}).get("outcome") == "ALLOWED")["audit"]
    assert event["detail"]["address"] == PUBLIC and event["deciders"] == ["policy.yaml:1:1"]
    assert event["operation"] == "http" and event["resource"] == "api.example.com:80"


def test_pipelined_requests_are_answered_in_order(make: MakeWorld) -> None:
    with connection(make(WEB), 80) as conn:
        conn.sendall(get("/one") + get("/two") + get("/three", extra="Connection: close\r\n"))
        answer = read_all(conn)
    # /two is the oddity whose second response is dropped, after which the connection ends.
    assert answer.index(b"GET /one ") < answer.index(b"\r\n\r\nok") and b"evil" not in answer


def test_chunked_and_until_close(make: MakeWorld) -> None:
    world = make(WEB)
    with connection(world, 80) as conn:
        conn.sendall(get("/chunked"))
        answer = read_all(conn)
        assert answer.endswith(b"\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n") or b"b\r\nhello world\r\n" in answer
        conn.sendall(get("/close"))
        assert read_all(conn).endswith(b"until close")


def test_an_old_client_gets_no_chunks(make: MakeWorld) -> None:
    with connection(make(WEB), 80) as conn:
        conn.sendall(get("/chunked", version="1.0"))
        answer = read_all(conn)
    assert answer.endswith(b"\r\n\r\nhello world") and b"chunked" not in answer.lower()


def test_head_has_no_body_and_alt_svc_is_dropped(make: MakeWorld) -> None:
    with connection(make(WEB), 80) as conn:
        conn.sendall(get().replace(b"GET", b"HEAD") + get("/next"))
        answer = read_all(conn)
    assert answer.count(b"HTTP/1.1 200") == 2 and b"alt-svc" not in answer.lower()


def test_a_chunked_upload_arrives_whole(make: MakeWorld) -> None:
    world = make(WEB)
    with connection(world, 80) as conn:
        conn.sendall(b"POST /up HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (b"5;ext=1\r\nhello\r\n", b"6\r\n wor", b"ld\r\n", b"0\r\n\r\n"):
            conn.sendall(piece)
            time.sleep(0.01)
        assert b"POST /up" in read_all(conn)
    seen = world.wait(lambda r: r.get("upstream") == "data")["data"]
    assert "5\r\nhello\r\n" in seen and "ext" not in seen


def test_a_bad_response_of_the_server_is_502(make: MakeWorld) -> None:
    world = make(WEB)
    assert http_verdict(exchange(world, connection(world, 80), get("/bad")))["status"] == 502


def test_a_body_that_breaks_off_is_reset_and_not_answered_twice(make: MakeWorld) -> None:
    world = make(WEB)
    with connection(world, 80) as conn:
        conn.sendall(get("/badchunk"))
        data = b""
        with pytest.raises(ConnectionResetError):
            while piece := conn.recv(4096):
                data += piece
    assert data.count(b"HTTP/1.1") <= 1


def test_a_websocket_becomes_a_tunnel(make: MakeWorld) -> None:
    world = make(WEB)
    with connection(world, 80) as conn:
        conn.sendall(get("/ws", extra="Connection: Upgrade\r\nUpgrade: websocket\r\n"))
        answer = read_all(conn)
        assert answer.startswith(b"HTTP/1.1 101 ") and answer.endswith(b"\r\n\r\nraw bytes")
        conn.sendall(b"frame")
        conn.shutdown(socket.SHUT_WR)
    assert world.wait(lambda r: r.get("data") == "frame")


def test_a_reset_of_the_server_is_a_reset_for_the_client(make: MakeWorld) -> None:
    from tests.egress import upstreams

    def resetting(conn: socket.socket, _seen: Callable[[bytes], None]) -> None:
        conn.recv(10)
        conn.sendall(b"part")
        time.sleep(0.1)
        conn.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")

    upstreams.KINDS["resetting"] = resetting
    world = make([grant(["api.example.com:7005"], ("tcp",))], servers={7005: "resetting"})
    with connection(world, 7005) as conn:
        conn.sendall(b"x")
        assert conn.recv(4) == b"part"
        with pytest.raises(ConnectionResetError):
            conn.recv(1)


def test_response_size_is_limited(make: MakeWorld) -> None:
    world = make(WEB, limits=Limits(response_bytes=100_000))
    assert len(exchange(world, connection(world, 80), get("/big"))) < 400_000
    assert denied(world, 0) == "response too large"


def test_http_without_interception_to_a_tls_port_is_refused(make: MakeWorld) -> None:
    world = make([grant(["api.example.com"], ("https",))])
    assert b" 403 " in exchange(world, connection(world, 443), get())
    assert denied(world, 0) == "scheme mismatch: expected TLS"


# ---- limits


def test_max_requests_is_exact(make: MakeWorld) -> None:
    world = make([grant(["api.example.com"], ("http",), max_requests=3)])
    with connection(world, 80) as conn:
        statuses = []
        for _ in range(4):
            conn.sendall(get())
            statuses.append(http_verdict(read_all(conn))["status"])
    assert statuses == [200, 200, 200, 429]


def test_rate_is_a_bucket(make: MakeWorld) -> None:
    world = make([grant(["api.example.com"], ("http",), rate="2/s")])
    statuses = [http_verdict(exchange(world, connection(world, 80), get()))["status"] for _ in range(4)]
    assert statuses.count(200) in {2, 3} and 429 in statuses


def test_job_quota_over_http_is_exact(make: MakeWorld) -> None:
    world = make(WEB, limits=Limits(job_bytes=200_000))
    exchange(world, connection(world, 80), get("/big"))
    world.collect(0.2)
    totals = world.ask(op="totals")["hosts"]["api.example.com"]
    assert totals["bytes_up"] + totals["bytes_down"] == 200_000


def test_idle_tunnels_are_closed(make: MakeWorld) -> None:
    world = make([grant(["api.example.com:7000"], ("tcp",))], limits=Limits(idle_time=0.3))
    with connection(world, 7000) as conn:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
        conn.settimeout(4)
        assert conn.recv(1) == b""
    assert world.wait(lambda r: r.get("audit", {}).get("outcome") == "ALLOWED")["audit"]["detail"]["reason"] == "idle"


def test_names_under_a_wildcard_are_counted(make: MakeWorld) -> None:
    world = make([grant(["*.example.com"])])
    found = [world.resolve(f"x{number}.example.com") for number in range(260)]
    assert len([name for name in found if name]) == 256 and len(set(found)) == 257
    assert world.resolve("x3.example.com") == found[3], "a known name keeps its address"
    assert world.resolve("a" * 60 + "." + "b" * 50 + ".example.com") == ""


def test_names_under_a_wildcard_are_counted_on_every_way(make: MakeWorld) -> None:
    """CONNECT and SOCKS carry names too, and without the responder."""
    world = make([grant(["*.example.com"])], limits=Limits(request_rate=1e6))
    for number in range(256):
        assert world.resolve(f"x{number}.example.com")
    since = len(world.collect())
    for name in ("one.more.example.com", "a" * 60 + "." + "b" * 50 + ".example.com"):
        answer = exchange(world, world.proxy(), f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\n\r\n".encode())
        assert b" 403 " in answer
    assert not [r for r in world.collect(0.05)[since:] if "lookup" in r]


def test_a_policy_that_changes_while_a_connection_is_dialled_holds_for_it(make: MakeWorld) -> None:
    def slow(_name: str) -> list[str]:
        time.sleep(0.5)
        return [PUBLIC]

    world = make([grant(["api.example.com:7000"], ("tcp",))], options={"lookup": slow})
    with connection(world, 7000) as conn:
        time.sleep(0.1)
        assert world.ask(op="reload", grants=[], denies=[], generation=2)["ok"]
        conn.settimeout(3)
        try:
            conn.sendall(b"hi")
            assert conn.recv(2) == b""
        except ConnectionResetError:
            pass


def test_a_request_of_a_connection_that_is_revoked_while_it_is_dialled_does_not_go_out(make: MakeWorld) -> None:
    """With an injected credential it would take that along."""

    def slow(_name: str) -> list[str]:
        time.sleep(0.5)
        return [PUBLIC]

    world = make(WEB, options={"lookup": slow})
    with connection(world, 80) as conn:
        conn.sendall(get())
        time.sleep(0.1)
        assert world.ask(op="reload", grants=[], denies=[], generation=2)["ok"]
        conn.settimeout(3)
        try:
            assert b" 200 " not in read_all(conn)
        except ConnectionResetError:
            pass
    assert [record for record in world.collect(0.3) if record.get("upstream") == "data"] == []


def test_an_upload_that_is_refused_half_way_leaves_nothing_behind(make: MakeWorld) -> None:
    world = make(WEB)
    for _ in range(3):
        with connection(world, 80) as conn:
            conn.sendall(
                b"POST /up HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloXX"
            )
            assert b" 400 " in read_all(conn)
    with connection(world, 80) as conn:
        conn.sendall(get())
        assert b" 200 " in read_all(conn)


def test_denials_are_rate_limited_with_a_count(make: MakeWorld) -> None:
    world = make(WEB, limits=Limits(dns_rate=100_000))
    for number in range(400):
        world.resolve(f"x{number}.evil.org")
        world.collect()
    world.collect(0.1)
    written = [event for event in world.events() if event["outcome"] == "DENIED"]
    assert len(written) < 300
    time.sleep(0.2)
    world.resolve("one.more.evil.org")
    world.collect(0.1)
    events = [event for event in world.events() if event["outcome"] == "DENIED"]
    dropped = sum(event["detail"].get("dropped", 0) for event in events)
    assert dropped and len(events) + dropped == 401


def test_a_slow_loris_does_not_slow_others(make: MakeWorld) -> None:
    """Here even within one job; another job has another process."""
    world = make(WEB, limits=Limits(head_time=5))
    address = world.resolve("api.example.com")

    def median() -> float:
        times = []
        for _ in range(40):
            started = time.perf_counter()
            exchange_quick(world, address)
            times.append(time.perf_counter() - started)
        return statistics.median(times)

    quiet = median()
    held = [world.connect(address, 80) for _ in range(200)]
    for conn in held:
        conn.sendall(b"GET / HTTP/1.1\r\nX: ")
    busy = median()
    for conn in held:
        conn.close()
    assert busy < quiet * 2 + 0.002


def exchange_quick(world: World, address: str) -> None:
    with world.connect(address, 80) as conn:
        conn.sendall(get(extra="Connection: close\r\n"))
        while conn.recv(65536):
            pass


# ---- reload


def data_of(*grants: Any, generation: int = 2, denies: Any = ()) -> dict[str, Any]:
    return {
        "op": "reload",
        "grants": [g.to_data() for g in grants],
        "denies": [d.to_data() for d in denies],
        "generation": generation,
    }


def test_reload_cuts_what_it_forbids_and_keeps_the_rest(make: MakeWorld) -> None:
    one, two = grant(["one.example.com:7000"], ("tcp",)), grant(["two.example.com:7000"], ("tcp",))
    world = make([one, two])
    first, second = connection(world, 7000, "one.example.com"), connection(world, 7000, "two.example.com")
    for conn in (first, second):
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    assert world.ask(**data_of(two)) == {"ok": True, "generation": 2}
    assert first.recv(1) == b""
    second.sendall(b"still")
    assert second.recv(5) == b"still"
    event = world.wait(lambda r: r.get("audit", {}).get("resource") == "one.example.com:7000")["audit"]
    assert event["detail"]["reason"] == "revoked" and event["detail"]["generation"] == 2
    assert world.resolve("one.example.com") == ""
    first.close()
    second.close()


def test_reload_does_not_refill_a_budget(make: MakeWorld) -> None:
    wanted = grant(["api.example.com"], ("http",), max_requests=1)
    world = make([wanted])
    assert http_verdict(exchange(world, connection(world, 80), get()))["status"] == 200
    assert world.ask(**data_of(wanted))["ok"]
    assert http_verdict(exchange(world, connection(world, 80), get()))["status"] == 429


def test_an_expired_grant_is_cut(make: MakeWorld) -> None:
    world = make([grant(["api.example.com:7000"], ("tcp",), expires_at=int(time.time()) + 2)])
    with connection(world, 7000) as conn:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
        conn.settimeout(5)
        assert conn.recv(1) == b""
    assert world.resolve("api.example.com") == ""


def test_reload_of_something_unreadable_keeps_the_old_rules(make: MakeWorld) -> None:
    world = make(WEB)
    assert not world.ask(op="reload", grants=[{"type": "network"}])["ok"]
    assert not world.ask(**data_of(grant(["foo.localhost"])))["ok"]
    assert http_verdict(exchange(world, connection(world, 80), get()))["status"] == 200


# ---- denies


def test_deny_beats_allow(make: MakeWorld) -> None:
    denies = [grant(["secret.example.com"], ("http", "https", "tcp")), grant(["api.example.com/admin/**"], ("http",))]
    world = make([grant(["*.example.com"], ("http",))], denies)
    assert world.resolve("secret.example.com") == ""
    assert http_verdict(exchange(world, connection(world, 80), get("/ok")))["status"] == 200
    assert http_verdict(exchange(world, connection(world, 80), get("/admin/x")))["reason"] == "denied by a rule"


# ---- other protocols


def test_a_server_that_speaks_first(make: MakeWorld) -> None:
    world = make([grant(["git.example.com:2222"], ("tcp",))])
    with connection(world, 2222, "git.example.com") as conn:
        assert conn.recv(100) == b"SSH-2.0-test\r\n"


def test_sni_counts_on_tcp_too(make: MakeWorld) -> None:
    world = make([grant(["api.example.com:7000"], ("tcp",))])
    with connection(world, 7000) as conn:
        conn.sendall(HELLO)
        assert conn.recv(len(HELLO)) == HELLO
    answer = exchange(world, connection(world, 7000), bytes_of(CASES["E280"]))
    assert answer == bytes.fromhex("15030300020231")
    assert denied(world, 0) == "SNI does not match connection name"


def test_socks_with_names(make: MakeWorld) -> None:
    world = make([grant(["api.example.com:7000"], ("tcp",))])
    with world.proxy() as conn:
        conn.sendall(b"\x05\x01\x00")
        assert conn.recv(2) == b"\x05\x00"
        conn.sendall(b"\x05\x01\x00\x03\x0fapi.example.com" + (7000).to_bytes(2, "big"))
        assert conn.recv(10)[:2] == b"\x05\x00"
        conn.sendall(b"hello")
        assert conn.recv(5) == b"hello"


def test_postgres_of_one_database(make: MakeWorld) -> None:
    world = make([database("postgresql://analytics-db:5432/sales")])
    ssl_request = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
    with connection(world, 5432, "analytics-db") as conn:
        conn.sendall(ssl_request)
        assert conn.recv(1) == b"N", "the packet must stay readable"
        conn.sendall(startup(user="u", database="sales"))
        assert conn.recv(9)[:1] == b"R"
    with connection(world, 5432, "analytics-db") as conn:
        conn.sendall(startup(user="sales"))  # no database: the user's name, as the server reads it
        assert conn.recv(9)[:1] == b"R"
    for bad in (startup(user="u", database="other"), startup(user="u", database="sales", replication="database")):
        assert exchange(world, connection(world, 5432, "analytics-db"), bad)[:1] == b"E"
    doubled = startup(user="u", database="sales")[:-1] + b"database\0other\0\0"
    doubled = len(doubled).to_bytes(4, "big") + doubled[4:]
    assert exchange(world, connection(world, 5432, "analytics-db"), doubled)[:1] == b"E"
    event = world.wait(lambda r: r.get("audit", {}).get("outcome") == "ALLOWED")["audit"]
    assert (event["capability"], event["operation"]) == ("database", "postgresql")


def test_the_proxy_encrypts_towards_a_server_that_can(make: MakeWorld, tmp_path: Path) -> None:
    from tests.egress import upstreams

    certificate, key = CertificateAuthority.create(["*"]).leaf("analytics-db")
    (tmp_path / "server.pem").write_bytes(key + certificate)

    def encrypted(conn: socket.socket, seen: Callable[[bytes], None]) -> None:
        assert conn.recv(8)[4:] == (80877103).to_bytes(4, "big")
        conn.sendall(b"S")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "server.pem")
        with context.wrap_socket(conn, server_side=True) as inner:
            seen(inner.recv(4096))
            inner.sendall(b"R\0\0\0\x08\0\0\0\0")
            seen(inner.recv(4096))
            inner.sendall(b"done")

    upstreams.KINDS["encrypted"] = encrypted
    world = make([database("postgresql://analytics-db:5432/sales")], servers={5432: "encrypted"})
    with connection(world, 5432, "analytics-db") as conn:
        conn.sendall(startup(user="u", database="sales"))
        assert conn.recv(9)[:1] == b"R"
        conn.sendall(b"query")
        assert read_all(conn) == b"done"
    seen = [r["data"] for r in world.collect(0.1) if r.get("upstream") == "data"]
    assert "sales" in seen[0] and seen[1] == "query"


def test_reload_cuts_a_database_session(make: MakeWorld) -> None:
    world = make([database("postgresql://analytics-db:5432/sales")])
    with connection(world, 5432, "analytics-db") as conn:
        conn.sendall(startup(user="u", database="sales"))
        assert conn.recv(15)[:1] == b"R"
        assert world.ask(**data_of(database("postgresql://analytics-db:5432/other")))["ok"]
        assert read_all(conn) == b""


# ---- the host's own services


def test_a_local_service_by_explicit_grant(make: MakeWorld) -> None:
    wanted = grant(["localhost:7000"], ("tcp",), allow_loopback=True)
    world = make([wanted], answers={"localhost": ["127.0.0.1"]})
    with world.connect("127.0.0.1", 7000) as conn:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    assert [r["address"] for r in world.collect(0.1) if r.get("upstream") == "connect"] == ["127.0.0.1"]


def test_a_granted_name_may_not_lead_to_the_host(make: MakeWorld) -> None:
    world = make([grant(["api.example.com:7000"], ("tcp",))], answers={"api.example.com": ["127.0.0.1"]})
    with pytest.raises(OSError), connection(world, 7000) as conn:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    assert denied(world, 0) == "resolved address not allowed: loopback"


@pytest.mark.parametrize(
    "address",
    ["10.1.2.3", "169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00::1", "::ffff:127.0.0.1", "192.0.2.1"],
)
def test_one_bad_address_refuses_the_answer(make: MakeWorld, address: str) -> None:
    world = make(WEB, answers={"api.example.com": [PUBLIC, address]})
    answer = exchange(
        world, world.proxy(), b"CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n"
    )
    assert b" 403 " in answer and b"resolved address not allowed" in answer
    assert not [r for r in world.collect(0.1) if "upstream" in r]


# ---- a corporate proxy, and no nft


def test_through_a_corporate_proxy_policy_first(make: MakeWorld, tmp_path: Any) -> None:
    from tests.egress import upstreams

    def corporate(conn: socket.socket, seen: Callable[[bytes], None]) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += conn.recv(4096)
        seen(head)
        conn.sendall(b"HTTP/1.1 200 OK\r\n\r\nbanner")
        upstreams.echo(conn, lambda _data: None)

    upstreams.KINDS["corporate"] = corporate
    world = make(
        [grant(["api.example.com:7000"], ("tcp",))],
        options={"upstream_proxy": ("10.0.0.9", 3128, "u:p")},
        servers={3128: "corporate"},
    )
    with connection(world, 7000) as conn:
        assert conn.recv(6) == b"banner"
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    head = world.wait(lambda r: r.get("upstream") == "data")["data"]
    assert head.startswith("CONNECT api.example.com:7000 HTTP/1.1\r\n") and "Basic dTpw" in head
    assert not [r for r in world.collect() if "lookup" in r], "the corporate proxy resolves"
    since = len(world.collect())
    assert b" 403 " in exchange(world, world.proxy(), b"CONNECT evil.org:443 HTTP/1.1\r\nHost: evil.org:443\r\n\r\n")
    assert not [r for r in world.collect(0.1)[since:] if "upstream" in r]


def test_without_nft_granted_ports_work_and_others_are_refused_at_once(make: MakeWorld) -> None:
    world = make([*WEB, grant(["api.example.com:7000"], ("tcp",))], redirect=False)
    assert http_verdict(exchange(world, connection(world, 80), get()))["status"] == 200
    with connection(world, 7000) as conn:
        conn.sendall(b"hi")
        assert conn.recv(2) == b"hi"
    assert b" 403 " in exchange(world, world.connect("1.2.3.4", 80), get())
    assert exchange(world, world.connect("2606:4700::1111", 443), HELLO) == bytes.fromhex("15030300020231")
    with world.make_socket() as conn:
        assert conn.connect_ex(("1.2.3.4", 2222)) == 111


def test_a_literal_that_is_granted(make: MakeWorld) -> None:
    world = make([grant([f"{PUBLIC}:7000", "2606:4700::1111"], ("tcp",), ports=[7000])])
    for address in (PUBLIC, "2606:4700::1111"):
        with world.connect(address, 7000) as conn:
            conn.sendall(b"hi")
            assert conn.recv(2) == b"hi"
    assert not [r for r in world.collect(0.05) if "lookup" in r]


def test_the_listener_itself_is_no_way_out(make: MakeWorld) -> None:
    """SO_ORIGINAL_DST of a direct connection is the listener's own address: it must not be dialled."""
    world = make(WEB)
    conn = world.connect("127.0.0.1", 15001)
    assert b" 403 " in exchange(world, conn, get())
    answer = exchange(
        world, world.proxy(), b"CONNECT 127.0.0.1:%d HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % (PROXY_PORT, PROXY_PORT)
    )
    assert b" 403 " in answer
    assert not [r for r in world.collect(0.1) if "upstream" in r]


@pytest.mark.parametrize("server", ["9.9.9.9", "2620:fe::fe", "127.0.0.1", "::1"])
@pytest.mark.parametrize("kind", [socket.SOCK_DGRAM, socket.SOCK_STREAM])
def test_any_name_server_is_ours(make: MakeWorld, server: str, kind: int) -> None:
    world = make(WEB)
    with world.make_socket(socket.AF_INET6 if ":" in server else socket.AF_INET, kind) as asking:
        asking.connect((server, 53))
        packet = bytes_of(CASES["E310"])
        asking.sendall(packet if kind == socket.SOCK_DGRAM else len(packet).to_bytes(2, "big") + packet)
        assert asking.recv(4096).endswith(socket.inet_aton("198.18.0.5"))


def test_totals_are_json(make: MakeWorld) -> None:
    world = make(WEB)
    exchange(world, connection(world, 80), get())
    world.resolve("evil.org")
    totals = world.ask(op="totals")
    assert totals["denied"] == 1 and totals["hosts"]["api.example.com"]["connections"] == 1
    assert json.dumps(totals) and os.getpid()


def _use(world: World, way: str) -> None:
    """One connection of a job, however it goes."""
    name, _, act = way.partition(" ")
    host = {"ok": "api.example.com", "gone": "gone.example.com", "private": "private.example.com"}.get(name, name)
    port = 81 if act.endswith("81") else 443 if "tls" in act else 7000 if "tcp" in act else 80
    if act.startswith("connect"):
        with world.proxy() as conn:
            conn.sendall(f"CONNECT {host}:{port} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            read_all(conn, 0.5)
    elif act.startswith("socks"):
        with world.proxy() as conn:
            conn.sendall(b"\5\1\0\5\1\0\3" + bytes((len(host),)) + host.encode() + port.to_bytes(2, "big"))
            read_all(conn, 0.5)
    elif act.startswith("absolute"):
        with world.proxy() as conn:
            conn.sendall(f"GET http://{host}:{port}/ HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
            read_all(conn, 0.5)
    else:
        with connection(world, port, host) as conn:
            if act.startswith("http"):
                conn.sendall(get("/", f"{host}:{port}"))
            elif act != "silent":
                conn.sendall(b"\x16\3\1\0\5hello" if act.startswith("tls") else b"ping")
            if act != "silent":
                read_all(conn, 0.5)


@pytest.mark.parametrize(
    ("way", "outcome", "reason"),
    [
        ("ok http", "ALLOWED", ""),
        ("ok silent", "ALLOWED", "nothing was sent"),
        ("ok http 81", "ALLOWED", "connection refused"),
        ("gone http", "ALLOWED", "name does not resolve"),
        ("private http", "DENIED", "resolved address not allowed: private"),
        ("ok tls", "DENIED", "not a TLS 1.x ClientHello"),
        ("ok tcp", "ALLOWED", ""),
        ("private tcp", "DENIED", "resolved address not allowed: private"),
        ("ok absolute", "ALLOWED", ""),
        ("gone absolute", "ALLOWED", "name does not resolve"),
        ("ok absolute 81", "ALLOWED", "connection refused"),
        ("evil.example.org absolute", "DENIED", "not in allowlist"),
        ("ok connect 81", "ALLOWED", "connection refused"),
        ("gone connect", "ALLOWED", "name does not resolve"),
        ("private connect", "DENIED", "resolved address not allowed: private"),
        ("gone socks", "ALLOWED", "name does not resolve"),
        ("evil.example.org socks", "DENIED", "not in allowlist"),
    ],
)
def test_every_connection_is_one_event(make: MakeWorld, way: str, outcome: str, reason: str) -> None:
    hosts = ["api.example.com", "gone.example.com", "private.example.com"]
    rules = [
        grant(hosts, ("http", "https"), ports=[80, 81, 443]),
        grant([f"{host}:7000" for host in hosts], ("tcp",)),
    ]
    world = make(rules, answers={"gone.example.com": [], "private.example.com": ["10.0.0.1"]})
    _use(world, way)
    world.wait(lambda record: "audit" in record)
    world.control.close()  # the end writes what is still open
    audits = [record["audit"] for record in world.collect(0.5) if "audit" in record]
    assert [event["outcome"] for event in audits] == [outcome], audits
    assert audits[0]["detail"].get("reason", "") == reason
    assert audits[0]["deciders"] == ([] if reason == "not in allowlist" else audits[0]["deciders"][:1])
    assert {"via", "bytes_up", "bytes_down", "milliseconds", "generation"} <= set(audits[0]["detail"])


def test_nothing_is_left_behind_in_a_tunnel(make: MakeWorld) -> None:
    """A relay may not wait for an edge that has been: urgent data stops a read short, an end comes with the last bytes."""
    world = make(
        [grant(["api.example.com:7000", "api.example.com:2222"], ("tcp",))], servers={7000: "echo", 2222: "farewell"}
    )
    with connection(world, 7000) as conn:
        for size in (1, 10, 65536, 65537, 200_000):
            conn.sendall(b"a" * size)
            left = size
            while left:
                left -= len(conn.recv(min(left, 65536)))
        conn.send(b"12345", socket.MSG_OOB)
        conn.sendall(b"6789")
        got = b""
        while b"6789" not in got:
            got += conn.recv(100)
    for _ in range(20):
        with connection(world, 7000) as conn:
            conn.sendall(b"last")
            conn.shutdown(socket.SHUT_WR)
            assert read_all(conn) == b"lastbye"
    banners = 20
    for number in range(banners):  # what the server said, and its end, may be there before the tunnel is
        with world.proxy() as conn:
            conn.settimeout(5)
            conn.sendall(b"CONNECT api.example.com:2222 HTTP/1.1\r\nHost: api.example.com:2222\r\n\r\n")
            if number % 2:
                conn.sendall(b"ping")
            got = b""
            while piece := _piece(conn):
                got += piece
            assert b"SSH-2.0-test" in got or number % 2
    end = time.monotonic() + 5
    while len(world.events()) < 21 + banners and time.monotonic() < end:
        world.collect(0.05)
    ended = [event["detail"].get("reason", "") for event in world.events() if event["outcome"] == "ALLOWED"]
    assert len(ended) == 21 + banners and set(ended) <= {"", "connection reset by peer", "broken pipe"}, ended


def _piece(conn: socket.socket) -> bytes:
    """Some bytes, empty at the end, however it comes; a timeout is the failure."""
    try:
        return conn.recv(65536)
    except ConnectionError:
        return b""
