#!/bin/sh
# Makes the Debian package from dist/synapse-ts: `make deb`. Needs dpkg-deb; prints the file it wrote. DEB_REVISION is
# appended to the version: DEB_REVISION=-2 make deb.
set -eu
cd "$(dirname "$0")/.."
umask 022

executable=dist/synapse-ts
[ -x "$executable" ] || { echo "there is no $executable: run make build first" >&2; exit 1; }
version=$("$executable" --version | sed 's/^synapse-ts //')${DEB_REVISION:-}
architecture=$(dpkg --print-architecture)
root=$(mktemp -d)
chmod 0755 "$root"
trap 'rm -rf "$root"' EXIT

from=packaging/debian
install -D -m 0755 "$executable" "$root/usr/bin/synapse-ts"
install -D -m 0644 "$from/homeserver.yaml" "$root/etc/synapse-ts/homeserver.yaml"
install -D -m 0644 "$from/log.yaml" "$root/etc/synapse-ts/log.yaml"
install -D -m 0644 "$from/default" "$root/etc/default/synapse-ts"
install -d -m 0750 "$root/etc/synapse-ts/conf.d"
install -D -m 0644 packaging/systemd/synapse-ts.service "$root/lib/systemd/system/synapse-ts.service"

doc=$root/usr/share/doc/synapse-ts
install -d "$doc/proxy"
install -m 0644 README.md homeserver.example.yaml docs/*.md "$doc"
install -m 0644 LICENSE "$doc/copyright"
install -m 0644 packaging/proxy/* "$doc/proxy"
gzip -9n <CHANGELOG.md >"$doc/changelog.gz"

control=$root/DEBIAN
install -d "$control"
size=$(du -ks --exclude=DEBIAN "$root" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCHITECTURE@/$architecture/" -e "s/@SIZE@/$size/" "$from/control" >"$control/control"
install -m 0755 "$from/config" "$from/postinst" "$from/prerm" "$from/postrm" "$control"
install -m 0644 "$from/templates" "$control"
printf '%s\n' /etc/synapse-ts/homeserver.yaml /etc/synapse-ts/log.yaml /etc/default/synapse-ts >"$control/conffiles"

# gzip unpacks everywhere and takes seconds where xz takes minutes for an executable of this size.
file=dist/synapse-ts_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zgzip --build "$root" "$file" >/dev/null
echo "$file"
