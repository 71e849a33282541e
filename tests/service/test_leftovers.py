"""What a killed launcher leaves is finished, undone or removed; and nothing else is touched."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from launcher.audit.log import AuditLog
from launcher.canonical import canonical_json, sha256_hex
from launcher.enforce.namespace import cgroup
from launcher.policy.paths import Locations
from launcher.service import leftovers
from launcher.service.leftovers import CGROUP, COMMIT, FILE, Leftover, clean, sweep

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = 65534
HERE = os.getpid()
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="takes other ids")


class World:
    def __init__(self, top: Path) -> None:
        self.locations = Locations.below(str(top / "root"))
        self.log = AuditLog(self.locations)
        self.host = str(top / "host")
        self.journals = f"{self.locations.state}/journals"
        os.mkdir(self.host)
        os.makedirs(self.journals, 0o700)
        os.makedirs(self.locations.cache)
        os.makedirs(self.locations.policies)

    def sweep(self) -> list[Leftover]:
        return [one for one in sweep(self.locations, self.log) if one.kind != CGROUP]

    def events(self) -> list[dict[str, object]]:
        path = f"{self.locations.audit}/audit.jsonl"
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def journal(self, uid: int, *, ids: tuple[int, int] | None = None, job: str = "a1") -> str:
        """A commit that was killed after its begin record: one temporary file of it lies in the host's directory."""
        directory = f"{self.journals}/{uid}"
        os.makedirs(directory, 0o700, exist_ok=True)
        temporary = f".mlsandbox-{job}-0"
        for path in (directory, self.host, f"{self.host}/{temporary}"):
            if path.endswith(temporary):
                with open(path, "w", encoding="utf-8") as file:
                    file.write("half")
            if os.geteuid() == 0:
                os.chown(path, uid, uid)
        found = os.stat(self.host)
        record = {
            "record": "begin", "areas": {"0": [self.host, found.st_dev, found.st_ino]},
            "temporaries": [["0", "", temporary]], "ids": [*(ids or (uid, uid)), []],
        }  # fmt: skip
        self.raw(directory, job, record)
        return f"{self.host}/{temporary}"

    def raw(self, directory: str, job: str, record: object) -> None:
        body = canonical_json(record)
        path = f"{directory}/{job}.journal"
        with open(path, "wb") as file:
            file.write(sha256_hex(body)[:16].encode() + b" " + body + b"\n")
        if os.geteuid() == 0:
            os.chown(path, os.stat(directory).st_uid, -1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if parent.name.startswith("pytest-"):
            os.chmod(parent, 0o755)
    return World(tmp_path)


def test_nothing_is_nothing(world: World) -> None:
    assert world.sweep() == []
    assert not os.path.exists(world.locations.audit)


def test_an_interrupted_commit_is_undone_and_recorded(world: World) -> None:
    temporary = world.journal(os.geteuid())
    found = world.sweep()
    assert [(one.kind, one.name, one.outcome) for one in found] == [(COMMIT, "a1", "undone")]
    assert not os.path.exists(temporary)
    assert os.listdir(f"{world.journals}/{os.geteuid()}") == []
    assert [(line["event"], line["job"], line["detail"]) for line in world.events()] == [
        ("commit.recovered", "a1", {"outcome": "undone", "uid": str(os.geteuid())})
    ]
    assert world.sweep() == []


@root_only
def test_a_tenants_commit_is_recovered_with_his_ids(world: World) -> None:
    temporary = world.journal(NOBODY)
    before = (os.geteuid(), os.getegid(), os.getgroups())
    assert [one.outcome for one in world.sweep()] == ["undone"]
    assert not os.path.exists(temporary)
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before


@root_only
@pytest.mark.parametrize("ids", [(0, 0), (1, 1), (NOBODY, 0), (NOBODY, 4)])
def test_ids_of_somebody_else_are_not_taken(world: World, ids: tuple[int, int]) -> None:
    """A journal in a tenant's directory that asks for root's ids, another's, or a group that he is not in."""
    temporary = world.journal(NOBODY, ids=ids)
    assert [one.stuck for one in world.sweep()] == [True]
    assert os.path.exists(temporary)
    assert os.geteuid() == 0


@root_only
def test_a_tenants_journal_has_no_rights_that_he_has_not(world: World) -> None:
    """The record names a directory of root's: opened with his ids, and his alone."""
    temporary = world.journal(NOBODY)
    os.chown(world.host, 0, 0)
    os.chmod(world.host, 0o700)
    assert [one.stuck for one in world.sweep()] == [True]
    assert os.path.exists(temporary)


@root_only
def test_directories_that_others_can_walk_to_are_not_trusted(world: World) -> None:
    temporary = world.journal(NOBODY)
    os.chmod(world.journals, 0o755)
    assert [one.outcome for one in world.sweep()] == [f"stuck: {world.journals} must have mode 0700"]
    assert os.path.exists(temporary)


@pytest.mark.parametrize(
    "record", [{}, [], 7, "text", {"record": "begin"}, {"areas": 3, "ids": [os.geteuid(), os.getegid(), []]},
               {"areas": {"0": []}, "temporaries": [], "ids": [os.geteuid(), os.getegid(), []]}],
)  # fmt: skip
def test_a_journal_that_is_none_of_ours_is_stuck_and_no_error(world: World, record: object) -> None:
    directory = f"{world.journals}/{os.geteuid()}"
    os.mkdir(directory, 0o700)
    world.raw(directory, "b2", record)
    assert [one.stuck for one in world.sweep()] == [True]
    assert os.listdir(directory) == ["b2.journal"]
    assert world.events() == []


def test_a_torn_first_record_is_an_undone_commit(world: World) -> None:
    directory = f"{world.journals}/{os.geteuid()}"
    os.mkdir(directory, 0o700)
    with open(f"{directory}/c3.journal", "wb") as file:
        file.write(b"0123456789abcdef {")
    assert [one.outcome for one in world.sweep()] == ["undone"]


def dead_pid() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


def test_half_made_files_of_dead_processes_go_and_nothing_else(world: World) -> None:
    dead, alive = dead_pid(), os.getpid()
    cache, policies, state = world.locations.cache, world.locations.policies, os.path.dirname(world.locations.token)
    goes = [f"{cache}/policies.marshal.{dead}", f"{cache}/ab.bpf.{dead}.new", f"{cache}/features-0.1.{dead}",
            f"{policies}/.team.yaml.{dead}", f"{state}/token.{dead}"]  # fmt: skip
    stays = [f"{cache}/policies.marshal.{alive}", f"{cache}/features-0.{dead}", f"{cache}/policies.marshal",
             f"{policies}/team.{dead}", f"{state}/audit.jsonl.{dead}", f"{cache}/audit.jsonl.{dead}"]  # fmt: skip
    for path in goes + stays:
        with open(path, "w", encoding="utf-8"):
            pass
    swept = [one.name for one in world.sweep()]
    assert sorted(swept) == sorted(path for path in goes if path.startswith(cache))
    cleaned = [one for one in clean(world.locations, world.log) if one.kind == FILE]
    assert sorted([*swept, *(one.name for one in cleaned)]) == sorted(goes)
    assert all(os.path.exists(path) for path in stays)


def some_base() -> str:
    """A place where this process may make a group; skips where there is none."""
    made = cgroup.create("probe-of-leftovers", {"max_processes": 10})
    if made is None:
        pytest.skip("no control group can be made here")
    base = os.path.dirname(made.directories()[0])
    made.remove()
    return base


@pytest.mark.kernel
def test_groups_of_dead_launchers_go_and_those_of_living_ones_stay() -> None:
    base = some_base()
    abandoned, held, busy = (f"{base}/mlsandbox-test-{word}-{os.getpid()}" for word in ("gone", "held", "busy"))
    os.mkdir(abandoned, 0o700)
    lives = cgroup.create(f"test-held-{os.getpid()}", {"max_processes": 10})
    os.mkdir(busy, 0o700)
    sleeper = subprocess.Popen(["/bin/sleep", "60"])
    try:
        cgroup.write(f"{busy}/cgroup.procs", str(sleeper.pid))
        removed = cgroup.remove_leftovers()
        assert abandoned in removed
        assert not os.path.exists(abandoned)
        assert os.path.exists(held) and held not in removed  # empty, but its launcher lives
        assert os.path.exists(busy) and busy not in removed
    finally:
        sleeper.kill()
        sleeper.wait()
        assert lives is not None
        lives.remove()
        os.rmdir(busy)
    assert not os.path.exists(held)


@pytest.mark.kernel
def test_making_a_group_survives_others_that_remove_it_meanwhile() -> None:
    """The moment between mkdir and the lock, and between lock and rmdir, again and again from two other processes."""
    base = some_base()
    stop, go = os.pipe()
    removers = [os.fork() for _ in range(2) if os.getpid() == HERE]
    if os.getpid() != HERE:
        os.close(go)
        os.set_blocking(stop, False)
        while True:
            try:
                if not os.read(stop, 1):
                    os._exit(0)
            except BlockingIOError:
                cgroup.remove_leftovers()
    os.close(stop)
    try:
        until = time.monotonic() + 2
        while time.monotonic() < until:
            made = cgroup.create(f"test-race-{HERE}", {"max_processes": 10})
            assert made is not None
            cgroup.write(f"{base}/mlsandbox-test-race-{HERE}/pids.max", "11")
            made.remove()
    finally:
        os.close(go)
        for pid in removers:
            os.waitpid(pid, 0)


def test_a_launch_pays_little_where_there_is_nothing(world: World) -> None:
    """The budget is 0.2 ms on a quiet machine; the least of many is what the machine's load does not touch."""
    os.mkdir(f"{world.journals}/1000", 0o700)
    times = []
    for _ in range(50):
        began = time.perf_counter_ns()
        leftovers.sweep(world.locations, world.log)
        times.append(time.perf_counter_ns() - began)
    assert min(times) < 200_000
