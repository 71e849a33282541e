"""The supervisor of one job: hands over descriptors, carries bytes, keeps the clock, and reports how it ended.

A `Supervision` is a state machine: it says what it waits for (`wants`, `timeout_ms`) and is told what came (`ready`,
`check_limits`), so that one thread can have one job (`supervise`, with poll(2)) or many (the service, with epoll).
When the process that has it dies, however it dies, pid 1 of the sandbox reads end-of-file and the kernel ends all of
the job.
"""

from __future__ import annotations

import _signal
import os
import select
import time

from launcher.enforce.namespace import channel as messages
from launcher.enforce.namespace.bounded import full
from launcher.enforce.namespace.fork import spawn
from launcher.enforce.namespace.pumps import Output
from launcher.errors import EnforcementError, NotFoundError, RefusedError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.enforce.namespace.cgroup import Cgroup
    from launcher.enforce.namespace.channel import Channel
    from launcher.enforce.namespace.console import Console
    from launcher.enforce.namespace.pumps import Input
    from launcher.enforce.namespace.spec import Spec
    from launcher.enforce.result import Result

_FORWARDED = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT, _signal.SIGUSR1, _signal.SIGUSR2)
_SIGWINCH = 28
_PASSED = frozenset([*_FORWARDED, _signal.SIGSTOP, _signal.SIGCONT])
_DRAIN_NS = 2_000_000_000  # how long the last output may take to be read by the caller after the job has ended
_ENOENT = 2
_LIMIT_SIGNALS = {24: "max_cpu_time", 25: "max_file_size"}  # SIGXCPU, SIGXFSZ: setrlimit(2)
_CPU_CHECK_NS = 200_000_000


