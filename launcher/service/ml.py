"""What an ML program needs beside a command: the interpreter in view, its source and context by descriptor, reports."""

from __future__ import annotations

import os
import time

from launcher.canonical import canonical_json
from launcher.enforce import interpreter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from launcher.enforce.job import Job
    from launcher.enforce.result import Result
    from launcher.service.deciding import Decided
    from launcher.service.remembered import Remembered

_RUNTIME = "launcher.runtime.main"
_SOURCE, _CONTEXT, _REPORTS, _COMPILED = 3, 4, 5, 6
_MOST_REPORTS = 1 << 20  # bytes of claims that are read; a job that floods it loses its later claims only
_MOST_EVENTS = 1000


class MlProgram:
    """The ML side of one launch."""

    __slots__ = ("_decided", "_reports")

    def __init__(self, decided: Decided | Remembered) -> None:
        self._decided = decided
        self._reports = -1

    def fill(self, job: Job) -> None:
        """Makes `job` run the program. Raises EnforcementError."""
        python = interpreter.for_job(as_root=job.switch_ids)
        python.fill(job)
        job.arguments = tuple(python.arguments(_RUNTIME))
        if self._decided.profile.data["network"]["egress"]:
            job.mounts += interpreter.database_packages(as_root=job.switch_ids)
        job.exec_once = self._decided.profile.data["commands"]["mode"] == "none"
        if self._decided.asked.served and job.exec_once and not python.moved and not job.observes:
            # what the sandbox's pid 1 has loaded; a program that may start others begins as an image, which is judged
            job.preloaded = (_RUNTIME, interpreter.LIBRARY)
        # The job may write whatever it likes into its own memory file; what it says there is a claim, not a fact.
        self._reports = _memory(b"")
        job.passed = (
            (_memory(self._decided.source or b""), _SOURCE),
            (_memory(canonical_json(self._context())), _CONTEXT),
            (self._reports, _REPORTS),
            *[(_memory(code), _COMPILED) for code in (self._compiled(),) if code],
        )

    def _context(self) -> dict[str, Any]:
        request = self._decided.asked.request
        profile = self._decided.profile.data
        return {
            "permissions": profile["permissions"],
            "run_with": profile["run_with"],
            "name": request.program,
            "args": list(request.arguments),
            "home": profile["user"]["home"],
            "workspace": profile["workspace"],
            "keychain": keychain(self._decided),
            "loopback": profile["network"]["loopback"],
            "modules": self._modules(),
            "compiled": _COMPILED if self._compiled() else None,
            "packages": _packages(),
            "staged": sorted({rule["pattern"] for rule in profile["files"]["staged"]}),
        }

    def _compiled(self) -> bytes:
        """The program as its reader compiled it, which saw no user modules."""
        declared = None if self._modules() else getattr(self._decided, "declared", None)
        return declared.compiled if declared else b""

    def _modules(self) -> dict[str, str]:
        modules = getattr(self._decided, "modules", {})  # what was remembered had none
        return {name: source.decode("utf-8", "surrogateescape") for name, source in modules.items()}

    def events(self, who: dict[str, str], result: Result) -> list[dict[str, object]]:
        """The job's claims as audit events of layer `runtime`, bounded; its denials go into `result`."""
        from launcher.service.claims import claims

        data = os.pread(self._reports, _MOST_REPORTS, 0)
        events, denials = claims(data, who, most=_MOST_EVENTS)
        result.denials = [*result.denials, *denials]
        return events


def keychain(decided: Decided | Remembered) -> dict[str, str]:
    """The values of the configured entries that were granted, and of no other. Raises ConfigurationError.

    An entry that is granted and not configured is not there: the program's `keychain.has` says so.
    """
    known, granted = decided.asked.snapshot.config.keychain, decided.profile.data["keychain"]
    if not known or not granted:
        return {}
    from launcher.capability.permissions import Permissions
    from launcher.egress.secrets import fetch

    permissions, now = Permissions.from_data(decided.profile.data["permissions"]), time.time()
    names = [name for name in known if permissions.decide("keychain", "read", name, now=now).allowed]
    return {name: fetch(name, known[name]) for name in names}


def _packages() -> list[str]:
    """Where the optional packages of the `database` module are in the job's view: beside the library."""
    return [interpreter.PACKAGES]


def _memory(data: bytes) -> int:
    fd = os.memfd_create("mlsandbox", os.MFD_CLOEXEC)
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
