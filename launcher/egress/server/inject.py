"""Credentials that the proxy adds, and the placeholders that stand for them inside the sandbox. Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING

from launcher.egress.protocol.http1 import METHOD_OVERRIDES, Field

if TYPE_CHECKING:
    from launcher.egress.protocol.http1 import Request
    from launcher.egress.rule import Injection, Rule
    from launcher.egress.server.options import Options


class Refused(Exception):  # noqa: N818  it is a verdict
    """The request must not leave."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def fields_for(
    options: Options, request: Request, rule: Rule | None, *, https: bool
) -> tuple[frozenset[bytes], tuple[Field, ...]]:
    """The fields to drop and to add. Raises Refused for a placeholder on its way to a host that it is not bound to."""
    injections = rule.injections if rule is not None and https else ()
    _check_placeholders(options, request, {injection.secret for injection in injections})
    # A server may obey X-HTTP-Method-Override: with a rule on methods it must not see one.
    drop = METHOD_OVERRIDES if rule is not None and rule.methods else frozenset()
    added = [field for injection in injections for field in _inject(options, request, injection)]
    return drop, tuple(added)


def _check_placeholders(options: Options, request: Request, bound: set[str]) -> None:
    for secret, placeholder in options.placeholders.items():
        mark = placeholder.encode()
        if secret in bound or not mark:
            continue
        if mark in request.target or any(
            mark in field.value or mark in _basic(field.value) for field in request.fields
        ):
            raise Refused("placeholder of a secret that is not bound to this host")


def _inject(options: Options, request: Request, injection: Injection) -> list[Field]:
    secret = options.secrets.get(injection.secret)
    if secret is None:
        raise Refused(f"secret {injection.secret} is not available")
    sent = request.values(injection.header)
    if not sent:
        return [Field(injection.header.title(), injection.template.format(secret).encode())]
    mark = options.placeholders.get(injection.secret, "").encode()
    # A header of the job's own making without the placeholder stays as it is: it may carry another credential.
    return [
        Field(injection.header.title(), _replaced(value, mark, secret.encode()) if mark else value) for value in sent
    ]


def _replaced(value: bytes, mark: bytes, secret: bytes) -> bytes:
    """`value` with the secret for its placeholder, also inside Basic credentials (git and pip send `user:token` so)."""
    inner = _basic(value)
    if mark in inner:
        return b"Basic " + b64encode(inner.replace(mark, secret))
    return value.replace(mark, secret)


def _basic(value: bytes) -> bytes:
    """What `Basic ...` (RFC 7617) encodes; empty for anything else."""
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return b""
    try:
        return b64decode(encoded.strip(), validate=True)
    except ValueError:
        return b""
