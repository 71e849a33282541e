"""A remembered decision answers only the very question that was asked: whatever changes, it is not found."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from launcher.policy import cache
from launcher.policy.store import GrantStore
from launcher.service import remembered
from launcher.service.asking import Asked
from launcher.service.deciding import Decided
from launcher.service.environment import passing_names
from launcher.service.launching import Launch
from launcher.service.remembered import Memory
from launcher.service.request import Request

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from launcher.policy.paths import Locations

CODE = "the code of this test"
RUN: list[object] = ["/usr/bin/true", {"true": "/usr/bin/true"}]
ME = "applies_to: {{users: ['{name}', '#{uid}']}}, capabilities: {{cmd: [{commands}]{more}}}"


class Bed:
    """A root directory with one policy for whoever runs the tests."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.workspace = top / "workspace"
        self.workspace.mkdir()
        (top / "root" / "policies").mkdir(parents=True)
        self.request = self.asking("true")
        self.write("'true'")

    def write(self, commands: str, more: str = "") -> None:
        import pwd

        text = ME.format(name=pwd.getpwuid(os.getuid()).pw_name, uid=os.getuid(), commands=commands, more=more)
        (self.top / "root" / "policies" / "one.yaml").write_text(f"policy: {{{text}}}\n")

    def asking(self, *command: str, **rest: Any) -> Request:
        request = Request(root=str(self.top / "root"))
        request.workspace = str(self.workspace)
        request.command = command
        request.allow_degraded = True
        for name, value in rest.items():
            setattr(request, name, value)
        return request

    def asked(self, request: Request | None = None) -> Asked:
        return Asked(request or self.request)

    def settle(self) -> None:
        """Waits until the sources are old enough for the snapshot to come from its cache."""
        time.sleep(cache.RACY_NS / 1e9 + 0.03)
        self.asked()

    def keep(self, request: Request | None = None) -> Decided:
        asked = self.asked(request)
        decided = Decided(asked)
        Memory(asked, code=CODE).keep(decided.profile, RUN, passing_names(decided.profile.data, asked.request))
        return decided

    def finds(self, request: Request | None = None, code: str = CODE) -> bool:
        return Memory(self.asked(request), code=code).find() is not None

    @property
    def files(self) -> list[Path]:
        return sorted((self.top / "root" / "cache").glob("decision-*"))

    @property
    def locations(self) -> Locations:
        return self.asked().locations


@pytest.fixture
def bed(tmp_path: Path) -> Bed:
    made = Bed(tmp_path)
    made.settle()
    return made


def test_what_is_found_is_what_was_decided(bed: Bed) -> None:
    decided = bed.keep()
    found = Memory(bed.asked(), code=CODE).find()
    assert found is not None
    assert (found.profile.digest, found.profile.data) == (decided.profile.digest, decided.profile.data)
    assert found.run == RUN


def test_nothing_is_remembered_where_nothing_says_which_code_decides(bed: Bed) -> None:
    asked = bed.asked()
    Memory(asked, code="").keep(Decided(asked).profile, RUN, [])
    assert bed.files == []
    assert remembered.code_identity() == ""  # the tests run from a checkout


def _revoke(bed: Bed) -> None:
    import pwd

    GrantStore(bed.locations).revoke("one", "user", pwd.getpwuid(os.getuid()).pw_name, by="root")


