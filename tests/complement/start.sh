#!/bin/sh
# Starts one homeserver for Complement, as its Docker stand-in asks: SERVER_NAME and CONTAINER_IP say who and where it
# is, COMPLEMENT_ROOT is the only folder it may write to, and holds Complement's CA and appservice registrations.
# Runs from the sources; SYNAPSE_TS=PATH runs an executable instead.
set -eu
project=$(cd "$(dirname "$0")/../.." && pwd)
: "${SERVER_NAME:?}" "${CONTAINER_IP:?}" "${COMPLEMENT_ROOT:?}"
ca=$COMPLEMENT_ROOT/complement/ca
data=$COMPLEMENT_ROOT/data
mkdir -p "$data/media"
cd "$data"
umask 027

# A container made from a committed image starts on a copy of the data: key and certificate are there already.
[ -s signing.key ] || printf 'ed25519 a_test %s\n' "$(openssl rand -base64 32 | tr -d '=\n')" > signing.key
if [ ! -s tls.crt ]; then
  openssl ecparam -genkey -name prime256v1 -noout -out tls.key
  printf 'subjectAltName=DNS:%s,IP:%s\n' "$SERVER_NAME" "$CONTAINER_IP" > tls.ext
  openssl req -new -key tls.key -subj "/CN=$SERVER_NAME" -out tls.csr
  openssl x509 -req -in tls.csr -CA "$ca/ca.crt" -CAkey "$ca/ca.key" -set_serial "0x$(openssl rand -hex 8)" \
    -days 30 -extfile tls.ext -out tls.crt 2>/dev/null
fi

appservices=""
for file in "$COMPLEMENT_ROOT"/complement/appservice/*.yaml; do
  [ -e "$file" ] && appservices="$appservices\"$file\", "
done

# The address may differ from that of an earlier start.
cat > homeserver.yaml <<YAML
server_name: $SERVER_NAME
report_stats: false
# Several tests put the creator into the power levels, which version 12 forbids: Complement expects Synapse's default.
default_room_version: "11"
public_baseurl: http://127.0.0.1:8008/
pid_file: $data/homeserver.pid
signing_key_path: $data/signing.key
media_store_path: $data/media
# The tests of the old media paths expect them to serve what was just uploaded.
enable_authenticated_media: false
url_preview_enabled: true
url_preview_ip_range_blacklist: []
trusted_key_servers: []
listeners:
  - { port: 8008, type: http, tls: false, bind_addresses: [$CONTAINER_IP], resources: [{ names: [client, federation] }] }
  - { port: 8448, type: http, tls: true, bind_addresses: [$CONTAINER_IP], resources: [{ names: [client, federation] }] }
tls_certificate_path: $data/tls.crt
tls_private_key_path: $data/tls.key
federation_custom_ca_list: ["$ca/ca.crt"]
ip_range_blacklist: []
database: { name: sqlite3, args: { database: "$data/homeserver.db" } }
macaroon_secret_key: complement-macaroons
form_secret: complement-forms
registration_shared_secret: complement
enable_registration: true
enable_registration_without_verification: true
allow_guest_access: true
bcrypt_rounds: 4
presence: { enabled: true }
caches: { sync_response_cache_duration: 0 }
allow_public_rooms_without_auth: true
allow_public_rooms_over_federation: true
allow_device_name_lookup_over_federation: true
enable_room_list_search: true
room_list_publication_rules: [{ action: allow }]
server_notices: { system_mxid_localpart: _server, system_mxid_display_name: Server Alert, room_name: Server Alert }
max_event_delay_duration: 24h
user_directory: { enabled: true, search_all_users: false }
app_service_config_files: [${appservices%, }]
experimental_features:
  msc2836_enabled: true
  msc3391_enabled: true
  msc3874_enabled: true
  msc3890_enabled: true
  msc3967_enabled: true
  msc4155_enabled: true
  msc4222_enabled: true
  msc4306_enabled: true
  msc4354_enabled: true
YAML

set -- serve -c "$project/tests/fixtures/no_rate_limits.yaml" -c "$data/homeserver.yaml"
if [ -n "${SYNAPSE_TS:-}" ]; then exec "$SYNAPSE_TS" "$@"; fi
exec "$project/node_modules/deno/deno" run --no-check --config "$project/deno.json" --allow-net --allow-read --allow-write \
  --allow-env --allow-sys --allow-run "$project/main.ts" "$@"
