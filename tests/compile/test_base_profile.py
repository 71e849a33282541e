"""The base profile as compile uses it."""

from __future__ import annotations

from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.compile.base import BaseProfile, ancestors
from tests.compile.hosts import base

SCOPE = Scope("/home/alice", "/work/alice")


def test_data_round_trips() -> None:
    one = base("default")
    assert BaseProfile.from_data(one.to_data()).to_data() == one.to_data()
    assert one.handle == "default"
    assert one.limits.max_processes == 1024


def test_ancestors_are_each_listed_once_from_the_root() -> None:
    assert ancestors(["/a/b/c", "/a/d", "/"]) == ["/", "/a", "/a/b", "/a/b/c", "/a/d"]
    assert ancestors([]) == ["/"]


def test_the_view_is_granted_by_the_base_and_reaches_no_further() -> None:
    for handle in ("default", "batch", "ci-untrusted", "parser"):
        grants = base(handle).view_grants({"bin": "usr/bin", "lib": ""}, SCOPE, ["/srv/data"])
        held = Permissions(grants, (), Limits(), SCOPE)
        assert {grant.policy for grant in grants} == {f"base:{handle}"}
        assert held.decide("file", "read", "/usr/bin/x").allowed
        assert held.decide("file", "read", "/lib/x").allowed
        assert held.decide("path", "read", "/srv").allowed
        assert held.decide("path", "read", "/srv/data").allowed
        for path in ("/srv/data/x", "/bin/x", "/work/alice/x", "/home/alice/.profile", "/sys/x", "/run/x", "/boot/x"):
            assert not held.decide("file", "read", path).allowed, path
        assert not held.decide("file", "write", "/usr/x").allowed


def test_a_parser_has_nowhere_to_write() -> None:
    grants = base("parser").view_grants({}, SCOPE, [])
    writable = [grant for grant in grants if "write" in grant.operations]
    assert [(grant.type, grant.patterns) for grant in writable] == [("file", ("/dev/null",))]
