"""The cache: the same answer as without it, whatever changes; trusted only where it can be."""

from __future__ import annotations

import marshal
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher.errors import ConfigurationError, DocumentError
from launcher.identity.user import User
from launcher.policy import cache
from launcher.policy.paths import Locations
from launcher.policy.store import GrantStore

if TYPE_CHECKING:
    from collections.abc import Callable

ALICE = User("alice", groups=("team",), roles=("dev",))
SETTLED = cache.RACY_NS / 1e9 + 0.03


@pytest.fixture
def locations(tmp_path: Path) -> Locations:
    """Two policies, one of which applies to alice."""
    found = Locations.below(str(tmp_path / "above" / "top"))
    os.makedirs(found.policies)
    write(found, "one", "applies_to: {users: [alice]}, capabilities: [js]")
    write(found, "two", "capabilities: [py]")
    return found


def write(locations: Locations, handle: str, text: str) -> None:
    """Puts a policy there, given as the members of its document."""
    Path(locations.policies, f"{handle}.yaml").write_text(f"policy: {{{text}}}\n")


def handles(locations: Locations, user: User = ALICE) -> list[str]:
    """The policies that apply."""
    return [policy.handle for policy in cache.load_for(locations, user, time.time())]


def settle(locations: Locations) -> None:
    """Waits until sources are old enough, and loads twice: the second time the cache is made or used."""
    time.sleep(SETTLED)
    cache.load(locations)
    assert cache.read_cache(locations, strict=False) is not None


def test_a_warm_load_is_the_same_as_a_cold_one(locations: Locations) -> None:
    cold = cache.load(locations)
    settle(locations)
    warm = cache.load(locations)
    assert [warm.policy(handle) for handle in warm.handles()] == [cold.policy(handle) for handle in cold.handles()]
    assert warm.bases == cold.bases
    assert warm.config.to_data() == cold.config.to_data()
    assert "default" in warm.bases


CHANGES: dict[str, tuple[Callable[[Locations], object], list[str]]] = {
    "edited in place": (
        lambda at: write(at, "two", "capabilities: [py], applies_to: {users: [alice]}"),
        ["one", "two"],
    ),
    "added": (lambda at: write(at, "three", "applies_to: {groups: [team]}"), ["one", "three"]),
    "removed": (lambda at: os.unlink(f"{at.policies}/one.yaml"), []),
    "renamed": (lambda at: os.rename(f"{at.policies}/one.yaml", f"{at.policies}/uno.yaml"), ["uno"]),
    "granted": (lambda at: GrantStore(at).grant("two", "user", "alice", "root"), ["one", "two"]),
    "granted to a group": (lambda at: GrantStore(at).grant("two", "group", "team", "root"), ["one", "two"]),
    "granted to a role": (lambda at: GrantStore(at).grant("two", "role", "dev", "root"), ["one", "two"]),
    "granted to another": (lambda at: GrantStore(at).grant("two", "user", "Alice", "root"), ["one"]),
    "revoked": (lambda at: GrantStore(at).revoke("one", "user", "alice", "root"), []),
    "revoked by group": (lambda at: GrantStore(at).revoke("one", "group", "team", "root"), []),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_counts_at_once(locations: Locations, change: str) -> None:
    settle(locations)
    assert handles(locations) == ["one"]
    CHANGES[change][0](locations)
    assert handles(locations) == CHANGES[change][1]
    settle(locations)
    assert handles(locations) == CHANGES[change][1]


def test_a_revocation_beats_a_grant_to_the_user_himself(locations: Locations) -> None:
    GrantStore(locations).grant("two", "user", "alice", "root")
    GrantStore(locations).revoke("two", "group", "team", "root")
    assert handles(locations) == ["one"]


def test_the_same_size_and_time_stamp_do_not_hide_a_change(locations: Locations) -> None:
    """What `touch -r` and `rsync --times` leave behind: only the change time and the inode tell."""
    settle(locations)
    path = Path(locations.policies, "one.yaml")
    before = path.stat()
    path.write_text(path.read_text().replace("alice", "mallo"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert handles(locations) == []


def test_two_changes_within_one_tick_are_both_seen(locations: Locations) -> None:
    """Racy: the cache is written between two writes that carry the same time stamp."""
    for number in range(20):
        write(locations, "one", f"applies_to: {{users: [{'alice' if number % 2 else 'mallo'}]}}")
        assert handles(locations) == (["one"] if number % 2 else [])


def test_what_is_younger_than_the_race_is_not_trusted(locations: Locations) -> None:
    cache.load(locations)
    assert os.path.exists(cache.cache_file(locations, strict=False))
    assert cache.read_cache(locations, strict=False) is None


def test_expired_grants_are_gone_from_a_warm_load_too(locations: Locations) -> None:
    write(
        locations, "one", "applies_to: {users: [alice]}, capabilities: {env: [{patterns: [A], expires_at: 2030-01-01}]}"
    )
    settle(locations)
    assert len(cache.load_for(locations, ALICE, 1893456000 - 1)[0].grants) == 1
    assert len(cache.load_for(locations, ALICE, 1893456000)[0].grants) == 0


def test_a_wrong_document_refuses_everybody_warm_or_cold(locations: Locations) -> None:
    settle(locations)
    write(locations, "two", "capabilties: [py]")
    for _ in range(2):
        with pytest.raises(DocumentError, match="capabilties") as caught:
            handles(locations)
        assert caught.value.place == f"{locations.policies}/two.yaml:1:10"


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_cache_that_others_can_write_is_not_used(locations: Locations, mode: int) -> None:
    settle(locations)
    os.chmod(cache.cache_file(locations, strict=False), mode)
    assert cache.read_cache(locations, strict=False) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_a_strangers_cache_is_not_used(locations: Locations) -> None:
    settle(locations)
    os.chown(cache.cache_file(locations, strict=False), 54321, 54321)
    assert cache.read_cache(locations, strict=False) is None
    assert handles(locations) == ["one"]


def test_a_symbolic_link_is_no_cache(locations: Locations) -> None:
    settle(locations)
    path = cache.cache_file(locations, strict=False)
    os.rename(path, path + ".real")
    os.symlink(path + ".real", path)
    assert cache.read_cache(locations, strict=False) is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "old"])
def test_a_damaged_cache_costs_time_and_nothing_else(locations: Locations, damage: str) -> None:
    settle(locations)
    path = Path(cache.cache_file(locations, strict=False))
    body = path.read_bytes()
    middle = len(body) // 2
    path.write_bytes(
        {
            "cut": body[:middle],
            "flip": body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :],
            "empty": b"",
            "old": marshal.dumps({"policies": {}}),
        }[damage]
    )
    assert cache.read_cache(locations, strict=False) is None
    assert handles(locations) == ["one"]


