"""The capability layer inside the process: who may do what, now, in this scope.

A `Context` is one scope. The root holds the job's permissions; a child can only narrow: it has a ceiling (what a
program declared), or tokens, or nothing of its own. A request is allowed when every scope from here to the root
allows it. This is the first line: it gives errors that name the missing grant, and claims for the audit. The wall is
the kernel, which does not trust any of it.
"""

from __future__ import annotations

import time
from _thread import _local

from launcher.capability.decision import Decision
from launcher.capability.grant import Grant
from launcher.capability.kinds import BASE_PREFIX, KINDS, PATH
from launcher.capability.limits import Limits
from launcher.capability.permissions import Permissions
from launcher.capability.scope import Scope
from launcher.runtime.errors import CapabilityError
from launcher.runtime.job import Job
from launcher.runtime.report import ALLOWED, DENIED, Reporter
from launcher.runtime.shared import Shared
from launcher.runtime.verdicts import DECIDING, covering, denial, detail_of, literal, shown, spend, uncovered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Self

    from launcher.runtime.shared import Elevate
    from launcher.runtime.tokens import CapabilityToken, create_capability_token


__all__ = [
    "CapabilityToken", "Context", "can_access_resource", "create_capability_token", "create_child_context", "current",
    "get_current_context", "has_capability", "install", "requires_capability", "use_capability",
]  # fmt: skip


_LOOPBACK = Grant("network", ("loopback",), (), {}, BASE_PREFIX + "loopback")


