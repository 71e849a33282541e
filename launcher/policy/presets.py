"""Programs that cannot work alone: what `@git`, `@npm` and `@pip` in a `cmd` list stand for.

Programs that a program starts are not implied by its grant (design section 5), so the well-known families are shipped.
Both libexec layouts are listed, Debian's and Fedora's; what is not on the host matches nothing.
"""

from __future__ import annotations

# name -> programs, and the programs that those may start
PRESETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "@git": (("git",), ("/usr/lib/git-core/*", "/usr/libexec/git-core/*", "ssh")),
    "@npm": (("npm", "npx"), ("node", "/usr/share/nodejs/npm/bin/*", "node_modules/.bin/*")),
    "@pip": (("pip", "pip3"), ("python3", "/usr/bin/python3.*", ".venv/bin/python*")),
}
