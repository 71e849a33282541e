"""Base profile documents: complete after `extends`, strict, with places; and the four that are shipped."""

from __future__ import annotations

import os
from typing import Any

import pytest

from launcher.errors import DocumentError
from launcher.policy.base import load_base, parse_base

SHIPPED = os.path.join(os.path.dirname(__file__), "..", "..", "profiles")
MINIMAL = """
view: {mounts: [/usr], merged: [], tmpfs: [], etc: [], devices: [], proc: {masked: [], readonly: []}, hostname: h}
commands: {path: [/usr/bin], programs: [/usr/bin]}
environment: {set: {A: "1", B: "2"}, pass: [LANG]}
network: {loopback: false}
syscalls: {table: default}
limits: {max_processes: 5, max_memory: 1MiB}
"""


def shipped(handle: str) -> dict[str, Any]:
    def read(name: str) -> tuple[bytes, str]:
        with open(f"{SHIPPED}/{name}.yaml", "rb") as file:
            return file.read(), f"{name}.yaml"

    return load_base(handle, read)


def load(**documents: str) -> dict[str, Any]:
    return load_base("mine", lambda name: (documents[name].encode(), f"{name}.yaml"))


def test_the_shipped_profiles_are_complete() -> None:
    default, batch, untrusted, parser = (shipped(name) for name in ("default", "batch", "ci-untrusted", "parser"))
    # One list of dangerous files for all: a mask that is added to the default must not be forgotten elsewhere.
    assert default["view"]["proc"] == batch["view"]["proc"] == untrusted["view"]["proc"] == parser["view"]["proc"]
    assert [default["network"]["loopback"], untrusted["network"]["loopback"]] == [True, False]
    assert [default["run_with"], untrusted["run_with"]] == ["granted", "declared"]
    assert parser["grants"] == default["grants"] == batch["grants"] == []
    assert parser["limits"]["max_files"] == 0
    assert "max_memory" not in default["limits"]
    assert "max_memory" not in parser["limits"]


def test_the_ci_base_reads_the_checkout_and_nothing_is_written() -> None:
    grants = shipped("ci-untrusted")["grants"]
    assert {(grant["type"], *grant["operations"]) for grant in grants} == {
        ("file", "read"), ("path", "read"), ("cmd", "execute"), ("sh", "execute"), ("js", "execute"), ("py", "execute"),
    }  # fmt: skip
    assert {grant["policy"] for grant in grants} == {"profile:ci-untrusted"}
    assert all(grant["place"][0] == "ci-untrusted.yaml" and grant["place"][1] > 1 for grant in grants)


@pytest.mark.parametrize(
    "path",
    ["kcore", "kmsg", "kallsyms", "keys", "timer_list", "sched_debug", "acpi", "scsi", "interrupts", "sysrq-trigger"],
)
def test_the_masks_of_attack_43(path: str) -> None:
    assert f"/proc/{path}" in shipped("default")["view"]["proc"]["masked"]


def test_sysctls_are_read_only_and_sys_does_not_exist() -> None:
    view = shipped("default")["view"]  # attacks 41, 42, 45, 46
    assert "/proc/sys" in view["proc"]["readonly"]
    assert not any(mount["target"].startswith("/sys") for mount in view["mounts"])


def test_extends_replaces_keys_adds_rules_and_merges_limits_by_name() -> None:
    child = """
profile: {extends: parent, description: mine}
view: {hostname: other}
environment: {set: {B: "3"}}
limits: {max_memory: 2MiB}
capabilities: ["file.read:/data/**"]
"""
    whole = load(mine=child, parent=MINIMAL + 'capabilities: ["env.read:X"]\ndeny: [sh]\n')
    assert whole["view"]["hostname"] == "other"
    assert whole["view"]["mounts"][0]["target"] == "/usr"
    assert whole["environment"] == {"set": {"A": "1", "B": "3"}, "pass": ["LANG"]}
    assert whole["limits"] == {"max_processes": 5, "max_memory": 2 << 20}
    assert [grant["policy"] for grant in whole["grants"]] == ["profile:parent", "profile:mine"]
    assert [deny["type"] for deny in whole["denies"]] == ["sh"]
    assert whole["handle"] == "mine"


