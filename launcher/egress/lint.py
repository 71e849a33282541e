"""Patterns that read like security and are none, refused when a policy is compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.egress.protocol import addresses
from launcher.errors import DocumentError

if TYPE_CHECKING:
    from launcher.capability.hosts import HostPattern
    from launcher.egress.protocol.addresses import Network

# RFC 6761 and 6762: names that no public resolver answers, or that resolve to the machine itself.
SPECIAL_SUFFIXES = ("localhost", "localdomain", "local", "onion", "invalid")

# Second-level labels under which country registries sell names (co.uk, com.au, ne.jp): `*.co.uk` is a country.
_SECOND_LEVEL_TEXT = """
ac ad asn asso biz co com csiro ed edu ernet firm fin gen go gob gop gos gouv gov govt gr gub id idv in ind
inf info int kr lg ltd me mil mod mus my name ne net nhs nic nom nsw nt ny or org oz parliament plc police prd
pro pub qld re res rs sa sch school sk tas tm tv vic wa web
"""
_SECOND_LEVEL = frozenset(_SECOND_LEVEL_TEXT.split())
# Where anybody can get a name beside the one that is meant (from the private part of the public suffix list).
_SHARED_TEXT = """
github.io githubusercontent.com gitlab.io bitbucket.io netlify.app vercel.app now.sh pages.dev workers.dev
r2.dev fly.dev onrender.com herokuapp.com herokussl.com firebaseapp.com web.app appspot.com run.app
cloudfunctions.net azurewebsites.net azurestaticapps.net cloudapp.net cloudapp.azure.com blob.core.windows.net
trafficmanager.net azureedge.net cloudfront.net s3.amazonaws.com elasticbeanstalk.com
execute-api.us-east-1.amazonaws.com elb.amazonaws.com lambda-url.us-east-1.on.aws on.aws awsapprunner.com
surge.sh glitch.me repl.co replit.dev ngrok.io ngrok.app ngrok-free.app trycloudflare.com loca.lt deno.dev
blogspot.com wordpress.com myshopify.com translate.goog duckdns.org no-ip.org dyndns.org hopto.org nip.io
sslip.io xip.io fastly.net fastlylb.net akamaihd.net akamaized.net edgekey.net edgesuite.net b-cdn.net
digitaloceanspaces.com ondigitalocean.app linodeobjects.com backblazeb2.com hf.space streamlit.app gitpod.io
github.dev app.github.dev preview.app.github.dev stackblitz.io csb.app webflow.io tunnel.dev serveo.net
localhost.run pagekite.me
"""
SHARED_SUFFIXES = frozenset(_SHARED_TEXT.split())


def check_pattern(pattern: HostPattern, networks: tuple[Network, ...], loopback: bool, place: str) -> None:
    """Raise DocumentError for a pattern whose plain reading is wider than it looks."""
    if pattern.block is not None:
        _check_literal(pattern, networks, place)
        return
    host = pattern.host
    last = host.rpartition(".")[2]
    if last in SPECIAL_SUFFIXES and not loopback:
        hint = "names of the machine itself need allow_loopback: true and a port" if last == "localhost" else ""
        raise DocumentError(f"host {pattern.text!r} ends in a special-use name", hint=hint, place=place)
    if host.startswith("*.") and is_public_suffix(host[2:]):
        hint = "name the hosts, or the domain below it that is yours"
        message = f"host {pattern.text!r} is a wildcard over a public suffix: anybody can have a name there"
        raise DocumentError(message, hint=hint, place=place)


def is_public_suffix(domain: str) -> bool:
    """Whether unrelated people get names directly below `domain`."""
    labels = domain.split(".")
    if len(labels) == 1:
        return True
    return domain in SHARED_SUFFIXES or (len(labels) == 2 and len(labels[1]) == 2 and labels[0] in _SECOND_LEVEL)


def _check_literal(pattern: HostPattern, networks: tuple[Network, ...], place: str) -> None:
    bits, first, last = pattern.block or (32, 0, 0)
    packed = first.to_bytes(bits // 8, "big")
    if first != last or addresses.classify(packed) != addresses.METADATA:
        return
    if not any(packed in net and not net.shift for net in networks):
        hint = f"it hands out the machine's credentials; if that is meant, add allow_private: [{pattern.host}]"
        raise DocumentError(f"host {pattern.text!r} is a metadata service", hint=hint, place=place)
