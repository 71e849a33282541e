#!/bin/sh
# What a Debian 12 machine needs before mlsandbox is tried on it: two accounts, and cgroups delegated to their sessions.
#   provision.sh              on a running machine, as root (Vagrantfile)
#   provision.sh ROOT         on the tree ROOT of an image that is being built (image.sh)
#   provision.sh --packages   the packages of such an image, separated by commas
# To repeat it changes nothing.
set -eu
packages="udev systemd systemd-sysv dbus dbus-user-session libpam-systemd python3 python3-venv libseccomp2 uidmap
  procps iproute2 kmod acl"
if [ "${1:-}" = --packages ]; then
  echo $packages | tr ' ' ','
  exit 0
fi
root=${1:-/}
inside() { if [ "$root" = / ]; then "$@"; else chroot "$root" "$@"; fi; }

if [ "$root" = / ]; then
  export DEBIAN_FRONTEND=noninteractive
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends $packages >/dev/null
fi

# alice launches, and her session manager always runs; bob is another tenant, who never logged in
number=2000
for name in alice bob; do
  inside id "$name" >/dev/null 2>&1 || inside useradd --create-home --uid "$number" --shell /bin/bash "$name"
  number=$((number + 1))
done
mkdir -p "$root/var/lib/systemd/linger"
: > "$root/var/lib/systemd/linger/alice"

# systemd delegates memory and pids to a session's manager by itself; cpu for `cpus`
mkdir -p "$root/etc/systemd/system/user@.service.d"
printf '[Service]\nDelegate=cpu memory pids\n' > "$root/etc/systemd/system/user@.service.d/delegate.conf"
