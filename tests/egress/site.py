"""A site for real clients: pages, a git repository, a Python package index and an npm registry, as plain files."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def make_site(folder: Path, url: str) -> Path:
    """`folder/site`, which is to be served as `url`: pages, a git repository, a Python and an npm package."""
    site = folder / "site"
    (site / "v1").mkdir(parents=True)
    (site / "v1" / "hello").write_text("hello from outside\n")
    (site / "secret").write_text("not granted\n")
    repository = folder / "repository"
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    for argv in (
        ["init", "-q", str(repository)],
        ["-C", str(repository), "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run([*git, *argv], check=True, env=environment)
    subprocess.run(
        [*git, "clone", "-q", "--bare", str(repository), str(site / "repo.git")], check=True, env=environment
    )
    subprocess.run([*git, "-C", str(site / "repo.git"), "update-server-info"], check=True, env=environment)
    make_package(site)
    make_npm_package(site, url)
    return site


def make_package(site: Path) -> None:
    """A package index with one wheel."""
    page = site / "simple" / "tinypkg"
    page.mkdir(parents=True)
    name = "tinypkg-1.0-py3-none-any.whl"
    with zipfile.ZipFile(page / name, "w") as wheel:
        wheel.writestr("tinypkg.py", "ANSWER = 42\n")
        wheel.writestr("tinypkg-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tinypkg\nVersion: 1.0\n")
        wheel.writestr("tinypkg-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("tinypkg-1.0.dist-info/RECORD", "")
    (page / "index.html").write_text(f"<html><body><a href='{name}'>{name}</a></body></html>")


def make_npm_package(site: Path, url: str) -> None:
    """A registry with one package."""
    with tarfile.open(site / "tinynpm.tgz", "w:gz") as archive:
        for name, text in (
            ("package.json", '{"name": "tinynpm", "version": "1.0.0"}'),
            ("index.js", "module.exports = 42\n"),
        ):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    digest = hashlib.sha1((site / "tinynpm.tgz").read_bytes()).hexdigest()
    dist = {"tarball": f"{url}/tinynpm.tgz", "shasum": digest}
    version = {"name": "tinynpm", "version": "1.0.0", "dist": dist}
    (site / "tinynpm").write_text(
        json.dumps({"name": "tinynpm", "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}})
    )
