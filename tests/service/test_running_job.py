"""A job of the service has an end that is told, also where something of ours fails in a way that nobody foresaw."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from launcher.errors import EnforcementError
from launcher.service import running_job
from launcher.service.loop import Loop
from launcher.service.running_job import RunningJob

if TYPE_CHECKING:
    from collections.abc import Callable


class Told:
    """The tenant's process, as far as a job tells it of its end."""

    def __init__(self) -> None:
        self.outcomes: list[dict[str, Any]] = []

    def ended(self, _job: str, outcome: dict[str, Any]) -> None:
        self.outcomes.append(outcome)


class Part:
    """A launch and its supervision, of which everything does what `finish` and `account` say."""

    def __init__(self, finish: Callable[[], None], account: Callable[[], None]) -> None:
        self.account = account
        self._finish = finish
        self.over = False
        self.stopped = False

    def finish(self, *_: object) -> None:
        self._finish()

    def give_up(self, _error: object) -> None: ...
    def close(self) -> None: ...

    def stop(self) -> None:
        self.stopped = True


class Waiting:
    """The pidfd of a process that has ended."""

    def __init__(self) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            os._exit(0)
        self.pidfd = os.pidfd_open(self.pid)


def job_with(part: Part, monkeypatch: pytest.MonkeyPatch) -> tuple[RunningJob, Told, list[BaseException]]:
    monkeypatch.setattr(running_job, "close", lambda _sandbox: None)
    told, failures = Told(), list[BaseException]()
    loop = Loop()
    loop.failed = failures.append
    job = RunningJob.__new__(RunningJob)
    job._tenant, job._loop, job._fds, job.id = told, loop, [], "j"  # type: ignore[assignment]
    job._watched, job._eager, job._timer, job._error, job._gone = {}, set(), None, None, False
    job.launch = job._supervision = part  # type: ignore[assignment]
    job.sandbox = job.result = None  # type: ignore[assignment]
    job._waiting = Waiting()  # type: ignore[assignment]
    return job, told, failures


def nothing() -> None: ...


def raises(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyError("x"), UnicodeError("bad")])
@pytest.mark.parametrize("where", ["finish", "account"])
def test_an_end_that_fails_is_told_all_the_same(error: Exception, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(**{"finish": nothing, "account": nothing, where: raises(error)})
    job, told, failures = job_with(part, monkeypatch)
    job._stop()
    job._loop.turn()
    assert failures == [error]
    assert type(error).__name__ in told.outcomes[0]["error"]["message"]
    os.waitpid(job._waiting.pid, 0)


def test_a_job_whose_supervision_fails_is_ended_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would run on with nobody to hold it to its limits."""
    part = Part(nothing, nothing)
    job, told, failures = job_with(part, monkeypatch)
    job._guarded(raises(ValueError("marshal data")))
    job.sync()
    assert part.stopped
    job._loop.turn()
    assert len(failures) == len(told.outcomes) == 1
    os.waitpid(job._waiting.pid, 0)


def test_an_expected_failure_keeps_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    part = Part(raises(EnforcementError("commit", "staged writes", 28)), nothing)
    job, told, failures = job_with(part, monkeypatch)
    job._stop()
    job._loop.turn()
    assert failures == []
    assert "staged writes" in told.outcomes[0]["error"]["message"]
    os.waitpid(job._waiting.pid, 0)