class Context:
    """One scope of permissions. The root is made with `Context.root`, children with `create_child_context`.

    `with context:` makes it the current one of this thread. Safe to use from several threads.
    """

    __slots__ = ("_shared", "ceiling", "name", "parent", "tokens")

    def __init__(
        self,
        name: str,
        shared: Shared,
        parent: Context | None = None,
        tokens: tuple[CapabilityToken, ...] | None = None,
        ceiling: Permissions | None = None,
    ) -> None:
        self.name = name
        self.parent = parent
        self.tokens = tokens
        self.ceiling = ceiling
        self._shared = shared

    @classmethod
    def root(
        cls,
        permissions: Permissions,
        *,
        job: Job | None = None,
        reporter: Reporter | None = None,
        elevate: Elevate | None = None,
    ) -> Context:
        """The scope of a whole job. `elevate` is who may be asked for more; without it the answer is no."""
        return cls("job", Shared(permissions, job or Job(), reporter or Reporter(), elevate))

    # --- what the job is ------------------------------------------------------------------------------------

    @property
    def permissions(self) -> Permissions:
        """What the whole job holds."""
        return self._shared.permissions

    @property
    def scope(self) -> Scope:
        """What `~`, `@base` and relative names mean."""
        return self._shared.permissions.scope

    @property
    def job(self) -> Job:
        """Arguments, staged directories and granted secrets of the job."""
        return self._shared.job

    # --- asking ---------------------------------------------------------------------------------------------

    def require(self, type: str, operation: str, resource: Any, **context: Any) -> Decision:  # noqa: A002
        """Allows and charges `operation` of `type` on `resource` (canonical), or raises CapabilityError.

        `context` is what `Permissions.decide` takes, and: `written`, the resource as the program wrote it; `size`,
        the bytes that a write would leave; `request=True` where it counts as one. The answer names the grants.
        """
        written = str(context.pop("written", "") or shown(resource))
        with self._shared.lock:
            decision = self._answer(type, operation, resource, context)
            if decision.allowed:
                decision = self._charged(type, operation, resource, decision, context)
        detail = detail_of(resource, written)
        self._shared.reporter.access(
            ALLOWED if decision.allowed else DENIED, type, operation, written, decision.deciders, detail
        )
        self._shared.count(type, operation, allowed=decision.allowed)
        if not decision.allowed:
            raise denial(type, operation, written, decision)
        return decision

    def allows(self, type: str, operation: str, resource: Any, **context: Any) -> bool:  # noqa: A002
        """Whether `require` would allow it, without charging or reporting: for listings that leave names out."""
        with self._shared.lock:
            return self._answer(type, operation, resource, context).allowed

    def can_access_resource(self, type: str, resource: str, operation: str, **context: Any) -> bool:  # noqa: A002
        """The seeds' question: may `resource`, as a program would write it, be accessed now?"""
        return self.allows(type, operation, self._canonical(type, resource), **context)

    def use_capability(self, type: str, resource: str, operation: str, **context: Any) -> Decision:  # noqa: A002
        """The seeds' `use`: checks, charges and reports one use of `resource` as a program would write it."""
        return self.require(type, operation, self._canonical(type, resource), written=resource, **context)

    def has_capability(self, name: str) -> bool:
        """Whether `file` or `file.read` is held at all in this scope, by some grant on some resource."""
        from launcher.runtime.introspection import held

        return held(self, name)

    def names(self) -> list[str]:
        """The capability names held in this scope, sorted."""
        from launcher.runtime.introspection import capability_names

        return capability_names(self)

    def info(self, name: str) -> dict[str, Any] | None:
        """What `getCapabilityInfo` answers for a name, None for one that is not held."""
        from launcher.runtime.introspection import capability_info

        return capability_info(self, name)

    def uses(self, name: str) -> int:
        """How often `type` or `type.operation` was allowed so far."""
        return self._shared.used.get(name, 0)

    def staged_scratch(self, path: str, operation: str = "write") -> bool:
        """Whether the canonical `path` is a temporary name beside a granted file in a staged directory.

        Programs save through `report.txt.tmp` and a rename. In a staged directory such a name never reaches the host:
        the commit judges what is there under the granted names (design section 6, Agreement).
        """
        from launcher.runtime.scratch import is_staged, original_names

        if operation not in {"read", "write", "append", "delete"}:
            return False
        directory, _, name = path.rpartition("/")
        if not is_staged(directory, self.job.staged, self.scope):
            return False
        beside = [f"{directory}/{original}" for original in original_names(name)]
        return any(self._judged("file", word, at, {}).allowed for at in beside for word in ("write", "append"))

    # --- narrowing ------------------------------------------------------------------------------------------

    def create_child_context(
        self,
        name: str = "child",
        tokens: Iterable[CapabilityToken] | None = None,
        ceiling: Permissions | None = None,
    ) -> Context:
        """A scope below this one. With `tokens`, what they cover and this scope allows; without, all of this scope."""
        return Context(name, self._shared, self, None if tokens is None else tuple(tokens), ceiling)

    def declared(self, needs: Iterable[Grant], name: str = "declared") -> Context:
        """The scope of `capability` blocks under `run_with: declared`: the needs are its ceiling."""
        ceiling = Permissions(tuple(needs), (), Limits(), self.scope)
        return self.create_child_context(name, ceiling=ceiling)

    def elevate(self, type: str, operation: str, resource: str, reason: str = "") -> bool:  # noqa: A002
        """Asks whoever is outside for one more permission. Only their answer counts; a deny rule stays a deny.

        The answer gives the constraints of a token for exactly this operation and resource, or None. True when it may
        be used now. The kernel's enforcement is not widened by it.
        """
        canonical = self._canonical(type, resource)
        decision = self._answer(type, operation, canonical, {})
        if decision.allowed:
            return True
        ask = self._shared.elevate
        answer = None if ask is None or decision.deciders else ask(type, operation, resource, reason)
        outcome = {"capability": type, "operation": operation, "resource": resource, "granted": answer is not None}
        self._shared.reporter.note("elevation", dict(outcome))
        if answer is None:
            return False
        from launcher.runtime.tokens import create_capability_token

        exact = literal(type, canonical)
        token = create_capability_token(type, [exact], [operation], holder="job", scope=self.scope, **answer)
        with self._shared.lock:
            self._shared.elevated.append(token)
        return self.allows(type, operation, canonical)

    def run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """Calls `work` in this scope: how another thread enters it, since a thread starts in the job's scope."""
        with self:
            return work(*arguments)

    def __enter__(self) -> Self:
        _stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _stack().pop()

    def __repr__(self) -> str:
        return f"<Context {self.name}>"

    # --- judging --------------------------------------------------------------------------------------------

    def chain(self) -> Iterable[Context]:
        """The scope itself and those above it."""
        context: Context | None = self
        while context is not None:
            yield context
            context = context.parent

    def _answer(self, kind: str, operation: str, resource: Any, context: dict[str, Any]) -> Decision:
        decision = self._judged(kind, operation, resource, context)
        if decision.allowed or decision.deciders or kind != "file" or not self.job.staged:
            return decision
        if self.staged_scratch(str(resource), operation):
            return Decision(True, (), f"{resource} is a temporary name in a staged directory")
        return decision

    def _judged(self, kind: str, operation: str, resource: Any, context: dict[str, Any]) -> Decision:
        """The root's answer, narrowed by each scope on the way."""
        known = {key: context[key] for key in DECIDING if key in context}
        now = time.time()
        decision = self.permissions.decide(kind, operation, resource, now=now, **known)
        if not decision.allowed and not decision.deciders:
            decision = self._of_base(kind, operation) or self._elevated(kind, operation, resource, context) or decision
        if not decision.allowed:
            return decision
        # What the base profile gives to everybody needs no declaration (design section 5).
        from_base = any(rule.policy.startswith(BASE_PREFIX) for rule in decision.deciders)
        for scope in self.chain():
            if scope.ceiling is not None and not from_base:
                declared = scope.ceiling.decide(kind, operation, resource, now=now, **known)
                if not declared.allowed:
                    return Decision(False, (), f"{kind}.{operation} {shown(resource)} is granted but not declared")
            if scope.tokens is not None:
                refused = uncovered(scope.tokens, kind, operation, resource, context)
                if refused:
                    return Decision(False, (), refused)
        return decision

    def _of_base(self, kind: str, operation: str) -> Decision | None:
        """What the base profile gives without a grant: the loopback of the job's own network namespace."""
        if (kind, operation) != ("network", "loopback") or not self.job.loopback:
            return None
        return Decision(True, (_LOOPBACK,), "the base profile gives the job its own loopback")

    def _elevated(self, kind: str, operation: str, resource: Any, context: dict[str, Any]) -> Decision | None:
        if not covering(self._shared.elevated, kind, operation, resource, context):
            return None
        return Decision(True, (), f"{kind}.{operation} {shown(resource)} was granted on request")

    def _charged(
        self, kind: str, operation: str, resource: Any, decision: Decision, context: dict[str, Any]
    ) -> Decision:
        """The decision, after one use was charged to a grant and to a token of each scope.

        When a later token refuses, the earlier stay charged: that is the safe side.
        """
        size = context.get("size")
        refused = self._shared.quotas.refusal(decision.deciders, size)
        if refused:
            return Decision(False, decision.deciders, f"{kind}.{operation} {shown(resource)}: {refused}")
        spent: list[CapabilityToken] = []
        for scope in self.chain():
            fit = covering(scope.tokens or (), kind, operation, resource, context)
            spent += fit[:1]
        if not decision.deciders:
            spent += covering(self._shared.elevated, kind, operation, resource, context)[:1]
        refused = spend(spent, operation, resource, context) if spent else ""
        if refused:
            return Decision(False, (), refused)
        self._shared.quotas.charge(decision.deciders, size, request=bool(context.get("request")))
        return decision

    def charge_bytes(self, decision: Decision, amount: int) -> None:
        """Charges `amount` bytes of traffic to the grants of `decision` that count them (`max_bytes`)."""
        with self._shared.lock:
            self._shared.quotas.charge_bytes(decision.deciders, amount)

    def _canonical(self, kind: str, resource: str) -> Any:
        if kind in KINDS and KINDS[kind].pattern == PATH:
            from launcher.runtime.stdlib._disk import resolved

            return resolved(resource)
        return resource


