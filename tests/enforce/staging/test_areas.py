from __future__ import annotations

import pytest

from launcher.capability import Permissions, Scope
from launcher.enforce.staging.areas import host_permissions, plan_areas, readable_whole
from tests.enforce.staging.stage import allow

WORK = "/w"


def areas(*rules: str, missing: tuple[str, ...] = ()) -> dict[str, tuple[str, tuple[str, ...]]]:
    def existing(path: str) -> str:
        while path != "/" and path in missing:
            path = path.rpartition("/")[0] or "/"
        return path

    found, _ = plan_areas(allow(WORK, *rules), existing)
    return {area.directory: ("live" if area.live_lower else "snapshot", area.binds) for area in found}


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        (["file.read:**"], {}),
        (["file.write:*.txt"], {"/w": ("snapshot", ())}),
        (["file.write:out/**"], {"/w/out": ("snapshot", ())}),
        (["file.write:out/a.txt", "file.append:out/*.log"], {"/w/out": ("snapshot", ())}),
        (["file.read,write:/w/**"], {"/w": ("live", ())}),
        (["file.read:/w/**", "file.write:out/**", "file.write:log/*"], {"/w": ("live", ())}),
        (["file.write:out/**", "file.write:log/*"], {"/w/out": ("snapshot", ()), "/w/log": ("snapshot", ())}),
        (["file.write:out/**", "file.write:out/deep/*"], {"/w/out": ("snapshot", ())}),
        (["file.read,write:/w/**", "!file.read:**/.env"], {"/w": ("snapshot", ())}),
        (["file.read,write:/w/**", "!file.write:**/.env"], {"/w": ("live", ())}),
        (["file.read,write:/w/**", "!file.read:/data/*"], {"/w": ("live", ())}),
        (["file.write:*.txt", "file.read:data/**"], {"/w": ("snapshot", ("/w/data",))}),
        (["file.write:*.txt", "file.read:data/**", "file.write:data/x"], {"/w": ("snapshot", ())}),
        (["file.write:*.txt", "file.read:data/**", "!file.read:data/k"], {"/w": ("snapshot", ())}),
        (["file.write:/srv/x/*", "file.write:/data/*"], {"/srv/x": ("snapshot", ()), "/data": ("snapshot", ())}),
        (["file.write:**/x.txt"], {"/w": ("snapshot", ())}),
        (["path.write:new/*"], {"/w/new": ("snapshot", ())}),
    ],
    ids=str,
)
def test_areas(rules: list[str], wanted: dict[str, tuple[str, tuple[str, ...]]]) -> None:
    assert areas(*rules) == wanted


def test_a_directory_that_does_not_exist_is_staged_from_above() -> None:
    assert areas("file.write:out/deep/*", missing=("/w/out/deep", "/w/out")) == {"/w": ("snapshot", ())}


def test_the_root_is_never_an_area() -> None:
    found, warnings = plan_areas(allow(WORK, "file.write:/new/*"), lambda _path: "/")
    assert found == []
    assert "/new/*" in warnings[0]


def test_a_deny_of_everything_makes_nothing_readable() -> None:
    allowed = allow(WORK, "file.read:/w/**")
    bare = Permissions(allowed.grants, [type(allowed.grants[0])("file", ("read",), ())], allowed.limits, allowed.scope)
    assert readable_whole(WORK, allowed)
    assert not readable_whole(WORK, bare)


def test_host_permissions_leave_the_view_out() -> None:
    """The private /tmp is granted to everybody: a workspace in the host's /tmp is not."""
    rule = {"policy": "p", "place": "/etc/p.yaml:3:5", "max_file_size": None}
    files = {
        "read": [{**rule, "pattern": "/tmp/ws/*.csv", "operations": ["file.read"]}],
        "staged": [
            {**rule, "pattern": "/tmp/ws/out/*", "operations": ["file.write", "file.delete"], "max_file_size": 7}
        ],
        "denied": [{**rule, "pattern": "/tmp/ws/out/k", "operations": ["file.write"]}],
        "live": [],
    }
    allowed = host_permissions(files, {"max_disk": 5}, Scope("/h", "/tmp/ws"))
    assert allowed.decide("file", "read", "/tmp/ws/a.csv")
    assert not allowed.decide("file", "write", "/tmp/ws/a.csv")
    assert not allowed.decide("file", "write", "/tmp/ws/out/k")
    (grant,) = allowed.decide("file", "write", "/tmp/ws/out/x").deciders
    assert (grant.constraints, str(grant.place), grant.policy) == ({"max_file_size": 7}, "/etc/p.yaml:3:5", "p")
    assert allowed.limits.max_disk == 5
