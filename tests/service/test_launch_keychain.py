"""The ML keychain through real launches: what is configured and granted is there, and nothing else is read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.sandboxed import Host

pytestmark = pytest.mark.kernel
PROGRAM = """
import keychain;
print(keychain.list());
print(keychain.get("deploy/github"), keychain.has("deploy/npm"), keychain.has("other/one"));
try { keychain.get("other/one"); } catch (e) { print(e.type, e.resource); }
try { keychain.get("deploy/npm"); } catch (e) { print(e.type); }
"""


def secret(host: Host, name: str, value: str) -> str:
    path = os.path.join(host.top, name)
    with open(path, "w", encoding="ascii") as file:
        file.write(value + "\n")
    os.chmod(path, 0o600)
    if os.geteuid() == 0:
        os.chown(path, host.uid, host.gid)
    return path


def configure(host: Host, **entries: str) -> None:
    lines = [f"  {name.replace('__', '/')}: {{file: {path}}}" for name, path in entries.items()]
    path = f"{host.root}/config.yaml"
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(["keychain:", *lines, ""]))
    if os.geteuid() == 0:
        os.chown(path, host.uid, host.gid)


def test_granted_entries_are_there_and_others_are_not(host: Host) -> None:
    configure(host, deploy__github=secret(host, "g", "ghp-1"), other__one=secret(host, "o", "not-for-you"))
    host.policy({"keychain": ["deploy/*"]})
    host.write("main.ml", PROGRAM)
    ran = host.launch("main.ml")
    assert ran.out == "['deploy/github']\nghp-1 false false\nCapabilityError other/one\nKeyError\n", ran


def test_a_value_that_is_not_granted_is_not_even_read(host: Host) -> None:
    """The source of an entry that no grant names may be broken, locked or slow: nobody looks."""
    configure(host, deploy__github=secret(host, "g", "ghp-1"), other__one="/nonexistent/secret")
    host.policy({"keychain": ["deploy/*"]})
    host.write("main.ml", PROGRAM)
    assert host.launch("main.ml").status == 0


def test_a_value_is_in_no_plan_result_or_audit(host: Host) -> None:
    configure(host, deploy__github=secret(host, "g", "CANARY-7731"))
    host.policy({"keychain": ["deploy/*"]})
    host.write("main.ml", 'import keychain;\nprint(len(keychain.get("deploy/github")));\n')
    said = [host.run(*words).stdout for words in (["explain", "main.ml"], ["launch", "--dry-run", "main.ml"])]
    ran = host.launch("main.ml")
    assert ran.out == "11\n"
    said += [host.run("audit", "--json").stdout, ran.err.encode(), str(ran.result).encode()]
    assert all(said) and not any(b"CANARY" in text for text in said)


def test_an_entry_that_cannot_be_read_refuses_the_launch(host: Host) -> None:
    path = secret(host, "g", "value")
    os.chmod(path, 0o644)
    configure(host, deploy__github=path)
    host.policy({"keychain": ["deploy/*"]})
    host.write("main.ml", PROGRAM)
    ran = host.launch("main.ml")
    assert ran.status == 125 and "can be read by others" in ran.err and "value" not in ran.err, ran


def test_without_a_configuration_nothing_is_there(host: Host) -> None:
    host.policy({"keychain": ["deploy/*"]})
    host.write("main.ml", "import keychain;\nprint(keychain.list());\n")
    assert host.launch("main.ml").out == "[]\n"
