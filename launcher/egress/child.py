"""The proxy process of one job: settings to options, an authority if one is needed, then serve until told to end."""

from __future__ import annotations

import json
import os
import socket
from typing import Any

from launcher.capability.hosts import HostPattern
from launcher.egress import topology
from launcher.egress.serve import serve
from launcher.egress.server.control import rules_from_data
from launcher.egress.server.options import Limits, Options
from launcher.errors import SandboxError

SETTINGS = ("limits", "secrets", "placeholders", "upstream_proxy", "no_proxy", "anchors", "job")


def run(control: int, events: int, network: dict[str, Any], settings: dict[str, Any]) -> None:
    """Say whether the rules can be enforced, receive the listeners, serve. Both descriptors belong to this function."""
    line = socket.socket(fileno=control)
    try:
        rules = rules_from_data(network)
        options, told = _options(settings, network, needs_authority=rules.intercepts)
    except (SandboxError, KeyError, TypeError, ValueError) as error:
        _say(line, {"ok": False, "error": str(error)})
        return
    _say(line, {"ok": True, **told})
    try:
        listeners = topology.receive_listeners(line)
    except OSError:
        return  # the sandbox was not built after all

    encode = json.JSONEncoder(check_circular=False).encode

    def emit(event: dict[str, Any]) -> None:
        data = encode(event).encode("ascii") + b"\n"
        while data:
            data = data[os.write(events, data) :]

    serve(listeners, rules, emit, control=line.detach(), options=options)


def _say(line: socket.socket, message: dict[str, Any]) -> None:
    line.sendall(json.dumps(message).encode("ascii") + b"\n")


def _options(
    settings: dict[str, Any], network: dict[str, Any], *, needs_authority: bool
) -> tuple[Options, dict[str, str]]:
    unknown = set(settings) - set(SETTINGS)
    if unknown:
        raise ValueError(f"unknown egress settings: {', '.join(sorted(unknown))}")
    values = {key: value for key, value in settings.items() if key not in {"limits", "job"}}
    if values.get("upstream_proxy"):
        values["upstream_proxy"] = tuple(values["upstream_proxy"])
    values["no_proxy"] = tuple(values.get("no_proxy", ()))
    values["limits"] = Limits(**settings.get("limits", {}))
    anchors = str(values.get("anchors", ""))
    if anchors:
        _check_anchors(anchors)
    if not needs_authority:
        return Options(**values), {"ca": "", "java": _java(anchors) if anchors else ""}
    return _with_authority(values, network, str(settings.get("job", "")))


def _check_anchors(anchors: str) -> None:
    """A bundle that cannot be read must refuse the launch, not the first connection. Raises ValueError."""
    import ssl

    from launcher.egress.server.intercept import client_context

    try:
        client_context(anchors)
    except ssl.SSLError as error:
        raise ValueError(f"egress.trust is not a file of certificates in PEM: {error.reason or error}") from error


def _java(*authorities: str) -> str:
    from launcher.egress.truststore import java_store

    return java_store("\n".join(authorities).encode("ascii"))


def _with_authority(values: dict[str, Any], network: dict[str, Any], job: str) -> tuple[Options, dict[str, str]]:
    """The key is made in this process and never leaves it; only the certificate is told."""
    from launcher.egress.certificates import CertificateAuthority

    authority = CertificateAuthority.create(_hosts(network), job)
    values["ca"] = (authority.certificate, authority.key)
    certificate = authority.certificate.decode("ascii")
    return Options(**values), {"ca": certificate, "java": _java(str(values.get("anchors", "")), certificate)}


def _hosts(network: dict[str, Any]) -> list[str]:
    texts = [text for entry in network["grants"] if entry["type"] == "network" for text in entry["patterns"]]
    patterns = [HostPattern(str(text)) for text in texts]
    if any(pattern.block is not None and pattern.block[1] != pattern.block[2] for pattern in patterns):
        return ["*"]  # a range of addresses has no small set of constraints
    return sorted({pattern.host for pattern in patterns})
