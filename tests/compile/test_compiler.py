"""compile: the same inputs give the same bytes, for hosts that are not this one; what cannot be held is refused."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.compile.schema import problems
from launcher.errors import RefusedError
from tests.compile.hosts import (
    ALICE,
    DATA_SCIENTIST,
    DEBIAN_ROOT,
    HOSTS,
    INSIDE_DOCKER,
    NEWEST,
    NO_CGROUP,
    WORKSPACE,
    compiled,
    policy,
)

GOLDEN = os.path.join(os.path.dirname(__file__), "golden")
HANDLES = ("default", "batch", "ci-untrusted", "parser")


def golden(name: str, text: str) -> str:
    """What is recorded under `name`; MLSANDBOX_GOLDEN=write records it anew, to be read in the diff."""
    path = f"{GOLDEN}/{name}"
    if os.environ.get("MLSANDBOX_GOLDEN") == "write":
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    with open(path, encoding="utf-8") as file:
        return file.read()


@pytest.mark.parametrize("host", sorted(HOSTS))
def test_golden_profiles(host: str) -> None:
    try:
        made: Any = compiled(DATA_SCIENTIST, features=HOSTS[host], allow_degraded=True, danger=True).data
    except RefusedError as error:
        made = {"refused": error.message, "hint": error.hint}
    text = json.dumps(made, indent=1, sort_keys=True) + "\n"
    assert text == golden(f"{host}.json", text)


@pytest.mark.parametrize("handle", HANDLES)
def test_every_base_makes_a_valid_profile(handle: str) -> None:
    profile = compiled(policy(""), handle=handle, declared=())
    assert problems(profile.data) == []
    assert profile.data["base"] == handle


@pytest.mark.parametrize("host", ["debian-12-root", "debian-12-user", "no-cgroup"])
def test_profiles_satisfy_their_schema(host: str) -> None:
    assert problems(compiled(DATA_SCIENTIST, features=HOSTS[host], allow_degraded=True, danger=True).data) == []


PATTERNS = st.lists(
    st.sampled_from(["data/*.csv", "**", "**/x", "/srv/**", "~/notes.txt", "@base/a/../b", "/w/[a-c]?", "./x//y", "/"]),
    min_size=1,
    max_size=4,
)
OPERATIONS = st.lists(st.sampled_from(["read", "write", "append", "delete"]), min_size=1, unique=True)
HOSTS_GIVEN = st.sampled_from(sorted(set(HOSTS) - {"inside-docker"}))


@settings(deadline=None)  # a machine may be busy; what a compilation costs is measured elsewhere
@given(PATTERNS, OPERATIONS, PATTERNS, HOSTS_GIVEN)
def test_same_inputs_same_bytes_and_every_pattern_written_out(
    patterns: list[str], operations: list[str], denied: list[str], host: str
) -> None:
    body = f"""
