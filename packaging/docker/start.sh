#!/bin/sh
# What the container runs: `generate`, `run` (the default), `health`, or any command of synapse-ts.
# It is told what to do by the variables that Synapse's image has. As root it takes on the user UID:GID (991:991) first.
set -eu

CONFIG_DIR=${SYNAPSE_CONFIG_DIR:-/data}
DATA_DIR=${SYNAPSE_DATA_DIR:-/data}
CONFIG=${SYNAPSE_CONFIG_PATH:-$CONFIG_DIR/homeserver.yaml}
PORT=${SYNAPSE_HTTP_PORT:-8008}
LEVEL=${SYNAPSE_LOG_LEVEL:-INFO}
PROGRAM=${SYNAPSE_TS:-synapse-ts}

fail() {
  echo "$*" >&2
  exit 1
}

case "$PORT" in
*[!0-9]* | "") fail "SYNAPSE_HTTP_PORT must be a port number" ;;
esac

# Runs a command, as a child or in place of this shell, without root's rights where the shell has them. UID and GID are
# read from the environment itself: to some shells they are names of their own.
as_user() {
  how=$1
  shift
  if [ "$(id -u)" = 0 ]; then
    uid=$(printenv UID || echo 991)
    gid=$(printenv GID || echo 991)
    mkdir -p "$DATA_DIR" "$CONFIG_DIR"
    chown "$uid:$gid" "$DATA_DIR" "$CONFIG_DIR"
    set -- setpriv --reuid "$uid" --regid "$gid" --clear-groups --no-new-privs -- "$@"
  fi
  if [ "$how" = replace ]; then exec "$@"; fi
  "$@"
}

generate() {
  [ -n "${SYNAPSE_SERVER_NAME:-}" ] || fail "SYNAPSE_SERVER_NAME is not set: the domain part of user ids"
  case "${SYNAPSE_REPORT_STATS:-}" in
  yes | no) ;;
  *) fail "SYNAPSE_REPORT_STATS must be yes or no" ;;
  esac
  case "$LEVEL" in
  DEBUG | INFO | WARNING | ERROR | CRITICAL) ;;
  *) fail "SYNAPSE_LOG_LEVEL must be DEBUG, INFO, WARNING, ERROR or CRITICAL" ;;
  esac
  log=$CONFIG_DIR/$SYNAPSE_SERVER_NAME.log.config
  is_new_config=$([ -e "$CONFIG" ] || echo yes)
  is_new_log=$([ -e "$log" ] || echo yes)
  set -- generate-config --server-name "$SYNAPSE_SERVER_NAME" --report-stats "$SYNAPSE_REPORT_STATS" \
    --config-path "$CONFIG" --config-directory "$CONFIG_DIR" --data-directory "$DATA_DIR" --open-private-ports
  case "${SYNAPSE_ENABLE_METRICS:-}" in 1 | yes | true) set -- "$@" --enable-metrics ;; esac
  as_user child "$PROGRAM" "$@"
  # The first listener has the port that the image publishes and its health check asks, whatever the server's name.
  if [ -n "$is_new_config" ]; then
    as_user child sed -i "0,/^  - port: [0-9]*\$/s//  - port: $PORT/" "$CONFIG"
  fi
  # A container's log goes to its output.
  if [ -n "$is_new_log" ]; then
    as_user child sed -i -e 's/handlers: \[file\]/handlers: [console]/' -e "/^root:/,\$s/level: INFO/level: $LEVEL/" "$log"
  fi
}

run() {
  [ -e "$CONFIG" ] || fail "There is no $CONFIG. Run the image with \"generate\" once, with SYNAPSE_SERVER_NAME and" \
    "SYNAPSE_REPORT_STATS set."
  as_user replace "$PROGRAM" serve -c "$CONFIG" --data-directory "$DATA_DIR" "$@"
}

# Without curl in the image: the answer's first line, by the shell's means.
health() {
  exec /bin/bash -c 'exec 3<>"/dev/tcp/127.0.0.1/$0" && printf "GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n" >&3 &&
    read -r line <&3 && [[ $line == HTTP/1.?\ 200* ]]' "$PORT"
}

command=${1:-run}
[ $# -eq 0 ] || shift
case "$command" in
generate) generate ;;
run) run "$@" ;;
health) health ;;
*) as_user replace "$PROGRAM" "$command" "$@" ;;
esac
