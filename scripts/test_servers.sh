#!/bin/sh
# Installs, on Debian and as root, the real servers and the browser that some tests drive. Elsewhere it does nothing:
# such a test then says in one line what it misses.
set -eu
packages="redis-server prometheus prometheus-alertmanager chromium curl jq openssl bubblewrap"
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0
missing=$(for package in $packages; do
    dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || echo "$package"
done)
[ -n "$missing" ] || exit 0
export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 # runlevel 1: a package's service isn't started
apt-get -qq update &&
    apt-get -qq install --yes --no-install-recommends -o Dpkg::Use-Pty=0 $missing >/dev/null ||
    echo "not all of these could be installed, so some tests will be skipped:" $missing >&2
