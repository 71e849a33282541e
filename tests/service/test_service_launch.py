"""Jobs through a running service: as the tenant who the kernel says is calling, and with his rights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from launcher.errors import SandboxError
from launcher.service import received
from launcher.service.request import Request
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    import pwd
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")


@pytest.fixture
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    made.policy({"cmd": ["id", "true", "sleep"], "sh": True})
    made.start()
    yield made
    made.remove()


def launch(bed: Bed, user: pwd.struct_passwd, *command: str) -> tuple[dict[str, object], bytes]:
    """The result of a job and what it printed."""

    def run() -> tuple[dict[str, object], bytes]:
        reading, writing = os.pipe()
        request = Request()
        request.cwd, request.command = bed.workspace(user), list(command)
        null = os.open("/dev/null", os.O_RDONLY)
        answer = bed.client().call("launch", received.to_data(request), [null, writing, writing])
        os.close(writing)
        return answer["result"], os.read(reading, 1 << 16)

    made: tuple[dict[str, object], bytes] = as_user(user, run)
    return made


def test_a_tenant_launches_as_himself(bed: Bed) -> None:
    for user in (bed.alice, bed.bob):
        result, out = launch(bed, user, "id", "-u")
        assert (result["exit_code"], result["ended_by"]) == (0, "job")
        assert out.decode().strip() == str(user.pw_uid)
    ended = [event for event in bed.audit() if event["event"] == "job.ended"]
    assert [event["user"] for event in ended] == [bed.alice.pw_name, bed.bob.pw_name]


def test_a_tenant_cannot_launch_for_another(bed: Bed) -> None:
    def run() -> None:
        request = {"command": ["true"], "cwd": "/", "user": bed.bob.pw_name}
        bed.client().call("launch", request, [0, 1, 2])

    with pytest.raises(SandboxError, match="may not launch for") as caught:
        as_user(bed.alice, run)
    assert caught.value.status == 126