class Supervision:
    """One job from its building to its end. `begin`, then what came until `over`, then `stop`, and when pid 1 is gone
    `account`. `prepare` is called with the scratch's descriptor before staged areas are mounted, and `before_start`
    when nothing but the start of the job is left to do.

    `ready` and `check_limits` raise EnforcementError, NotFoundError, RefusedError where nothing was run.
    """

    def __init__(
        self,
        spec: Spec,
        console: Console,
        cgroup: Cgroup | None,
        result: Result,
        limits: dict[str, int | None],
        prepare: Callable[[int], None],
    ) -> None:
        self._spec = spec
        self._console = console
        self._cgroup = cgroup
        self._result = result
        self._limits = limits
        self._prepare = prepare
        self._began = time.monotonic_ns()
        self._deadline: int | None = None
        self._max_cpu_us: int | None = None
        self._cpu_check: int | None = None
        self._building = True
        self._ended = False
        self._until = 0  # how long what the job has said may take to be read, once it has ended
        self._pid = 0
        self._kill: Callable[[], None] = self._kill_pid
        self._control: Channel | None = None
        self.scratch = -1

    def begin(self, pid: int, control: Channel, kill: Callable[[], None] | None = None) -> None:
        """Takes over pid 1 of the sandbox, which is being built. `kill` ends it where it is no child of ours."""
        self._pid, self._control = pid, control
        self._kill = kill or self._kill_pid
        if self._cgroup:
            self._cgroup.attach(pid)

    def _kill_pid(self) -> None:
        os.kill(self._pid, _signal.SIGKILL)

    # -- what is waited for -------------------------------------------------------------------------------------------

    @property
    def over(self) -> bool:
        """Whether the job has ended and what it said was read, or not in time."""
        if not self._ended:
            return False
        return time.monotonic_ns() >= self._until or not any(pump.wants() for pump in self._outputs())

    @property
    def building(self) -> bool:
        return self._building

    def wants(self) -> dict[int, int]:
        """Descriptors and the poll(2) events to wait for on each. Changes with everything that happens."""
        wanted: dict[int, int] = {}
        if self._control and not self._ended:
            wanted[self._control.fileno()] = select.POLLIN
        if not self._building:
            for source in (self._spec.network, self._spec.observer):
                if source and source.fileno() >= 0:
                    wanted[source.fileno()] = select.POLLIN
            pumps: list[Input | Output] = [*self._outputs()] if self._ended else self._console.pumps
            for pump in pumps:
                for fd, events in pump.wants():
                    wanted[fd] = wanted.get(fd, 0) | events
        return wanted

    def timeout_ms(self) -> int | None:
        """How long to wait at most, None for as long as it takes."""
        if self._ended:
            return 50
        if self._deadline is None and self._cpu_check is None:
            return None
        due = min([moment for moment in (self._deadline, self._cpu_check) if moment is not None])
        return max(0, (due - time.monotonic_ns()) // 1_000_000 + 1)

    # -- what came ----------------------------------------------------------------------------------------------------

    def ready(self, fd: int) -> None:
        """`fd`, one of those of `wants`, is ready."""
        network, observer = self._spec.network, self._spec.observer
        if self._control and fd == self._control.fileno():
            self._told(self._control)
        elif network and fd == network.fileno():
            network.read()
        elif observer and fd == observer.fileno():
            observer.read()
        else:
            for pump in self._console.pumps:
                if any(fd == wanted for wanted, _events in pump.wants()):
                    pump.ready(fd)

    def _told(self, control: Channel) -> None:
        kind, values, descriptors = control.receive()
        if self._building:
            self._built(control, kind, values, descriptors)
        else:
            self._ran(kind, values, descriptors)

    def _built(self, control: Channel, kind: str, values: tuple[object, ...], descriptors: list[int]) -> None:
        if kind == messages.SCRATCH:
            self.scratch = descriptors[0]
            self._prepare(self.scratch)
            control.send(messages.PREPARED)
        elif kind == messages.LISTENERS and self._spec.network:
            self._spec.network.in_launcher(control.socket)
        elif kind == messages.READY:
            self._start(control)
        else:
            self._failed(kind, values)

    def _start(self, control: Channel) -> None:
        wall = self._limits.get("max_wall_time")
        cpu = self._limits.get("max_cpu_time")
        self._max_cpu_us = None if cpu is None else cpu * 1_000_000
        self._building = False
        control.send(messages.GO)
        self._deadline = None if wall is None else time.monotonic_ns() + wall * 1_000_000_000
        if self._max_cpu_us is not None and self._cgroup:
            self._check_cpu(time.monotonic_ns())
        self._console.started()

    def _failed(self, kind: str, values: tuple[object, ...]) -> None:
        if kind == messages.FAILED:
            step, subject, number, hint = values
            raise EnforcementError(str(step), str(subject), int(str(number)), hint=str(hint))
        if kind == messages.NOT_STARTED:
            number, path = int(str(values[0])), str(values[1])
            if number == _ENOENT:
                raise NotFoundError(f"cannot run {path}: it does not exist in the job's view")
            raise RefusedError(
                f"cannot run {path}: {os.strerror(number)}", hint="the file, or its interpreter, is not granted"
            )
        raise EnforcementError("keep", "the sandbox's init", hint="it ended before the job did")

    def _outputs(self) -> list[Output]:
        return [pump for pump in self._console.pumps if isinstance(pump, Output)]

    def check_limits(self) -> None:
        """To be called after each wait: ends the job whose time is over."""
        if self._ended:
            return
        now = time.monotonic_ns()
        if self._deadline is not None and now >= self._deadline:
            self._end("max_wall_time")
        elif self._cpu_check is not None and now >= self._cpu_check:
            self._check_cpu(now)

    def _check_cpu(self, now: int) -> None:
        """Looks again when the limit can have been reached at the earliest, on all processors."""
        left = (self._max_cpu_us or 0) - ((self._cgroup.cpu_time_us() or 0) if self._cgroup else 0)
        if left < 0:
            self._end("max_cpu_time")
        else:
            self._cpu_check = now + max(_CPU_CHECK_NS, left * 1000 // (os.cpu_count() or 1))

    def _end(self, limit: str) -> None:
        self._kill()
        self._result.ended(_signal.SIGKILL)
        self._result.limited(limit)
        self._at_end()

    def _at_end(self) -> None:
        self._ended = True
        self._until = time.monotonic_ns() + _DRAIN_NS

    def cancel(self) -> None:
        """Ends the job, which is running."""
        if not self._ended:
            self._kill()
            self._result.ended(_signal.SIGKILL)
            self._at_end()

    def signal(self, number: int) -> None:
        """Passes a signal of the caller on to the job; SIGWINCH copies the size of the caller's terminal."""
        if number == _SIGWINCH:
            self._console.resize()
        elif number in _PASSED and self._control and not self._ended:
            self._control.send(messages.SIGNAL, (number,))

    def _ran(self, kind: str, values: tuple[object, ...], descriptors: list[int]) -> None:
        if kind == messages.TERMINAL:
            self._console.attach_terminal(descriptors[0])
        elif kind == messages.LISTENER and self._spec.observer:
            self._spec.observer.start(descriptors[0])
        elif kind == messages.ATTEMPTED and self._spec.observer:
            self._spec.observer.executed(str(values[1]), str(values[0]))
        elif kind == messages.REFUSED_EXEC:
            file, line, reason, places = values
            refused = {"file": file, "command": line, "reason": reason, "places": places}
            self._result.refused_execs.append(refused)
        elif kind == messages.ENDED:
            status, user, system, rss = (int(str(value)) for value in values[:4])
            self._result.ended(status)
            limit = _LIMIT_SIGNALS.get(self._result.signal or 0)
            if limit and self._limits.get(limit) is not None:
                self._result.limited(limit)
            self._result.usage.user_us, self._result.usage.system_us = user, system
            self._result.usage.peak_memory = rss
            for name in values[4:]:
                self._result.hit(str(name))
            self._at_end()
        elif not kind and self._cgroup and self._cgroup.out_of_memory():
            # memory that no process holds (a full tmpfs) makes the kernel choose among all, pid 1 included
            self._result.ended(_signal.SIGKILL)
            self._result.limited("max_memory")
            self._at_end()
        else:
            self._failed(kind, values)

    # -- the end ------------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Gives the terminal back, and ends pid 1 where it has not ended. Safe to call twice."""
        self._console.restore()
        if self._control:
            self._control.close()
            self._control = None
            if not self._ended:
                self._kill()

    def account(self) -> None:
        """When pid 1 is gone, and with it every process of the sandbox: what the job used."""
        if self._spec.observer:
            self._spec.observer.stop()
            self._result.observed, self._result.observing = self._spec.observer.rows, self._spec.observer.costs
        usage = self._result.usage
        usage.wall_us = (time.monotonic_ns() - self._began) // 1000
        usage.output_bytes = self._console.budget.passed
        usage.output_dropped = self._console.budget.dropped
        if usage.output_dropped:
            self._result.hit("max_output")
        if self.scratch >= 0:
            named = [limit for limit in ("max_disk", "max_files") if self._limits.get(limit) is not None]
            for limit in full([(self.scratch, named)]):
                self._result.hit(limit)
        if self._cgroup:
            self._account(self._cgroup)

    def _account(self, cgroup: Cgroup) -> None:
        peak = cgroup.peak_memory()
        self._result.usage.peak_memory = peak or self._result.usage.peak_memory
        if cgroup.out_of_memory() and self._result.signal == _signal.SIGKILL and self._result.limit is None:
            self._result.limited("max_memory")
        counts = {"max_memory": cgroup.out_of_memory(), "max_processes": cgroup.refused_forks() > 0}
        for limit in (limit for limit, reached in counts.items() if reached):
            self._result.hit(limit)
        cgroup.remove()


def supervise(
    supervision: Supervision,
    spec: Spec,
    cgroup: Cgroup | None,
    before_start: Callable[[], Callable[[], None] | None],
    *,
    spawn: Callable[[Spec, Cgroup | None], tuple[int, Channel]] = spawn,
    kill: Callable[[Channel], Callable[[], None]] | None = None,
) -> None:
    """Runs one job to its end in this process. Raises EnforcementError, NotFoundError, RefusedError.

    `kill` makes, of the channel, what ends a job whose processes do not end with the first of them.
    """
    woken = _catch_signals()
    settle = before_start()  # what it computes is computed before the fork, after which each page is copied
    pid, control = spawn(spec, cgroup)
    try:
        supervision.begin(pid, control, kill(control) if kill else None)
        if settle:
            settle()  # while the sandbox is built: it is the start of the job that must wait for it
        while not supervision.over:
            _wait_once(supervision, woken)
    finally:
        supervision.stop()
        os.waitpid(pid, 0)  # when it returns, the kernel has ended every process of the sandbox
        supervision.account()


def _wait_once(supervision: Supervision, woken: int) -> None:
    poll = select.poll()
    if not supervision.building:  # a signal that comes earlier waits in the pipe
        poll.register(woken, select.POLLIN)
    for fd, events in supervision.wants().items():
        poll.register(fd, events)
    for fd, _events in poll.poll(supervision.timeout_ms()):
        if fd != woken:
            supervision.ready(fd)
            continue
        for number in os.read(woken, 512):
            supervision.signal(number)
    supervision.check_limits()


def _catch_signals() -> int:
    """Signals become bytes on a pipe (the returned descriptor), read by the one poll."""
    woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    for number in (*_FORWARDED, _SIGWINCH):
        _signal.signal(number, lambda *_: None)
    return woken
