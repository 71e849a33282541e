"""`from launcher import Service, launch`: what a Python program may ask for, with a service and without."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from launcher import Service, launch
from launcher.errors import SandboxError, UsageError
from tests.serving import Bed, as_user

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.sandboxed import Host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the service is root's")


@pytest.fixture(scope="module")
def bed(installation: str) -> Iterator[Bed]:
    made = Bed(installation)
    made.policy({"cmd": ["id", "true", "sleep", "cat"], "sh": True})
    made.start()
    yield made
    print(made.log())
    made.remove()


def test_a_command_runs_to_its_end(bed: Bed) -> None:
    def run() -> tuple[int, bytes, bytes]:
        done = launch(["sh", "-c", "cat; echo oops >&2; exit 4"], stdin=b"x" * 300_000, root=bed.root, cwd="/")
        return done.exit_code, done.stdout, done.stderr

    assert as_user(bed.alice, run) == (4, b"x" * 300_000, b"oops\n")


def test_output_comes_while_the_job_runs_and_it_can_be_ended(bed: Bed) -> None:
    def run() -> tuple[bytes, int, int | None]:
        with Service(bed.root).start(["sh", "-c", "echo first; sleep 600"], cwd="/") as job:
            line = job.stdout.readline()
            job.kill()
            result = job.wait()
            return line, result.exit_code, result.signal

    assert as_user(bed.alice, run) == (b"first\n", 137, signal.SIGKILL)


def test_closing_the_handle_ends_the_job(bed: Bed) -> None:
    def run() -> None:
        with Service(bed.root).start(["sleep", "641"], cwd="/"):
            pass

    as_user(bed.alice, run)
    until = time.monotonic() + 5
    while subprocess.run(["pgrep", "-x", "-f", "sleep 641"], capture_output=True, check=False).returncode == 0:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_asyncio_runs_many_at_a_time(bed: Bed) -> None:
    async def many() -> list[bytes]:
        service = Service(bed.root)
        jobs = [service.launch_async(["sh", "-c", f"sleep 0.2; cat; echo {n}"], stdin=b"<", cwd="/") for n in range(8)]
        return [done.stdout for done in await asyncio.gather(*jobs)]

    assert as_user(bed.alice, lambda: asyncio.run(many())) == [f"<{n}\n".encode() for n in range(8)]


def test_asyncio_streams_lines(bed: Bed) -> None:
    async def stream() -> tuple[list[bytes], int]:
        job = await Service(bed.root).start_async(["sh", "-c", "echo a; echo b; exit 3"], cwd="/")
        lines = [line async for line in job.lines()]
        result = await job.wait()
        job.close()
        return lines, result.exit_code

    assert as_user(bed.alice, lambda: asyncio.run(stream())) == ([b"a\n", b"b\n"], 3)


def test_refusals_are_errors_with_their_status(bed: Bed) -> None:
    with pytest.raises(SandboxError) as caught:
        as_user(bed.alice, lambda: Service(bed.root).launch(["ls"], cwd="/"))
    assert caught.value.status == 126
    with pytest.raises(SandboxError, match="command not found"):
        as_user(bed.alice, lambda: Service(bed.root).launch(["nothing-of-this-name"], cwd="/"))
    assert as_user(bed.alice, lambda: Service(bed.root).check(["id"], cwd="/"))["declared"] == []


def test_what_is_neither_a_program_nor_a_command_is_refused() -> None:
    with pytest.raises(UsageError, match="no ML program"):
        launch("ls -l")


def test_without_a_service_this_process_launches(host: Host) -> None:
    host.policy({"cmd": ["cat"], "sh": True})

    def run() -> tuple[int, bytes]:
        done = launch(["sh", "-c", "cat; exit 5"], stdin=b"given", root=host.root, cwd=host.workspace,
                      allow_degraded=True)  # fmt: skip
        return done.exit_code, done.stdout

    import pwd

    assert as_user(pwd.getpwuid(host.uid), run) == (5, b"given")
    with pytest.raises(SandboxError, match="no service"):
        Service(host.root).launch(["true"])