capabilities: {{file: [{{patterns: {json.dumps(patterns)}, operations: {json.dumps(operations)}}}]}}
deny: {json.dumps(["file.read:" + text for text in denied])}
"""
    one, other = (compiled(policy(body), features=HOSTS[host], allow_degraded=True) for _ in range(2))
    assert one.to_bytes() == other.to_bytes()
    assert problems(one.data) == []
    for rules in one.data["files"].values():
        for rule in rules:
            assert rule["pattern"].startswith(("/", "**")), rule


def test_the_permissions_in_the_profile_are_the_grants_and_the_view() -> None:
    held = Permissions.from_data(compiled(DATA_SCIENTIST).data["permissions"])
    for path, operation, allowed in [
        (f"{WORKSPACE}/data/a.csv", "read", True),
        (f"{WORKSPACE}/data/a.txt", "read", False),
        (f"{WORKSPACE}/output/r.txt", "write", True),
        (f"{WORKSPACE}/output/.env", "read", False),
        ("/usr/lib/x.so", "read", True),
        ("/usr/lib/x.so", "write", False),
        ("/etc/passwd", "read", True),
        ("/etc/shadow", "read", False),
        ("/etc/ssl/certs/a.pem", "read", True),
        ("/etc/ssl/private/key", "read", False),
        ("/tmp/scratch", "write", True),
        ("/dev/null", "write", True),
        ("/dev/sda", "read", False),
        ("/proc/self/status", "read", True),
        ("/proc/sys/kernel/core_pattern", "write", False),
        ("/home/alice/.ssh/id", "read", False),
    ]:
        assert held.decide("file", operation, path).allowed is allowed, (operation, path)
    for path in ("/", "/work", WORKSPACE, "/home/alice", "/usr", "/etc", "/dev", "/tmp"):
        assert held.decide("path", "read", path).allowed, path
    assert not held.decide("path", "read", "/root").allowed
    assert not held.decide("path", "write", WORKSPACE).allowed


def test_the_view_is_ignored_by_containment_and_the_bases_capabilities_are_not() -> None:
    grants = compiled(policy(""), handle="ci-untrusted", declared=()).data["permissions"]["grants"]
    assert {grant["policy"].partition(":")[0] for grant in grants} == {"base"}


def test_unmerged_usr_is_mounted_and_its_programs_are_held() -> None:
    links = {"bin": "", "sbin": "", "lib": "", "lib64": "usr/lib64"}
    data = compiled(policy("capabilities: {cmd: [ls]}"), features=DEBIAN_ROOT.replaced(root_links=links)).data
    assert [mount["target"] for mount in data["view"]["mounts"]] == ["/bin", "/lib", "/sbin", "/usr"]
    assert data["view"]["symlinks"] == [["usr/lib64", "/lib64"]]
    assert {"/bin", "/sbin"} <= set(data["commands"]["programs"])
    merged = compiled(policy("capabilities: {cmd: [ls]}")).data
    assert not {"/bin", "/sbin"} & set(merged["commands"]["programs"])


def test_limits_are_the_least_of_policy_base_and_options() -> None:
    body = "limits: {max_processes: 50, max_wall_time: 1h, max_disk: 1MiB}"
    limits = Limits(max_processes=500, max_wall_time=60, max_output=10)
    data = compiled(policy(body), limits=limits).data
    wanted = {"max_processes": 50, "max_wall_time": 60, "max_output": 10, "max_open_files": 1024, "max_memory": None}
    assert {name: data["limits"][name] for name in wanted} == wanted
    assert {tmpfs["size"] for tmpfs in data["view"]["tmpfs"]} == {1 << 20}


def test_run_with_and_commit_of_the_base_bind() -> None:
    assert compiled(policy(""), handle="ci-untrusted", declared=()).data["run_with"] == "declared"
    assert compiled(policy("commit: success")).data["commit"] == "success"
    assert compiled(policy("")).data["commit"] == "always"


def test_a_grant_that_has_expired_is_in_no_list() -> None:
    body = 'capabilities: {file: [{patterns: ["/a"], operations: [read], expires_at: "2030-01-01T00:00:00Z"}]}'
    before, after = 1_800_000_000, 1_900_000_000
    assert len(compiled(policy(body), now=before).data["files"]["read"]) == 1
    for now in (after, None):
        data = compiled(policy(body), now=now).data
        assert data["files"]["read"] == []
        assert not any("/a" in grant["patterns"] for grant in data["permissions"]["grants"])


def test_user_and_workspace() -> None:
    data = compiled(policy("")).data
    assert data["user"] == {"name": "alice", "home": "/home/alice"}
    assert data["workspace"] == WORKSPACE
    assert data["environment"]["set"]["HOME"] == ALICE.home
    assert [row["handle"] for row in data["policies"]] == ["p0"]
    assert data["schema"] == "mlsandbox.profile/1"


def test_policies_are_listed_by_handle_whatever_their_order() -> None:
    data = compiled(policy("capabilities: ['env.read:A']"), policy("capabilities: ['env.read:B']")).data
    assert [row["handle"] for row in data["policies"]] == ["p0", "p1"]
    assert data["environment"]["pass"][-2:] == ["A", "B"]


def test_landlock_is_the_base_minimum_or_what_was_accepted() -> None:
    assert compiled(policy(""), features=NEWEST).data["landlock"] == {"minimum_abi": 1}
    without = NEWEST.replaced(landlock=0)
    assert compiled(policy(""), features=without, allow_degraded=True).data["landlock"] == {"minimum_abi": 0}
    with pytest.raises(RefusedError, match="Landlock"):
        compiled(policy(""), features=without)


@pytest.mark.parametrize("degraded", [False, True])
def test_inside_docker_it_is_refused_or_degraded(degraded: bool) -> None:
    if degraded:
        gaps = compiled(policy(""), features=INSIDE_DOCKER, allow_degraded=True).data["unenforced"]
        assert gaps[0]["permission"] == "sandbox.user_namespaces" and 29 in gaps[0]["attacks"]
        return
    with pytest.raises(RefusedError, match="user namespaces") as caught:
        compiled(policy(""), features=INSIDE_DOCKER)
    assert "--security-opt" in caught.value.hint
    assert "--allow-degraded" in caught.value.hint


def test_a_host_without_cgroups_runs_a_policy_without_such_limits() -> None:
    assert compiled(policy("limits: {max_processes: 5}"), features=NO_CGROUP).data["unenforced"] == []
