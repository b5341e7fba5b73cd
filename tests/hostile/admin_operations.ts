/** Operations of Synapse's admin API that are about users and media, with good requests for each. */
import type { Case } from "./cases.ts";
import type { World } from "./world.ts";

const ADMIN = "/_synapse/admin";
const PAGE = { from: "0", limit: "5", dir: "b" };
const TEXT = "Alice A. & co";

/** A user who is nobody's but the administrators', so that the others go on as they are. */
const OWN = { userId: "@hostile.admins:hs.test" };
const PERSON = { auth_provider: "oidc", external_id: "hostile" };
const THREEPID = { medium: "email", address: "hostile@example.org" };

/** The operations. */
export const ADMIN_OPERATIONS: readonly {
  readonly id: string;
  readonly request: string;
  readonly cases: (world: World) => readonly Case[];
}[] = [
  {
    id: "adminPutUser",
    request: `PUT ${ADMIN}/v2/users/{userId}`,
    cases: () => [{
      params: OWN,
      body: {
        ...{ password: "secret", logout_devices: false, displayname: TEXT, avatar_url: "mxc://hs.test/x" },
        ...{ threepids: [THREEPID], external_ids: [PERSON], user_type: null, admin: false },
        ...{ deactivated: false, locked: false },
      },
    }],
  },
  {
    id: "adminOverrideRatelimit",
    request: `POST ${ADMIN}/v1/users/{userId}/override_ratelimit`,
    cases: ({ admin }) => [{ params: { userId: admin.userId }, body: { messages_per_second: 1, burst_count: 5 } }],
  },
  {
    id: "adminExperimentalFeatures",
    request: `PUT ${ADMIN}/v1/experimental_features/{userId}`,
    cases: ({ admin }) => [{
      params: { userId: admin.userId },
      body: { features: { msc3881: true, msc3575: true, msc4222: false } },
    }],
  },
  {
    id: "adminRenewAccount",
    request: `POST ${ADMIN}/v1/account_validity/validity`,
    cases: ({ bob }) => [{ body: { user_id: bob.userId, expiration_ts: 2e12, enable_renewal_emails: false } }],
  },
  {
    id: "adminListUsers",
    request:
      `GET ${ADMIN}/v3/users?from,limit,dir,user_id,name,guests,deactivated,admins,locked,order_by,not_user_type`,
    cases: () => [{ query: { ...PAGE, name: TEXT, user_id: "a", order_by: "last_seen_ts", not_user_type: "bot" } }],
  },
  {
    id: "adminListMedia",
    request: `GET ${ADMIN}/v1/users/{userId}/media?from,limit,dir,order_by`,
    cases: () => [{ query: { ...PAGE, order_by: "upload_name" } }],
  },
  {
    id: "adminMediaStatistics",
    request: `GET ${ADMIN}/v1/statistics/users/media?from,limit,dir,order_by,from_ts,until_ts,search_term`,
    cases: () => [{ query: { ...PAGE, order_by: "media_length", from_ts: "1", until_ts: "5", search_term: TEXT } }],
  },
  {
    id: "adminQuarantineChanges",
    request: `GET ${ADMIN}/v1/media/quarantine_changes?from`,
    cases: () => [{ query: { from: "0" } }],
  },
  {
    id: "adminQuarantine",
    request: `POST ${ADMIN}/v1/media/quarantine/{serverName}/{mediaId}`,
    cases: () => [{ params: { mediaId: "unknown" } }],
  },
  { id: "adminMediaInfo", request: `GET ${ADMIN}/v1/media/{serverName}/{mediaId}`, cases: () => [{}] },
  { id: "adminRoomMedia", request: `GET ${ADMIN}/v1/room/{roomId}/media`, cases: () => [{}] },
  {
    id: "adminUserByExternalId",
    request: `GET ${ADMIN}/v1/auth_providers/{provider}/users/{externalId}`,
    cases: () => [{ params: { provider: PERSON.auth_provider, externalId: PERSON.external_id } }],
  },
  {
    id: "adminUserByThreepid",
    request: `GET ${ADMIN}/v1/threepid/{medium}/users/{address}`,
    cases: () => [{ params: THREEPID }],
  },
  {
    id: "adminSearchUsers",
    request: `GET ${ADMIN}/v1/search_users/{userId}?term`,
    cases: () => [{ query: { term: "a" } }],
  },
  { id: "adminMemberships", request: `GET ${ADMIN}/v1/users/{userId}/memberships`, cases: () => [{}] },
  {
    id: "adminInviteCount",
    request: `GET ${ADMIN}/v1/users/{userId}/sent_invite_count?from_ts`,
    cases: () => [{ query: { from_ts: "1" } }],
  },
];
