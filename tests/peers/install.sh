#!/bin/sh
# Installs the Debian packages that tests and benchmarks run beside quada.
# With root it installs what is missing; without, it names what is missing and fails.
set -eu
packages="bind9 bind9-dnsutils bind9-utils knot knot-dnsutils knot-module-dnstap nsd ldnsutils dnsperf iproute2 unbound
pdns-server pdns-backend-bind pdns-recursor knot-resolver chromium dnsmasq-base radvd kea-dhcp6-server
certbot lego pebble clickhouse-server softhsm2 systemd fstrm-bin gcc libc6-dev python3-dev"

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done

# Clients that no Debian package has: built by Go, where a Go is there that can.
built="$HOME/.cache/quada-peers/bin"
build() {
    # A client that cannot be built costs its tests, which say so, and nothing else.
    name=$1
    shift
    [ -x "$built/$name" ] || "$@" || echo "$name could not be built: its tests are skipped" >&2
}
build_clients() {
    mkdir -p "$built"
    # certbot with plugins of pip's: apart from quada's own environment, whose libraries it would change.
    build ../certbot/bin/certbot certbot_with_plugins
    # Go 1.24 is what the others are written for; where there is none, their tests are skipped.
    minor=$(go env GOVERSION 2>/dev/null | sed -n 's/^go1\.\([0-9]*\).*/\1/p')
    [ "${minor:-0}" -ge 24 ] || return 0
    export GOBIN="$built"
    build lego-present go build -C "$(dirname "$0")/lego" -o "$built/lego-present" .
    # A release, not the newest one: that wants a Go newer than most machines have.
    build external-dns go install sigs.k8s.io/external-dns@v0.18.0
    # OpenTelemetry's Collector, of the parts that the tests need.
    build otel-collector go build -C "$(dirname "$0")/otel" -o "$built/otel-collector" .
    # A DoQ server that is not ours.
    build coredns go install github.com/coredns/coredns@v1.11.3
    # What bench/logs.py measures beside our reading of dnstap.
    build dnstap go install github.com/dnstap/golang-dnstap/dnstap@v0.4.0
}
certbot_with_plugins() {
    python3 -m venv "$built/../certbot" &&
        "$built/../certbot/bin/pip" install --quiet certbot certbot-dns-powerdns certbot-dns-rfc2136
}
build_clients &  # while packages are fetched
trap 'wait' EXIT

[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "quada's tests need these Debian packages, and this user may not install them:" >&2
    echo "    sudo apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
# Packages must not start their daemons: the tests run their own, on ports of their own.
policy=/usr/sbin/policy-rc.d
made_policy=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
    made_policy=yes
fi
trap '[ -z "$made_policy" ] || rm -f "$policy"; wait' EXIT
apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
