"""Fixed hosts, users and policies for the compiler's tests: what `compile` is given instead of this machine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from launcher.capability.scope import Scope
from launcher.compile.base import BaseProfile
from launcher.compile.compiler import compile_profile
from launcher.compile.options import Options
from launcher.identity.user import User
from launcher.kernel.features import Features
from launcher.policy.base import load_base
from launcher.policy.danger import read_danger
from launcher.policy.merge import Merged, merge
from launcher.policy.policy_document import read_policy

if TYPE_CHECKING:
    from launcher.capability.grant import Grant
    from launcher.compile.profile import Profile

PROFILES = os.path.join(os.path.dirname(__file__), "..", "..", "profiles")
V2 = dict.fromkeys(("cpu", "io", "memory", "pids"), "/sys/fs/cgroup/user.slice")
DEBIAN_ROOT = Features(
    {
        "uid": 0,
        "container": "",
        "user_namespaces": True,
        "apparmor_userns": False,
        "net_namespaces": True,
        "landlock": 2,  # Linux 6.1
        "seccomp": True,
        "seccomp_notify": True,
        "mount_api": True,
        "idmapped_mounts": True,
        "overlayfs": True,
        "tmpfs_xattr": False,
        "cgroup": 2,
        "controllers": V2,
        "root_links": {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"},
    }
)
DEBIAN_USER = DEBIAN_ROOT.replaced(uid=1000, idmapped_mounts=False)
NO_CGROUP = DEBIAN_USER.replaced(cgroup=0, controllers={})
INSIDE_DOCKER = DEBIAN_ROOT.replaced(
    container="docker", user_namespaces=False, mount_api=False, idmapped_mounts=False, cgroup=0, controllers={}
)
NEWEST = DEBIAN_ROOT.replaced(landlock=7, tmpfs_xattr=True)
HOSTS = {
    "debian-12-root": DEBIAN_ROOT,
    "debian-12-user": DEBIAN_USER,
    "no-cgroup": NO_CGROUP,
    "inside-docker": INSIDE_DOCKER,
}
ALICE = User("alice", uid=1000, gid=1000, home="/home/alice")
WORKSPACE = "/work/alice"

# The policy of the first seed, with one of everything beside it.
DATA_SCIENTIST = """\
policy:
  name: data_scientist
  capabilities:
    file:
      - patterns: ["data/*.csv", "/srv/shared/**"]
        operations: [read]
      - patterns: ["output/*.txt"]
        operations: [read, write, delete]
        max_file_size: 10MiB
      - patterns: ["@base/logs/run.log"]
        operations: [append]
    path:
      - patterns: ["data/**"]
        operations: [read]
    network:
      - hosts: [api.example.com, "*.data.example.org"]
        operations: [https]
        methods: [GET]
    cmd: ["git", [python3, "a b.py"], ".venv/bin/*"]
    env: ["PROJECT_*"]
    keychain: ["alice/api"]
  deny: ["file.read:**/.env", "sh"]
  limits:
    max_memory: 2GiB
    max_cpu_time: 60s
    max_wall_time: 5m
    max_processes: 32
    cpus: 1.5
"""


def base(handle: str, *, danger: bool = False) -> BaseProfile:
    """`danger`: with the shipped danger list, as every launch has it."""

    def read(name: str) -> tuple[bytes, str]:
        with open(f"{PROFILES}/{name}.yaml", "rb") as file:
            return file.read(), f"{name}.yaml"

    entries = read_danger(*read("danger")) if danger else []
    return BaseProfile.from_data({**load_base(handle, read), "danger": entries})


def merged(*documents: str, workspace: str = WORKSPACE, home: str = ALICE.home) -> Merged:
    policies = [read_policy(text.encode(), f"p{at}.yaml", f"p{at}") for at, text in enumerate(documents)]
    return merge(policies, Scope(home, workspace))


def policy(body: str) -> str:
    """A document with `body` (unindented) below `policy:`."""
    return "policy:\n  name: test\n" + "".join(f"  {line}\n" for line in body.strip("\n").splitlines())


def compiled(
    *documents: str,
    features: Features = NEWEST,
    handle: str = "default",
    user: User = ALICE,
    danger: bool = False,
    **options: Any,
) -> Profile:
    options.setdefault("supports", ("arguments", "devices", "sockets", "keychain"))
    return compile_profile(
        merged(*documents, home=user.home), user, base(handle, danger=danger), features, Options(WORKSPACE, **options)
    )


def needs(body: str) -> list[Grant]:
    """Declared needs, in the notation of capabilities."""
    return list(read_policy(policy(body).encode(), "job", "job").grants)
