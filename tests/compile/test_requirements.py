"""What a host lacks is refused, or accepted and reported with the attacks that are then not covered."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.compile.requirements import REFUSE, ROWS
from launcher.errors import RefusedError
from tests.compile.hosts import DEBIAN_ROOT, DEBIAN_USER, NEWEST, NO_CGROUP, compiled, policy

MEMORY = "limits: {max_memory: 1GiB}"
CASES: list[tuple[str, dict[str, Any], str]] = [
    # row, what this host lacks, a policy that needs it
    ("sandbox.user_namespaces", {"user_namespaces": False}, ""),
    ("sandbox.only_landlock", {"user_namespaces": False, "landlock": 0}, ""),
    ("limits.max_disk", {"user_namespaces": False}, ""),
    ("sandbox.mount_api", {"mount_api": False}, ""),
    ("sandbox.net_namespaces", {"net_namespaces": False}, ""),
    ("files.staged", {"overlayfs": False}, "capabilities: ['file.write:/a/b']"),
    ("sandbox.seccomp", {"seccomp": False}, ""),
    ("sandbox.landlock", {"landlock": 0}, ""),
    ("commands.refuse", {"seccomp_notify": False}, ""),
    ("commands.arguments", {"seccomp": False}, "capabilities: {cmd: ['git status']}"),
    ("limits.max_memory", {"controllers": {"pids": "/c"}}, MEMORY),
    ("limits.cpus", {"controllers": {}}, "limits: {cpus: 1}"),
    ("limits.max_cpu_time", {"controllers": {}}, "limits: {max_cpu_time: 1s}"),
    ("limits.max_io_read", {"controllers": {"memory": "/c"}}, "limits: {max_io_read: 1MiB}"),
    ("limits.max_io_write", {"controllers": {"blkio": "/c", "memory": "/c"}}, "limits: {max_io_write: 1MiB}"),
]


def test_every_row_has_its_case() -> None:
    assert [*[case[0] for case in CASES], "limits.max_jobs"] == [row.permission for row in ROWS]


def test_jobs_are_counted_or_the_limit_is_refused() -> None:
    body = "limits: {max_jobs: 2}"
    with pytest.raises(RefusedError, match="max_jobs"):
        compiled(policy(body))
    assert compiled(policy(body), supports=("jobs",)).data["unenforced"] == []
    (gap,) = compiled(policy(body), allow_degraded=True).data["unenforced"]
    assert gap["permission"] == "limits.max_jobs"


def test_a_grant_that_may_end_during_the_run_is_reported_and_not_refused() -> None:
    body = 'capabilities: {file: [{patterns: ["/a"], operations: [read], expires_at: "2030-01-01"}]}'
    (gap,) = compiled(policy(body), now=1_800_000_000).data["unenforced"]
    assert (gap["permission"], gap["attacks"]) == ("file.read /a", [])
    assert "a job that is running keeps it" in gap["reason"]


@pytest.mark.parametrize(("permission", "lacking", "body"), CASES)
def test_missing_is_refused_and_what_can_be_degraded_is_reported(
    permission: str, lacking: dict[str, Any], body: str
) -> None:
    features = NEWEST.replaced(**lacking)
    row = next(row for row in ROWS if row.permission == permission)
    with pytest.raises(RefusedError) as caught:
        compiled(policy(body), features=features)
    assert permission in caught.value.message
    assert row.reason in caught.value.message
    assert caught.value.hint
    assert caught.value.status == 126
    if row.severity == REFUSE:
        with pytest.raises(RefusedError, match=permission):
            compiled(policy(body), features=features, allow_degraded=True)
        return
    assert "--allow-degraded" in caught.value.hint
    gaps = compiled(policy(body), features=features, allow_degraded=True).data["unenforced"]
    gap = next(gap for gap in gaps if gap["permission"] == permission)
    assert gap["attacks"] == list(row.attacks)


@pytest.mark.parametrize(("permission", "lacking", "body"), CASES)
def test_a_host_that_has_it_enforces_everything(permission: str, lacking: dict[str, Any], body: str) -> None:
    assert compiled(policy(body), features=NEWEST).data["unenforced"] == []


def test_the_hint_names_the_cause() -> None:
    def hint(**values: Any) -> str:
        with pytest.raises(RefusedError) as caught:
            compiled(policy(""), features=DEBIAN_USER.replaced(user_namespaces=False, **values))
        return caught.value.hint

    assert "AppArmor" in hint(apparmor_userns=True)
    assert "podman" in hint(container="podman")
    assert "max_user_namespaces" in hint()


def test_all_that_is_missing_is_named_at_once() -> None:
    with pytest.raises(RefusedError) as caught:
        compiled(policy(MEMORY), features=NO_CGROUP.replaced(landlock=0, seccomp=False))
    for word in ("limits.max_memory", "sandbox.landlock", "sandbox.seccomp"):
        assert word in caught.value.message


def test_the_network_is_granted_but_not_there_yet() -> None:
    body = "capabilities: {network: [{hosts: [api.example.com], operations: [https]}]}"
    (gap,) = compiled(policy(body)).data["unenforced"]
    assert gap["permission"] == "network.https api.example.com"
    assert "no network beyond loopback" in gap["reason"]
    assert gap["place"].startswith("p0.yaml:3:")
    assert compiled(policy(body), supports=("egress",)).data["unenforced"] == []


@pytest.mark.parametrize(
    ("kind", "name"),
    [("device.use", "/dev/dri/card0"), ("socket.connect", "/run/agent.sock"), ("keychain.read", "a/b")],
)
def test_devices_and_sockets_need_a_backend_that_has_them(kind: str, name: str) -> None:
    body = f"capabilities: ['{kind}:{name}']"
    data = compiled(policy(body), supports=()).data
    (gap,) = data["unenforced"]
    assert gap["permission"] == f"{kind} {name}"
    assert {row["permission"]: row["mechanism"] for row in data["mechanisms"]}[gap["permission"]] == "it is not there"
    assert compiled(policy(body)).data["unenforced"] == []


@pytest.mark.parametrize("constraint", ["max_uses: 3", "rate: 5/s"])
def test_what_only_the_process_counts_is_not_passed_off_as_enforced(constraint: str) -> None:
    body = f"capabilities: {{file: [{{patterns: [/a], operations: [read], {constraint}}}]}}"
    with pytest.raises(RefusedError, match="counted in the process"):
        compiled(policy(body))
    (gap,) = compiled(policy(body), allow_degraded=True).data["unenforced"]
    assert gap["permission"] == "file.read /a"
    assert gap["place"].startswith("p0.yaml:")


def test_cpu_time_is_accounted_by_cpuacct_or_by_any_group_of_v2() -> None:
    body = "limits: {max_cpu_time: 1s}"
    for version, controller in ((1, "cpuacct"), (2, "cpu"), (2, "memory")):
        host = DEBIAN_ROOT.replaced(cgroup=version, controllers={controller: "/c"})
        assert compiled(policy(body), features=host).data["unenforced"] == []
    with pytest.raises(RefusedError, match="max_cpu_time"):
        compiled(policy(body), features=DEBIAN_ROOT.replaced(cgroup=1, controllers={"cpu": "/c"}))
