"""A token that `login` stored, through the service: it says who asks, for every verb, as it does without a service."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

import jwt
import pytest

from launcher.identity.token import LEEWAY_SECONDS
from tests.service.local_servers import private_file
from tests.serving import Bed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.kernel, pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")]
BOT = "mlsandbox-test-bot"  # nobody of this host
KEY = "a key of the identity provider's, 32 bytes and more"


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    """A service where alice may run `true`, and the bot, whose token she has, `id`."""
    made = Bed(installation)
    verifying(made)
    made.policy({"cmd": ["true"]}, made.alice, name="hers")
    with open(f"{made.root}/policies/bots.json", "w", encoding="utf-8") as file:
        json.dump({"policy": {"applies_to": {"roles": ["ci"]}, "capabilities": {"cmd": ["id"]}}}, file)
    made.start()
    yield made
    made.run(made.alice, "logout")
    print(made.log())
    made.remove()


@pytest.fixture
def logged_in(bed: Bed) -> Iterator[Bed]:
    login(bed, signed())
    yield bed
    bed.run(bed.alice, "logout")


def verifying(bed: Bed) -> None:
    bed.config(json.dumps({"jwt": {"algorithm": "HS256", "key_file": private_file(f"{bed.root}/key", KEY, 0, 0)}}))


def signed(seconds: int = 600, key: str = KEY) -> str:
    now = int(time.time())
    return jwt.encode({"sub": BOT, "roles": ["ci"], "iat": now - 60, "exp": now + seconds}, key, "HS256")


def login(bed: Bed, token: str) -> None:
    """As alice, who cannot read the key: it is the service that verifies."""
    path = private_file(f"{bed.workspace(bed.alice)}/token.jwt", token, bed.alice.pw_uid, bed.alice.pw_gid)
    ran = bed.run(bed.alice, "login", "--token-file", path)
    assert (ran.returncode, ran.stdout) == (0, f"logged in as {BOT}\n".encode()), ran


def whoami(bed: Bed, *words: str) -> dict[str, object]:
    ran = bed.run(bed.alice, "whoami", "--json", *words)
    assert ran.returncode == 0, ran
    found: dict[str, object] = json.loads(ran.stdout)
    return found


def test_the_stored_token_says_who_asks_for_every_verb(logged_in: Bed) -> None:
    bed = logged_in
    assert (whoami(bed)["name"], whoami(bed)["policies"]) == (BOT, ["bots"])
    ran = bed.run(bed.alice, "launch", "--", "id", "-u")
    assert ran.returncode == 0, ran
    assert int(ran.stdout) not in {0, bed.alice.pw_uid}
    assert bed.run(bed.alice, "launch", "--", "true").returncode == 126  # that is alice's
    for verb in ("check", "explain"):
        assert bed.run(bed.alice, verb, "--", "id").returncode == 0, verb
    assert bed.run(bed.alice, "check", "--", "true").returncode == 126
    submitted = bed.run(bed.alice, "submit", "--wait", "--", "id")
    assert submitted.returncode == 0, submitted
    jobs = [json.loads(line) for line in bed.run(bed.alice, "jobs", "--json").stdout.splitlines()]
    assert jobs
    ended = [event for event in bed.audit() if event["event"] == "job.ended"]
    assert {(event["user"], event["actor"]) for event in ended} == {(BOT, BOT)}


def test_without_it_the_kernel_says(logged_in: Bed) -> None:
    bed = logged_in
    assert bed.run(bed.alice, "logout").returncode == 0
    assert (whoami(bed)["name"], whoami(bed)["policies"]) == (bed.alice.pw_name, ["hers"])
    assert bed.run(bed.alice, "launch", "--", "true").returncode == 0
    assert whoami(bed, "--token", signed())["name"] == BOT


def test_a_token_of_another_signer_is_refused_and_not_stored(bed: Bed) -> None:
    """Attack: a tenant writes a token for himself, with any role in it."""
    forged = signed(key="another key that is as long as it must be....")
    path = private_file(f"{bed.workspace(bed.alice)}/forged", forged, bed.alice.pw_uid, bed.alice.pw_gid)
    assert bed.run(bed.alice, "login", "--token-file", path).returncode != 0
    assert whoami(bed)["name"] == bed.alice.pw_name
    refused = bed.run(bed.alice, "launch", "--token", forged, "--", "id")
    assert refused.returncode == 126 and forged.encode() not in refused.stderr


def test_a_stored_token_that_has_expired_is_no_return_to_the_kernels_name(bed: Bed) -> None:
    login(bed, signed(2 - LEEWAY_SECONDS))
    try:
        time.sleep(3)
        ran = bed.run(bed.alice, "launch", "--", "true")
        assert ran.returncode == 126 and b"Token expired" in ran.stderr, ran
    finally:
        bed.run(bed.alice, "logout")


def test_where_tokens_are_no_longer_verified_a_stored_one_does_not_count(logged_in: Bed) -> None:
    bed = logged_in
    bed.config("{}")
    try:
        assert whoami(bed)["name"] == bed.alice.pw_name
        assert bed.run(bed.alice, "launch", "--", "true").returncode == 0
    finally:
        verifying(bed)
    assert whoami(bed)["name"] == BOT


def test_each_tenant_has_his_own(logged_in: Bed) -> None:
    ran = logged_in.run(logged_in.bob, "whoami", "--json")
    assert json.loads(ran.stdout)["name"] == logged_in.bob.pw_name, ran