def __getattr__(name: str) -> Any:
    """The tokens by the names of the seeds, loaded when somebody makes one: a job without them pays nothing."""
    if name not in {"CapabilityToken", "create_capability_token"}:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from launcher.runtime import tokens

    return getattr(tokens, name)


# --- the current scope ----------------------------------------------------------------------------------------

_threads = _local()
_installed: list[Context] = []


def _stack() -> list[Context]:
    stack: list[Context] | None = getattr(_threads, "stack", None)
    if stack is None:
        stack = _threads.stack = []
    return stack


def install(context: Context) -> None:
    """Makes `context` the scope of the whole process: what each thread starts in."""
    _installed[:] = [context]


def current() -> Context:
    """The scope of this thread: the innermost `with`, else the job's. Before `install`, a scope that allows nothing."""
    stack = _stack()
    if stack:
        return stack[-1]
    if not _installed:
        install(Context.root(Permissions((), (), Limits(), Scope("/", "/"))))
    return _installed[0]


def get_current_context() -> Context:
    """The scope of this thread, by the name that the seeds give it."""
    return current()


def has_capability(name: str) -> bool:
    """`current().has_capability(name)`."""
    return current().has_capability(name)


def can_access_resource(type: str, resource: str, operation: str) -> bool:  # noqa: A002
    """`current().can_access_resource(...)`."""
    return current().can_access_resource(type, resource, operation)


def use_capability(type: str, resource: str, operation: str) -> Decision:  # noqa: A002
    """`current().use_capability(...)`."""
    return current().use_capability(type, resource, operation)


def create_child_context(name: str = "child", tokens: Iterable[CapabilityToken] | None = None) -> Context:
    """`current().create_child_context(...)`."""
    return current().create_child_context(name, tokens)


def requires_capability(
    capability_type: str, operation: str = "", *, auto_use: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A decorator: the function runs only where `capability_type` (and `operation`) is held.

    With `auto_use` its first argument is the resource of one use, which is checked, charged and reported as well.
    Raises CapabilityError.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def checked(*arguments: Any) -> Any:
            name = f"{capability_type}.{operation}" if operation else capability_type
            context = current()
            if not context.has_capability(name):
                raise CapabilityError(f"{name} is not granted", capability_type, operation, "", f"ask for {name}")
            if auto_use and operation:
                context.use_capability(capability_type, str(arguments[0]), operation)
            return function(*arguments)

        checked.__name__ = checked.__qualname__ = function.__name__
        checked.__doc__ = function.__doc__
        return checked

    return decorate
