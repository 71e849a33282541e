"""Making a decided launch: plan, audit, run, commit, report. The launcher that runs as the caller (embedded mode).

The record of the launch is on disk before the job's image starts; where it cannot be written nothing is run, unless
the configuration says otherwise.
"""

from __future__ import annotations

import os
import time

from launcher.audit.event import ALLOWED, DENIED, event
from launcher.audit.log import AuditLog
from launcher.canonical import digest
from launcher.enforce.job import Job
from launcher.enforce.namespace.backend import Prepared, Sandbox, run
from launcher.enforce.result import Result
from launcher.errors import AuditError, IdentityError, RefusedError, SandboxError
from launcher.service.asking import Asked
from launcher.service.command import command_file, refuse_ungranted
from launcher.service.environment import job_environment, passing_names
from launcher.service.host_ids import service_identity
from launcher.service.leftovers import sweep
from launcher.service.remembered import Memory, Remembered, fingerprint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from launcher.enforce.confined.backend import Confined
    from launcher.enforce.namespace.spec import Identity
    from launcher.service.asking import Served
    from launcher.service.deciding import Decided
    from launcher.service.egress import Egress
    from launcher.service.renewing import Renewal
    from launcher.service.request import Request

NAMESPACES = "sandbox.user_namespaces"  # the requirement without which there is no view of the job's own
_JOB_ID_BYTES = 8
_MOST_UNWRITTEN = 10_000


def new_id() -> str:
    """The id of a job that was not there before."""
    return os.urandom(_JOB_ID_BYTES).hex()


