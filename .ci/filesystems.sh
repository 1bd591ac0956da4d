#!/bin/sh
# The tools that make the file systems of `make validation`: installed where that is possible. Where it is not,
# the tests are skipped and say what is missing.
missing=
command -v mkfs.ext4 >/dev/null || missing="$missing e2fsprogs"
command -v mkfs.xfs >/dev/null || missing="$missing xfsprogs"
command -v mkfs.btrfs >/dev/null || missing="$missing btrfs-progs"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "Not installed, so some file systems will be skipped:$missing" >&2
    exit 0
fi
apt-get -qq update || true
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends $missing ||
    echo "Could not be installed, so some file systems will be skipped:$missing" >&2
