"""explain: what people read is the profile and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.compile.explain import amount, explain, printable, sections, standing
from tests.compile.hosts import DATA_SCIENTIST, HOSTS, NO_CGROUP, compiled, policy
from tests.compile.test_compiler import golden


@pytest.mark.parametrize("host", ["debian-12-root", "no-cgroup"])
def test_golden_texts(host: str) -> None:
    lines = explain(compiled(DATA_SCIENTIST, features=HOSTS[host], allow_degraded=True, danger=True))
    text = "\n".join(lines) + "\n"
    assert text == golden(f"{host}.txt", text)


def test_every_mechanism_is_in_a_section() -> None:
    body = """
capabilities: {cmd: [git], sh: true, file: [{patterns: [a], operations: [read]}], env: [X],
  keychain: [k], network: [{hosts: [h.example], operations: [https]}], device: [/dev/x], socket: [/run/s]}
deny: [py, 'file.read:b', 'network.https:x.example', 'database']
limits: {max_memory: 1GiB}
"""
    for text in (body, "", "deny: ['network.loopback']", "capabilities: {cmd: ['*']}\ndeny: [js]"):
        profile = compiled(policy(text))
        shown = [row["place"] + row["mechanism"] for section in sections(profile) for row in section["rows"]]
        assert sorted(shown) == sorted(row["place"] + row["mechanism"] for row in profile.data["mechanisms"])


def test_each_grant_shows_its_line_and_its_mechanism() -> None:
    profile = compiled(DATA_SCIENTIST)
    rows = [row for section in sections(profile) for row in section["rows"]]
    places = {row["place"] for row in rows}
    for grant in profile.data["permissions"]["grants"]:
        if not grant["policy"].startswith("base:"):
            assert ":".join(map(str, grant["place"])) in places, grant
    assert all(row["mechanism"] for row in rows)


def test_what_is_not_enforced_is_said_with_the_attacks() -> None:
    text = "\n".join(explain(compiled(policy("limits: {max_memory: 1GiB}"), features=NO_CGROUP, allow_degraded=True)))
    assert "limits.max_memory: there is no memory control group" in text
    assert "attack cases 81" in text
    assert "all of it is enforced" in "\n".join(explain(compiled(policy(""))))


def test_the_standing_sentences_are_those_that_bear() -> None:
    nothing = " ".join(standing(compiled(policy(""))))
    assert "no boundary inside a process" in nothing
    assert "front" not in nothing
    body = "capabilities: {network: [{hosts: [h.example], operations: [https]}], file: [{patterns: [a], operations: [write]}]}"
    everything = " ".join(standing(compiled(policy(body))))
    assert "front for another" in everything
    assert "committed" in everything


@pytest.mark.parametrize(
    ("limit", "value", "text"),
    [
        ("max_memory", 2 << 30, "2 GiB"),
        ("max_memory", 10 << 20, "10 MiB"),
        ("max_memory", 1000, "1000 bytes"),
        ("max_disk", 0, "0 bytes"),
        ("max_wall_time", 3600, "1 h"),
        ("max_wall_time", 90, "90 s"),
        ("cpus", 1500, "1.5"),
        ("cpus", 2000, "2"),
        ("cpus", 10, "0.01"),
        ("max_processes", 64, "64"),
    ],
)
def test_amounts(limit: str, value: int, text: str) -> None:
    assert amount(limit, value) == text


@given(st.text(st.characters(codec=None)))
def test_no_line_reaches_the_terminal_with_control_characters(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_hostile_names_are_escaped_in_the_whole_text() -> None:
    body = 'capabilities: {file: [{patterns: ["a\\e]52;c;x\\u0007\\nb"], operations: [read]}]}'
    text = explain(compiled(policy(body)))
    assert all(line.isprintable() for line in text)
    assert any("\\x1b]52" in line for line in text)