class Launch:
    """One launch, decided and planned; `run` makes it. The plan is what `--dry-run` prints, and what is executed."""

    __slots__ = ("_deciding_us", "_egress", "_log", "_ml", "_plan", "_unwritten", "decided", "id", "job", "prepared")

    def __init__(self, request: Request, served: Served | None = None) -> None:
        """`served` is given by the service; otherwise this process is who asks. Raises SandboxError."""
        self.id = served.job if served else new_id()
        began = time.monotonic_ns()
        try:
            asked = Asked(request, served)
        except IdentityError as error:
            _record_stranger(request, error)
            raise
        self._log = served.log if served else AuditLog(asked.locations, asked.snapshot.config)
        self._plan = ""
        self._ml: MlProgram | None = None
        self._egress: Egress | None = None
        self._unwritten: list[dict[str, object]] = []  # events of the running job that the log did not take
        try:
            if not served:  # the service tidied up when it started
                sweep(asked.locations, self._log)
            memory = Memory(asked)
            self.decided: Decided | Remembered = memory.find() or _decide(asked)
            passing = self._passing()
            self.job = self._job(passing)
            self.prepared: Prepared | Confined = self._prepare(asked.locations.cache)
            if not request.program:
                run = self._resolve_command()
                self._plan = self._plan_digest(memory, run, passing)
            self._deciding_us = (time.monotonic_ns() - began) // 1000
        except SandboxError as error:
            self._stop_egress()
            self._record_refusal(asked, error)
            raise

    def _plan_digest(self, memory: Memory, run: list[object], passing: list[str]) -> str:
        """The digest of the plan: of one that was made before, where this is the same; else it is computed and kept."""
        data = self.prepared.plan.to_data()
        name = fingerprint(data)
        if isinstance(self.decided, Remembered) and self.decided.plan[0] == name:
            return self.decided.plan[1]
        made = digest(data)
        memory.keep(self.decided.profile, run, passing, (name, made))
        return made

    def _prepare(self, cache: str) -> Prepared | Confined:
        """The sandbox, planned: with namespaces, or without where the host has none and the operator accepted it."""
        profile = self.decided.profile.data
        if profile["unenforced"] and any(row["permission"] == NAMESPACES for row in profile["unenforced"]):
            from launcher.enforce.confined.backend import Confined

            return Confined(profile, self.job, cache)
        return Prepared(profile, self.job, cache)

    def _passing(self) -> list[str]:
        if isinstance(self.decided, Remembered):
            return self.decided.passing
        return passing_names(self.decided.profile.data, self.decided.asked.request)

    def _job(self, passing: list[str]) -> Job:
        asked = self.decided.asked
        request = asked.request
        job = Job(self.id, asked.identity, "", request.command)
        job.switch_ids = os.geteuid() == 0
        # root's own jobs run with an id of the range, and what they were granted to write is written as root
        job.mapped = job.switch_ids and asked.acting.user.uid == 0
        job.writer = asked.identity if job.switch_ids and asked.acting.user.uid != 0 else None
        job.stdio = request.stdio
        job.terminal = request.terminal
        job.review = request.review
        job.environment = job_environment(self.decided.profile.data, request, passing)
        if request.trace_denials:
            from launcher.service.tracing import observing

            job.observes = observing(self.decided.profile.data, asked)
        network = self.decided.profile.data["network"]
        if network["egress"] and asked.features.user_namespaces:
            self._egress = job.network = self._connect(asked, network)
            job.etc = self._egress.files()
            job.environment.update(self._egress.environment())
        if request.program:
            from launcher.service.ml import MlProgram

            self._ml = MlProgram(self.decided)
            self._ml.fill(job)
        return job

    def _connect(self, asked: Asked, network: dict[str, Any]) -> Egress:
        from launcher.service.egress import Egress
        from launcher.service.egress_settings import Settings

        settings = Settings(asked.snapshot.config.egress, network, self.id)
        made = Egress(settings, network, self._proxy_identity(asked), asked.locations.cache, self._record_egress)
        read = time.time_ns()
        made.follow(lambda: _renewal(self.decided, read))
        return made

    def _proxy_identity(self, asked: Asked) -> Identity | None:
        """Ids for the proxy that are nobody else's: no tenant may look into it, nor it into a tenant."""
        if os.geteuid() != 0:
            return None
        return service_identity("egress proxy", asked.locations, asked.snapshot.config.id_range)

    def _resolve_command(self) -> list[object]:
        """Sets the image that the command names, held against the permissions, and returns what was held against them:
        the canonical file, and those of the granted names. Raises NotFoundError, RefusedError.
        """
        command = list(self.job.arguments)
        programs = self.prepared.programs
        path = command_file(command, self.decided.asked.workspace, programs)
        resolved = programs.resolved()
        run: list[object] = [path, resolved]
        if not isinstance(self.decided, Remembered) or self.decided.run != run:
            refuse_ungranted(command, path, resolved, lambda: self.permissions, programs.kind(path))
        self.job.path = path
        return run

    @property
    def permissions(self) -> Permissions:
        from launcher.capability.permissions import Permissions

        return Permissions.from_data(self.decided.profile.data["permissions"])

    def run(self) -> Result:
        """Runs the job to its end. Raises SandboxError where it could not be started."""
        result = self._result()
        try:
            if self._egress:
                self._egress.start()
            if isinstance(self.prepared, Prepared):
                run(self.prepared, result, self.record_start, self.journals)
            else:
                self.prepared.run(result, self.record_start)
        except SandboxError as error:
            self._record_refusal(self.decided.asked, error)
            raise
        finally:
            self._stop_egress()
        self.record_end(result)
        return result

    def _result(self) -> Result:
        result = Result(self.id, self.decided.profile.digest)
        result.unenforced = self.decided.profile.data["unenforced"]
        result.usage.deciding_us = self._deciding_us
        return result

    @property
    def journals(self) -> str:
        """The directory for the records of commits."""
        return f"{self.decided.asked.locations.state}/journals"

    # -- the same in pieces, for the service, which has many at a time ------------------------------------------------

    def sandbox(self) -> tuple[Sandbox, Result]:
        """What `run` runs, not begun; then `record_start`, its supervision, and `finish`. Raises SandboxError."""
        result = self._result()
        if not isinstance(self.prepared, Prepared):  # tenants are kept apart by what is missing here
            raise RefusedError(
                "the service runs no job without namespaces", hint="`mlsandbox doctor` says what to allow"
            )
        if self._egress:
            self._egress.start()
        return Sandbox(self.prepared, result), result

    def finish(self, sandbox: Sandbox, result: Result) -> None:
        """When pid 1 is gone: commits, ends the proxy, records. Raises SandboxError."""
        try:
            sandbox.commit(result, self.journals)
        finally:
            self._stop_egress()
        self.record_end(result)

    def _stop_egress(self) -> None:
        """Ends the proxy, which may run before the sandbox is planned: the authority that it made is in the view."""
        if self._egress:
            self._egress.stop()

    def close(self) -> None:
        """Ends the proxy, and closes what was opened to be passed to the job, in a process that goes on. Safe to call
        twice.
        """
        self._stop_egress()
        for fd, _number in self.job.passed:
            os.close(fd)
        self.job.passed = ()

    def give_up(self, error: SandboxError) -> None:
        """Nothing was run: ends the proxy and records the refusal."""
        self._stop_egress()
        self._record_refusal(self.decided.asked, error)

    # -- the audit trail ----------------------------------------------------------------------------------------------

    def _who(self, asked: Asked) -> dict[str, str]:
        return {"user": asked.acting.user.name, "actor": asked.acting.caller.name, "job": self.id, "trace": self.id}

    def record_start(self) -> Callable[[], None]:
        """Writes the record of the launch; the wait until it is on disk."""
        profile = self.decided.profile
        detail: dict[str, object] = {
            "argv": list(self._shown()),
            "profile": profile.digest,
            "plan": self._plan or self.prepared.plan.digest(),
            "policies": profile.data["policies"],
            "uid": self.job.identity.uid,
            "workspace": profile.data["workspace"],
        }
        if profile.data["unenforced"]:
            detail["unenforced"] = [row["permission"] for row in profile.data["unenforced"]]
        if profile.data["syscalls"]["add"]:
            detail["syscalls"] = profile.data["syscalls"]["add"]
        started = event("launch", "policy", ALLOWED, resource=self._name(), detail=detail)
        started["deciders"] = [{"policy": policy["handle"]} for policy in profile.data["policies"]]
        self._log.append([{**started, **self._who(self.decided.asked)}], sync=False)
        return self._log.settle

    def _record_refusal(self, asked: Asked, error: SandboxError) -> None:
        detail: dict[str, object] = {"reason": str(error)[:4000], "argv": list(self._shown(asked))}
        refused = event("launch", "policy", DENIED, resource=self._name(asked), detail=detail)
        refused["deciders"] = [{"place": error.place}] if error.place else []
        try:
            self._log.append([{**refused, **self._who(asked)}])
            failure = self._log.failure
        except AuditError as raised:  # nothing ran; what was refused, and its status, is what the caller must hear
            failure = raised
        if failure and failure.message != error.message:
            error.hint = f"{error.hint}\nthis refusal is not in the audit log: {failure.message}".lstrip()

    def record_end(self, result: Result) -> None:
        detail: dict[str, object] = {
            "exit_code": result.exit_code,
            "ended_by": result.ended_by,
            "limit": result.limit,
            "limits_hit": result.limits_hit,
            "usage": result.usage.to_data(),
        }
        who = self._who(self.decided.asked)
        events = self._ml.events(who, result) if self._ml else []
        events += [{**_commit_event(entry), **who} for entry in (*result.committed, *result.refused)]
        if result.review:
            events.append({**self._review_event(result), **who})
        events += [{**_exec_event(refused), **who} for refused in result.refused_execs]
        if self._egress:
            result.egress = self._egress.totals
            events = [*self._unwritten, *events]
        events += [{**self._limit_event(limit, ended=limit == result.limit), **who} for limit in result.limits_hit]
        if result.observed:
            from launcher.service.tracing import observed_event

            events += [{**observed_event(row), **who} for row in result.observed]
        self._gather_denials(result)
        events.append({**event("job.ended", "service", detail=detail, resource=self._name()), **who})
        try:
            self._log.append(events, sync=False)
            if not self.decided.asked.served:
                self._log.close()
        except AuditError as failure:  # the job has run, and its end is the caller's
            result.audit = failure.message
        if self._log.failure:
            result.audit = self._log.failure.message

    def _review_event(self, result: Result) -> dict[str, object]:
        """The answer of the person who was asked; the actor of the event is who gave it."""
        detail: dict[str, object] = {"committed": len(result.committed), "refused": len(result.refused)}
        return event("review", "commit", ALLOWED if result.review == "accepted" else DENIED, detail=detail)

    def _record_egress(self, items: list[dict[str, Any]]) -> None:
        """Egress events while the job runs, as they come: a launcher that is killed has said what it knew."""
        who = self._who(self.decided.asked)
        events = [*self._unwritten, *({**_egress_event(item), **who} for item in items)]
        try:
            self._log.append(events, sync=False)
            self._unwritten = []
        except AuditError:  # tried again with the next ones, and when the job has ended; `result.audit` says so then
            self._unwritten = events[-_MOST_UNWRITTEN:]

    def _gather_denials(self, result: Result) -> None:
        """Everything that was refused as one list, each with the grant to ask for."""
        network = self._egress.denials if self._egress else ()
        profile = self.decided.profile.data
        workspace = profile["workspace"]
        elsewhere = self._gitdir(workspace) if result.exit_code else []
        told = (
            result.denials,
            result.refused,
            result.refused_execs,
            result.limits_hit,
            result.observed,
            network,
            elsewhere,
        )
        if not any(told):
            return
        from launcher.service import denials

        result.denials = denials.unique(
            [
                *denials.of_runtime(result.denials, workspace),
                *denials.of_egress(network),
                *denials.of_execs(result.refused_execs),
                *denials.of_commit(result.refused, workspace),
                *denials.of_limits(result.limits_hit, result.limit, profile["limits"]),
                *denials.of_observed(result.observed, workspace),
                *elsewhere,
            ]
        )

    def _gitdir(self, workspace: str) -> list[dict[str, object]]:
        if not os.path.isfile(f"{workspace}/.git"):
            return []
        from launcher.service.gitdir import of_gitdir

        return of_gitdir(workspace, self.permissions)

    def _limit_event(self, limit: str, *, ended: bool) -> dict[str, object]:
        """One limit that the job ran into, and whether that ended it."""
        value = self.decided.profile.data["limits"][limit]
        made = event(
            "limit", "kernel", DENIED,
            capability="limits", operation=limit, resource=str(value), detail={"ended_job": ended},
        )  # fmt: skip
        made["deciders"] = self._limit_deciders(limit, value)
        return made

    def _limit_deciders(self, limit: str, value: object) -> list[dict[str, str]]:
        """Who says this value: the policies that do, else the request's own options, else configuration and base."""
        asked = self.decided.asked
        policies = [
            {"policy": policy.handle, "place": str(policy.place)}
            for policy in asked.snapshot.policies_for(asked.acting.user)
            if getattr(policy.limits, limit) == value
        ]
        if policies:
            return policies
        return [{"policy": "command line" if limit in asked.request.limits else "base profile or configuration"}]

    def _shown(self, asked: Asked | None = None) -> Sequence[str]:
        request = (asked or self.decided.asked).request
        return [request.program, *request.arguments] if request.program else list(request.command)

    def _name(self, asked: Asked | None = None) -> str:
        words = self._shown(asked)
        return words[0] if words else ""


