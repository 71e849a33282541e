#!/usr/bin/env bash
# What the test machine gets of this checkout: the installed package, the tests that run inside, and pytest.
#   tree.sh DIRECTORY     must be the path that the machine has it at, because an installation knows its own path
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1"
exec 9> "$1/.lock"
flock 9
script/install --no-link "$1/prefix"
if [ ! -d "$1/site" ]; then
  "${MLSANDBOX_VENV:-.venv}/bin/python3" -m pip -q install --disable-pip-version-check --target "$1/site.new" \
    'pytest>=9.2,<10' 'pytest-timeout>=2.4,<3' 2> >(grep -v '^WARNING: Location' >&2)
  mv "$1/site.new" "$1/site"
fi
rm -rf "$1/checkout"
mkdir "$1/checkout"
cp -r pyproject.toml tests "$1/checkout"
# the modules that tests import are the installed ones
ln -s "$(echo "$1"/prefix/lib/python3*/site-packages)/launcher" "$1/checkout/launcher"
