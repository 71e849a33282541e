#!/usr/bin/env bash
# Builds the disk of the test machine, once: Debian 12 with systemd, and Debian's cloud kernels beside it.
#   image.sh DIRECTORY     DIRECTORY/root.ext4, DIRECTORY/vmlinuz-6.1, DIRECTORY/vmlinuz-6.12; prints what it took
# Needs root and the packages of `script/setup --vm`. No initramfs, no loop device: the cloud kernels have NVMe and ext4
# built in, and mke2fs fills a file system without mounting it.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
exec 9> "$out/.lock"
flock 9
digest=$(cat "$here/image.sh" "$here/provision.sh" "$here/agent.py" | sha256sum | cut -c1-32)
[ "$(cat "$out/.digest" 2>/dev/null)" = "$digest" ] && exit 0
rm -f "$out/.digest"

# the mirrors that this machine's apt uses
mirrors=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' | grep -i debian | sort -u)
mirror=${MLSANDBOX_VM_MIRROR:-$(grep -v security <<< "$mirrors" | head -1 | cut -d' ' -f1)}
security=${MLSANDBOX_VM_SECURITY:-$(grep security <<< "$mirrors" | head -1 | cut -d' ' -f1)}
signed=/usr/share/keyrings/debian-archive-keyring.gpg

# kernels, through an apt whose whole state is below $out: the machine's own sources are left alone
state=$out/apt
mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
{
  for suite in bookworm bookworm-backports; do echo "deb [signed-by=$signed] $mirror $suite main"; done
  echo "deb [signed-by=$signed] $security bookworm-security main"
} > "$state/sources"
private() {
  local tool=$1
  shift
  "$tool" -o Dir::Etc::sourcelist="$state/sources" -o Dir::Etc::sourceparts=- -o Dir::State::lists="$state/lists" \
    -o Dir::Cache="$state/cache" -o Acquire::Languages=none "$@"
}
private apt-get -qq update
modules=()
for version in 6.1 6.12; do
  name=$(private apt-cache search --names-only "^linux-image-${version/./\\.}\\.[0-9.+a-z-]*-cloud-amd64\$" |
    cut -d' ' -f1 | sort -V | tail -1)
  tree=$out/kernel-$version
  if [ ! -e "$tree/.$name" ]; then
    rm -rf "$tree"
    mkdir "$tree"
    (cd "$tree" && private apt-get -qq download "$name" && dpkg-deb -x "$name"_*.deb . && rm -f -- *.deb)
    touch "$tree/.$name"
  fi
  release=$(ls "$tree/lib/modules")
  depmod -b "$tree" "$release"
  cp "$tree/boot/vmlinuz-$release" "$out/vmlinuz-$version"
  modules+=(--customize-hook="mkdir -p \"\$1/lib/modules\" && cp -a '$tree/lib/modules/$release' \"\$1/lib/modules/\"")
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
began=$SECONDS
mmdebstrap --quiet --mode=root --variant=minbase --include="$("$here/provision.sh" --packages)" \
  --aptopt='Apt::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --customize-hook="'$here/provision.sh' \"\$1\"" "${modules[@]}" \
  bookworm "$work/root" "deb $mirror bookworm main" "deb $security bookworm-security main"

# what only the image has: the agent, its port's drivers, and nothing that takes time at boot
root=$work/root
install -m 755 "$here/agent.py" "$root/usr/local/sbin/vm-agent"
cat > "$root/etc/systemd/system/vm-agent.service" <<'UNIT'
[Unit]
Description=commands from the test's host, over virtio-serial
ConditionPathExists=/dev/virtio-ports/mlsandbox.0
After=multi-user.target systemd-user-sessions.service user@2000.service

[Service]
ExecStart=/usr/local/sbin/vm-agent /dev/virtio-ports/mlsandbox.0
KillMode=process

[Install]
WantedBy=graphical.target
UNIT
echo '/dev/nvme0n1 / ext4 defaults 0 0' > "$root/etc/fstab"
echo mlsandbox-vm > "$root/etc/hostname"
printf 'virtio_pci\nvirtio_console\nvirtio_blk\n' > "$root/etc/modules-load.d/vm.conf"
chroot "$root" systemctl -q enable vm-agent.service
chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service \
  dpkg-db-backup.timer fstrim.timer getty@tty1.service modprobe@dm_mod.service modprobe@loop.service \
  modprobe@efi_pstore.service modprobe@configfs.service modprobe@fuse.service sys-kernel-tracing.mount \
  dev-hugepages.mount
truncate -s 4G "$out/root.ext4.new"
mke2fs -q -F -t ext4 -O ^has_journal -E lazy_itable_init=1,nodiscard -d "$root" "$out/root.ext4.new"
mv "$out/root.ext4.new" "$out/root.ext4"
echo "$digest" > "$out/.digest"
echo "image: $((SECONDS - began)) s, $(du -m "$out/root.ext4" | cut -f1) MiB"