def test_a_cache_of_other_locations_is_not_used(locations: Locations, tmp_path: Path) -> None:
    settle(locations)
    other = Locations.below(str(tmp_path / "other"))
    other.cache = locations.cache
    assert cache.read_cache(other, strict=False) is None


def test_without_a_cache_directory_everything_works(locations: Locations) -> None:
    Path(locations.cache).write_text("in the way")
    assert handles(locations) == ["one"]
    assert handles(locations) == ["one"]


def test_what_was_read_without_care_is_not_used_where_care_is_asked_for(locations: Locations) -> None:
    os.chmod(f"{locations.policies}/two.yaml", 0o666)
    settle(locations)
    assert handles(locations) == ["one"]
    with pytest.raises(ConfigurationError, match=r"two\.yaml can be written by others"):
        cache.load(locations, strict=True)


@pytest.mark.parametrize("which", ["policies", "config", "state", "above"])
def test_opening_a_directory_to_others_after_the_cache_was_made_is_noticed(locations: Locations, which: str) -> None:
    GrantStore(locations).grant("two", "user", "alice", "root")
    top = os.path.dirname(locations.config)
    os.chmod(top, 0o755)
    time.sleep(SETTLED)
    cache.load(locations, strict=True)
    assert cache.read_cache(locations, strict=True) is not None
    os.chmod(
        {"policies": locations.policies, "config": top, "state": locations.state, "above": os.path.dirname(top)}[which],
        0o777,
    )
    with pytest.raises(ConfigurationError, match="can be written by others"):
        cache.load(locations, strict=True)


HEAVY = {
    "yaml",
    "sqlite3",
    "jwt",
    "json",
    "re",
    "cryptography",
    "enum",
    "dataclasses",
    "typing",
    "collections",
    "contextlib",
}


def test_a_warm_load_imports_nothing_heavy(locations: Locations) -> None:
    settle(locations)
    program = (
        f"import sys; sys.path.insert(0, {os.getcwd()!r})\n"
        "from launcher.policy.paths import Locations\n"
        "from launcher.policy import cache, config, merge, model, paths, trust\n"
        "from launcher.identity import acting, os_user, registry, token_file, user\n"
        f"at = Locations.below({locations.policies[: -len('/policies')]!r})\n"
        "assert [p.handle for p in cache.load_for(at, user.User('alice'), 0)] == ['one']\n"
        "print(' '.join(sys.modules))"
    )
    run = [sys.executable, "-I", "-S", "-c", program]
    # The interpreter of the tests may not be the one that made the cache: the first run makes it its own.
    subprocess.run(run, check=True, capture_output=True)
    done = subprocess.run(run, check=True, capture_output=True, text=True)
    assert not HEAVY & set(done.stdout.split())