def _exec_event(refused: dict[str, Any]) -> dict[str, object]:
    """The audit event of an image that was stopped before it ran."""
    detail: dict[str, object] = {"file": refused["file"], "reason": refused["reason"]}
    made = event(
        "exec", "kernel", DENIED,
        capability="cmd", operation="execute", resource=str(refused["command"]), detail=detail,
    )  # fmt: skip
    made["deciders"] = [{"place": str(place)} for place in refused["places"]]
    return made


def _egress_event(item: dict[str, Any]) -> dict[str, object]:
    """The audit event of one connection, or of one that was refused."""
    made = event(
        str(item["event"]), "egress", str(item["outcome"]),
        capability=str(item["capability"]), operation=str(item["operation"]), resource=str(item["resource"]),
        detail=dict(item["detail"]),
    )  # fmt: skip
    made["deciders"] = [{"place": str(place)} for place in item["deciders"]]
    return made


def _renewal(decided: Decided | Remembered, read_ns: int) -> Renewal:
    from launcher.service.renewing import Renewal

    return Renewal(decided, read_ns)


def _decide(asked: Asked) -> Decided:
    from launcher.service.deciding import Decided

    return Decided(asked)


def _commit_event(entry: dict[str, object]) -> dict[str, object]:
    """The audit event of one staged change, in the words of the permission that it needed."""
    capability, _, operation = str(entry["operation"] or "file.write").partition(".")
    committed = entry["outcome"] == "committed"
    detail = {name: entry[name] for name in ("change", "outcome", "reason", "size")}
    made = event(
        "commit", "commit", ALLOWED if committed else DENIED,
        capability=capability, operation=operation, resource=str(entry["path"]), detail=detail,
    )  # fmt: skip
    made["deciders"] = entry["deciders"]
    return made


def _record_stranger(request: Request, error: IdentityError) -> None:
    """Somebody who could not be authenticated, or may not act for that user, is recorded under the kernel's name."""
    from launcher.identity import os_user
    from launcher.policy.paths import Locations

    caller = os_user.by_uid(os.getuid()).name
    detail: dict[str, object] = {"reason": str(error)[:4000]}
    refused = event("launch", "policy", DENIED, user=request.user or caller, actor=caller, detail=detail)
    try:
        AuditLog(Locations.find(request.root)).append([refused])
    except AuditError as failure:
        error.hint = f"{error.hint}\nthis refusal is not in the audit log: {failure.message}".lstrip()


def launch(request: Request) -> Result:
    """Decides, runs and records one launch. Raises SandboxError where nothing was run."""
    return Launch(request).run()


if TYPE_CHECKING:
    from launcher.capability.permissions import Permissions
    from launcher.service.ml import MlProgram
