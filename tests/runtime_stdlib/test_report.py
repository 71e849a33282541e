"""Reports to the supervisor: whole lines, bounded, and never in the job's way."""

from __future__ import annotations

import json
import os
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.capability.grant import Grant, Place
from launcher.runtime.report import ALLOWED, DENIALS_UP_TO, DENIED, MAX_FILE, MAX_LINE, USES_UP_TO, Reporter


def lines(descriptor: int) -> list[dict[str, object]]:
    os.set_blocking(descriptor, False)
    data = b""
    try:
        while piece := os.read(descriptor, 1 << 16):
            data += piece
    except BlockingIOError:
        pass
    assert data == b"" or data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


def test_a_line_says_what_was_asked_and_who_decided() -> None:
    read, write = os.pipe()
    rule = Grant("file", ("read",), ("/a",), {}, "p", Place("p.yaml", 2, 3))
    Reporter(write).access(DENIED, "file", "read", "a.txt", [rule], {"canonical": "/a.txt"})
    assert lines(read) == [
        {
            "event": "access",
            "outcome": "DENIED",
            "capability": "file",
            "operation": "read",
            "resource": "a.txt",
            "deciders": [{"policy": "p", "place": "p.yaml:2:3"}],
            "detail": {"canonical": "/a.txt"},
        }
    ]


def test_a_full_pipe_drops_at_once_and_tells_how_many() -> None:
    read, write = os.pipe()
    reporter = Reporter(write)
    began = time.monotonic()
    for number in range(5000):
        reporter.access(ALLOWED, "file", "read", f"f{number}" + "x" * 200)
    assert time.monotonic() - began < 5
    dropped = reporter.dropped
    assert dropped > 0
    kept = lines(read)
    assert len(kept) + dropped == 5000
    reporter.access(ALLOWED, "file", "read", "last")
    after = lines(read)
    assert after[0] == {"event": "dropped", "outcome": "", "detail": {"count": dropped}}
    assert after[1]["resource"] == "last"
    assert reporter.dropped == 0


def test_a_memory_file_is_bounded_and_keeps_denials_and_notes() -> None:
    descriptor = os.memfd_create("test")
    reporter = Reporter(descriptor)
    for _ in range(5000):
        reporter.access(ALLOWED, "file", "read", "x" * 200)
    uses = os.fstat(descriptor).st_size
    assert uses <= USES_UP_TO
    for _ in range(5000):
        reporter.access(DENIED, "file", "read", "y" * 200)
    assert uses < os.fstat(descriptor).st_size <= DENIALS_UP_TO
    reporter.note("result", {"json": "1"})
    assert os.fstat(descriptor).st_size <= MAX_FILE
    kept = [json.loads(line) for line in os.pread(descriptor, MAX_FILE, 0).splitlines()]
    lost = sum(item["detail"]["count"] for item in kept if item["event"] == "dropped")
    assert len([item for item in kept if item["event"] == "access"]) + lost == 10000
    assert kept[-1]["event"] == "result"


def test_a_supervisor_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    reporter = Reporter(write)
    os.close(read)
    reporter.access(ALLOWED, "file", "read", "x")
    reporter.note("result", {"text": "y"})
    assert reporter.dropped == 0


def test_nothing_is_reported_without_a_descriptor() -> None:
    Reporter().access(ALLOWED, "file", "read", "x")


def test_children_do_not_get_the_descriptor() -> None:
    _, write = os.pipe()
    os.set_inheritable(write, True)
    Reporter(write)
    assert not os.get_inheritable(write)


@settings(deadline=None)  # the machine may be busy
@given(
    st.text(max_size=3000),
    st.lists(st.text(max_size=1500), max_size=12),
    st.dictionaries(st.text(max_size=20), st.text(max_size=2000)),
)
def test_any_text_gives_one_line_that_fits(resource: str, places: list[str], detail: dict[str, str]) -> None:
    read, write = os.pipe()
    try:
        rules = [Grant("file", ("read",), (), {}, place, Place(place, 1, 1)) for place in places]
        Reporter(write).access(ALLOWED, "file", "read", resource, rules, dict(detail))
        data = os.read(read, 1 << 20)
    finally:
        os.close(read)
        os.close(write)
    assert len(data) <= MAX_LINE
    assert data.count(b"\n") == 1
    assert json.loads(data)["operation"] == "read"
