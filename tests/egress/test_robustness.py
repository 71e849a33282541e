"""Arbitrary bytes through the whole proxy: no bug of ours shows, nothing ungranted is contacted, and it still serves."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

import pytest

from launcher.egress.server.options import Limits
from tests.egress.fuzzing import EXAMPLES, _edit
from tests.egress.test_cases import bytes_of, load, startup
from tests.egress.world import World, database, grant

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.kernel
NAME = "api.example.com"


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    made = World(
        [grant([NAME], ("http", "https")), grant([f"{NAME}:7000"], ("tcp",)), database(f"postgresql://{NAME}/x")],
        limits=Limits(hello_time=0.5, head_time=0.5, keep_alive=0.5, request_rate=1e6),
    )
    yield made
    made.close()


def inputs(count: int) -> Iterator[tuple[bytes, int]]:
    """Bytes of the cases and a few others, changed at random (the seed is fixed), and where they go."""
    chance = random.Random(20261122)
    cases = [case for case in load() if case.get("request_hex") and case["kind"] != "dns"]
    seeds = [bytes_of(case) for case in cases]
    seeds += [startup(user="u", database="x"), b"GET /chunked HTTP/1.1\r\nHost: api.example.com\r\n\r\n" * 3]
    for _ in range(count):
        edits = [
            (chance.randrange(4000), chance.choice("cidr"), chance.randbytes(chance.randrange(4))) for _ in range(3)
        ]
        yield _edit(chance.choice(seeds), edits[: chance.randrange(4)]), chance.choice((0, 0, 80, 443, 5432, 7000))


def test_any_bytes_on_any_way(world: World) -> None:
    address = world.resolve(NAME)
    since = len(world.collect())
    for data, port in inputs(EXAMPLES * 3):
        conn = world.connect(address, port) if port else world.proxy()
        conn.settimeout(5)
        try:
            conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)
            while conn.recv(65536):
                pass
        except ConnectionError:
            pass
        except OSError as error:
            assert error.errno == 107, error  # ENOTCONN: refused before the half-close
        conn.close()
        world.collect()
    internal = [event for event in world.events(since) if event["detail"]["via"] == "internal"]
    assert not internal, internal[:3]
    assert {record["lookup"] for record in world.records[since:] if "lookup" in record} <= {NAME}
    assert {r["port"] for r in world.records[since:] if "upstream" in r} <= {80, 443, 5432, 7000}
    with world.connect(address, 7000) as conn:
        conn.sendall(b"alive")
        assert conn.recv(5) == b"alive"