def test_the_digest_covers_every_document_read() -> None:
    child = "profile: {extends: parent}\n"
    one = load(mine=child, parent=MINIMAL)
    assert load(mine=child, parent=MINIMAL)["digest"] == one["digest"]
    assert load(mine=child, parent=MINIMAL + "# more\n")["digest"] != one["digest"]
    assert load(mine=child + "# more\n", parent=MINIMAL)["digest"] != one["digest"]


@pytest.mark.parametrize(
    ("documents", "says"),
    [
        ({"mine": "profile: {extends: mine}"}, "circular"),
        ({"mine": "profile: {extends: b}", "b": "profile: {extends: mine}"}, "circular"),
        ({"mine": "view: {hostname: h}"}, "does not say view.mounts"),
        ({"mine": ""}, "empty"),
    ],
)
def test_a_chain_that_ends_nowhere(documents: dict[str, str], says: str) -> None:
    with pytest.raises(DocumentError, match=says):
        load(**documents)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("veiw: {}", "veiw"),
        ("view: {mount: []}", "mount"),
        ("view: {mounts: [usr]}", "not an absolute path"),
        ("view: {mounts: [/usr/../etc]}", "canonical"),
        ("view: {mounts: [/]}", "as a whole"),
        ("view: {mounts: [/etc]}", "as a whole"),
        ("view: {mounts: [/run]}", "cannot be part of a view"),
        ("view: {mounts: [/var/run/docker]}", "cannot be part of a view"),
        ("view: {mounts: [{target: /opt, source: /proc/1/root}]}", "cannot be part of a view"),
        ("view: {mounts: [{source: /opt}]}", "no `target`"),
        ("view: {mounts: [{target: /opt, options: [rw]}]}", "rw"),
        ("view: {mounts: [{target: /opt, options: [suid]}]}", "suid"),
        ("view: {tmpfs: [{target: /tmp, size: 1MiB, inodes: 4, mode: '4755'}]}", "1777"),
        ("view: {tmpfs: [{target: /tmp, size: 1MiB, inodes: 4}]}", "mode"),
        ("view: {tmpfs: [{target: /proc/x, size: 1MiB, inodes: 4, mode: '755'}]}", "private"),
        ("view: {tmpfs: [{target: /etc, size: 1MiB, inodes: 4, mode: '755'}]}", "private"),
        ("view: {tmpfs: [{target: /tmp, size: huge, inodes: 4, mode: '755'}]}", "size"),
        ("view: {proc: {masked: [/etc/shadow]}}", "below /proc"),
        ("view: {etc: [../shadow]}", "below /etc"),
        ("view: {etc: [/shadow]}", "below /etc"),
        ("view: {hostname: Über}", "host name"),
        ("view: {devices: [../mem]}", "device"),
        ("environment: {set: {'A=B': x}}", "variable"),
        ('environment: {set: {A: "x\\u0007"}}', "control"),
        ("environment: {pass: ['A B']}", "glob"),
        ("network: {loopback: maybe}", "true or false"),
        ("limits: {max_memroy: 1}", "max_memroy"),
        ("limits: {max_memory: [1]}", "one value"),
        ("limits: {max_memory: -1}", "max_memory"),
        ("run_with: everything", "everything"),
        ("landlock: {minimum_abi: 100}", "between"),
        ("capabilities: {fiel: []}", "fiel"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(text: str, says: str) -> None:
    with pytest.raises(DocumentError, match=says) as caught:
        parse_base(text.encode(), "mine.yaml")
    assert caught.value.place.startswith("mine.yaml:1:")
    assert caught.value.place != "mine.yaml:1:1" or text.startswith("veiw")
