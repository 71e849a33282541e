"""Expected failures. Each says what was refused, where the rule stands, and what to do about it.

Only `launcher.cli` prints them and turns `status` into the exit status (design section 11).
"""

from __future__ import annotations

EXIT_WALL_LIMIT = 124
EXIT_LAUNCHER = 125
EXIT_REFUSED = 126
EXIT_NOT_FOUND = 127
EXIT_MEMORY = 137


class SandboxError(Exception):
    """A failure that a person can act on.

    `message` is one paragraph, `hint` says what to do, `place` is `file:line:column` where there is one,
    `status` is the exit status of the process and `ended_by` the stable word of the last line on stderr.
    """

    status = EXIT_LAUNCHER
    ended_by = "launcher"

    def __init__(self, message: str, *, hint: str = "", place: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.place = place

    def __str__(self) -> str:
        return f"{self.place}: {self.message}" if self.place else self.message


class UsageError(SandboxError):
    """The words on the command line are wrong."""

    status = 2


class ConfigurationError(SandboxError):
    """A configuration file, policy or base profile cannot be used. Nothing was launched."""


class DocumentError(ConfigurationError):
    """A policy, manifest or configuration document is wrong; `place` says where."""


class IdentityError(SandboxError):
    """The caller could not be authenticated, or may not act for that user."""

    status = EXIT_REFUSED
    ended_by = "policy"


class RefusedError(SandboxError):
    """Policy refuses the job before it starts."""

    status = EXIT_REFUSED
    ended_by = "policy"


class NotFoundError(SandboxError):
    """The command to launch does not exist in the job's view."""

    status = EXIT_NOT_FOUND


class EnforcementError(SandboxError):
    """A step of building the sandbox failed: the launch is refused (fail closed).

    `step` names the step, `subject` what it was applied to, `errno` the kernel's answer (0 for none).
    """

    def __init__(self, step: str, subject: str, errno: int = 0, *, hint: str = "") -> None:
        import os

        reason = f": {os.strerror(errno)} (errno {errno})" if errno else ""
        super().__init__(f"cannot {step} {subject}{reason}".rstrip(), hint=hint)
        self.step = step
        self.subject = subject
        self.errno = errno


class AuditError(SandboxError):
    """The audit log cannot be written or does not verify."""