CHANGES: dict[str, Callable[[Bed], object]] = {
    "the policy is edited": lambda bed: bed.write("'true', ls"),
    "the policy is removed": lambda bed: os.remove(bed.top / "root" / "policies" / "one.yaml"),
    "another policy appears": lambda bed: (bed.top / "root" / "policies" / "two.yaml").write_text(
        "policy: {deny: [sh]}"
    ),
    "a limit is configured": lambda bed: (bed.top / "root" / "config.yaml").write_text("limits: {max_processes: 3}"),
    "the policy is revoked": _revoke,
    "a manifest appears": lambda bed: (bed.workspace / "mlsandbox.yaml").write_text("needs: {file: true}"),
    "a manifest that is a dangling link": lambda bed: (bed.workspace / "mlsandbox.yaml").symlink_to("/nonexistent"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_source_is_seen_at_once(bed: Bed, change: str) -> None:
    bed.keep()
    assert bed.finds()
    CHANGES[change](bed)
    assert not bed.finds()
    bed.settle()  # nor when the new state has a snapshot of its own
    assert not bed.finds()


OTHERS: dict[str, dict[str, Any]] = {
    "another command": {"command": ("true", "now")},
    "a limit": {"limits": {"max_memory": "1GiB"}},
    "a variable": {"environment": {"LANG": "C"}},
    "nothing degraded": {"allow_degraded": False},
    "an ML program": {"program": "job.ml", "command": ()},
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_request_is_another_question(bed: Bed, other: str) -> None:
    bed.keep()
    assert not bed.finds(bed.asking(*bed.request.command, **OTHERS[other]))


def test_another_workspace_user_host_or_code_is_another_question(bed: Bed, tmp_path: Path) -> None:
    bed.keep()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert not bed.finds(bed.asking("true", workspace=str(elsewhere)))
    assert not bed.finds(code="other code")
    for change in (
        {"groups": ("wheel",)},
        {"roles": ("admin",)},
        {"home": "/"},
        {"name": "mallory"},
        {"method": "jwt"},
    ):
        asked = bed.asked()
        for name, value in change.items():
            setattr(asked.acting.user, name, value)
        assert Memory(asked, code=CODE).find() is None, change
    asked = bed.asked()
    asked.features = asked.features.replaced(landlock=1)
    assert Memory(asked, code=CODE).find() is None


def test_a_new_name_in_the_environment_is_another_question(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    bed.keep()
    monkeypatch.setenv("LC_SOMETHING_NEW", "x")
    assert not bed.finds()


def test_what_expires_is_not_remembered(bed: Bed) -> None:
    bed.write("'true'", ", file: [{patterns: ['data/**'], operations: [read], expires_at: '2199-01-01'}]")
    bed.settle()
    if not any("expires_at" in rule["constraints"] for rule in bed.keep().profile.data["permissions"]["grants"]):
        pytest.fail("the grant of this test does not expire")
    assert bed.files == []


def test_for_somebody_else_nothing_is_remembered(bed: Bed) -> None:
    asked = bed.asked()
    asked.acting.caller = type(asked.acting.user)("somebody", uid=0)
    Memory(asked, code=CODE).keep(Decided(bed.asked()).profile, RUN, [])
    assert bed.files == []


def test_a_file_that_others_could_have_written_is_not_believed(bed: Bed) -> None:
    bed.keep()
    (file,) = bed.files
    for mode in (0o620, 0o602, 0o666):
        file.chmod(mode)
        assert not bed.finds(), oct(mode)
    file.chmod(0o600)
    assert bed.finds()


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file away")
def test_a_file_of_another_owner_is_not_believed(bed: Bed) -> None:
    bed.keep()
    (file,) = bed.files
    os.chown(file, 65534, 65534)
    assert not bed.finds()


def test_a_link_is_not_followed(bed: Bed, tmp_path: Path) -> None:
    bed.keep()
    (file,) = bed.files
    file.rename(tmp_path / "moved")
    file.symlink_to(tmp_path / "moved")
    assert not bed.finds()


def test_damage_is_found(bed: Bed) -> None:
    bed.keep()
    (file,) = bed.files
    whole = file.read_bytes()
    for at in (0, 40, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not bed.finds(), at
    for size in (0, 10, 90, len(whole) - 1):
        file.write_bytes(whole[:size])
        assert not bed.finds(), size
    file.write_bytes(whole)
    assert bed.finds()


def test_an_answer_at_the_wrong_place_is_not_taken(bed: Bed) -> None:
    bed.keep()
    (file,) = bed.files
    other = bed.asking("true", "other")
    asked = bed.asked(other)
    memory = Memory(asked, code=CODE)
    os.rename(file, memory._path)  # as if two questions had fallen on one slot
    assert memory.find() is None


def test_the_digest_of_a_plan_is_remembered_for_that_very_plan(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the audit says was mounted is never what was mounted at another launch."""
    monkeypatch.setattr(remembered, "code_identity", lambda: CODE)
    first, second = Launch(bed.request), Launch(bed.request)
    assert isinstance(second.decided, remembered.Remembered)
    name = remembered.fingerprint(second.prepared.plan.to_data())
    assert second.decided.plan == (name, first.prepared.plan.digest())
    run, passing = second.decided.run, second.decided.passing
    Memory(bed.asked(), code=CODE).keep(first.decided.profile, run, passing, ("0" * 64, "sha256:of another plan"))
    third = Launch(bed.request)
    assert third._plan == third.prepared.plan.digest()
    kept = Memory(bed.asked(), code=CODE).find()
    assert kept is not None
    assert kept.plan == (name, third._plan)  # and the next launch need not compute it


@pytest.mark.parametrize(
    ("one", "other"), [([1], [True]), (["1"], [1]), (["a", "b"], ["ab"]), ([["a"], "b"], [["a", "b"]]), ([""], [None])]
)
def test_values_that_differ_have_other_fingerprints(one: list[object], other: list[object]) -> None:
    assert remembered.fingerprint(one) != remembered.fingerprint(other)
    assert remembered.fingerprint(one) == remembered.fingerprint(list(one))
