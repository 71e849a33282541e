"""The same refusal in the language of each client, so that a person sees policy and not a network fault."""

from __future__ import annotations

from http import HTTPStatus
from json import dumps

CLIP = 256  # longest piece of a job's own text that is repeated in an answer or an event


def clip(text: str) -> str:
    """At most CLIP characters, control characters escaped: nothing a terminal would obey."""
    if text.isprintable() and len(text) <= CLIP:
        return text
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)
    return safe if len(safe) <= CLIP else safe[: CLIP - 3] + "..."


def http(status: int, reason: str, *, missing: str = "", hint: str = "") -> bytes:
    """A whole HTTP/1.1 response that closes the connection. `missing` names the grant that would allow it."""
    body = {"error": "egress denied by sandbox policy" if status == 403 else "request refused by sandbox proxy"}
    if status in {502, 503, 504}:
        body = {"error": "upstream failed"}
    body["reason"] = clip(reason)
    body |= {key: clip(value) for key, value in (("missing_grant", missing), ("hint", hint)) if value}
    content = dumps(body).encode("ascii") + b"\n"
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\nX-Mlsandbox-Egress: {'denied' if status == 403 else 'refused'}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + content
