/**
 * The schema, as numbered steps. One line for each here; a step is never edited after a release.
 *
 * `NNNN_name.sql` is one text for both dialects; where they must differ there are two files and both keys. Two things are
 * said differently to SQLite, see `migrate.ts`: `BIGINT NOT NULL PRIMARY KEY`, and what stands in `/*sqlite: … *\/`.
 */
import core from "../../migrations/0001_core.sql" with { type: "text" };
import accounts from "../../migrations/0002_accounts.sql" with { type: "text" };
import rooms from "../../migrations/0003_rooms.sql" with { type: "text" };
import userData from "../../migrations/0004_user_data.sql" with { type: "text" };
import e2ee from "../../migrations/0005_e2ee.sql" with { type: "text" };
import media from "../../migrations/0006_media.sql" with { type: "text" };
import directory from "../../migrations/0007_directory.sql" with { type: "text" };
import push from "../../migrations/0008_push.sql" with { type: "text" };
import sync from "../../migrations/0009_sync.sql" with { type: "text" };
import searchSqlite from "../../migrations/0010_search.sqlite.sql" with { type: "text" };
import searchPostgres from "../../migrations/0010_search.postgres.sql" with { type: "text" };
import social from "../../migrations/0011_social.sql" with { type: "text" };
import federation from "../../migrations/0012_federation.sql" with { type: "text" };
import pushers from "../../migrations/0013_pushers.sql" with { type: "text" };
import slidingSync from "../../migrations/0014_sliding_sync.sql" with { type: "text" };
import federationRooms from "../../migrations/0015_federation_rooms.sql" with { type: "text" };
import appservices from "../../migrations/0016_appservices.sql" with { type: "text" };
import stickyEvents from "../../migrations/0017_sticky_events.sql" with { type: "text" };
import partialRooms from "../../migrations/0018_partial_rooms.sql" with { type: "text" };
import relationships from "../../migrations/0020_relationships.sql" with { type: "text" };
import roomPurges from "../../migrations/0022_room_purges.sql" with { type: "text" };
import userRedactions from "../../migrations/0028_user_redactions.sql" with { type: "text" };
import threadFollowers from "../../migrations/0029_thread_followers.sql" with { type: "text" };
import emailValidations from "../../migrations/0030_email_validations.sql" with { type: "text" };
import consents from "../../migrations/0031_consents.sql" with { type: "text" };
import usage from "../../migrations/0032_usage.sql" with { type: "text" };
import mailThrottles from "../../migrations/0033_mail_throttles.sql" with { type: "text" };
import pruning from "../../migrations/0034_pruning.sql" with { type: "text" };
import sso from "../../migrations/0039_sso.sql" with { type: "text" };
import mas from "../../migrations/0040_mas.sql" with { type: "text" };
import pendingDeviceLists from "../../migrations/0042_pending_device_lists.sql" with { type: "text" };
import historyPurge from "../../migrations/0044_history_purge.sql" with { type: "text" };
import scheduledTasks from "../../migrations/0045_scheduled_tasks.sql" with { type: "text" };
import bannedMembers from "../../migrations/0046_banned_members.sql" with { type: "text" };
import mediaQuarantine from "../../migrations/0047_media_quarantine.sql" with { type: "text" };
import userOverrides from "../../migrations/0048_user_overrides.sql" with { type: "text" };
import profileChanges from "../../migrations/0049_profile_changes.sql" with { type: "text" };
import phoneValidations from "../../migrations/0050_phone_validations.sql" with { type: "text" };
import leanEvents from "../../migrations/0051_lean_events.sql" with { type: "text" };
import exclusiveTasks from "../../migrations/0056_exclusive_tasks.sql" with { type: "text" };
import type { Dialect } from "./sql.ts";

/** One step of the schema. */
export interface Migration {
  readonly name: string;
  readonly text: string | { readonly [D in Dialect]: string };
}

/** Every step, in order. Sorted; one line each. */
export const MIGRATIONS: readonly Migration[] = [
  { name: "0001_core", text: core },
  { name: "0002_accounts", text: accounts },
  { name: "0003_rooms", text: rooms },
  { name: "0004_user_data", text: userData },
  { name: "0005_e2ee", text: e2ee },
  { name: "0006_media", text: media },
  { name: "0007_directory", text: directory },
  { name: "0008_push", text: push },
  { name: "0009_sync", text: sync },
  { name: "0010_search", text: { sqlite: searchSqlite, postgres: searchPostgres } },
  { name: "0011_social", text: social },
  { name: "0012_federation", text: federation },
  { name: "0013_pushers", text: pushers },
  { name: "0014_sliding_sync", text: slidingSync },
  { name: "0015_federation_rooms", text: federationRooms },
  { name: "0016_appservices", text: appservices },
  { name: "0017_sticky_events", text: stickyEvents },
  { name: "0018_partial_rooms", text: partialRooms },
  { name: "0020_relationships", text: relationships },
  { name: "0022_room_purges", text: roomPurges },
  { name: "0028_user_redactions", text: userRedactions },
  { name: "0029_thread_followers", text: threadFollowers },
  { name: "0030_email_validations", text: emailValidations },
  { name: "0031_consents", text: consents },
  { name: "0032_usage", text: usage },
  { name: "0033_mail_throttles", text: mailThrottles },
  { name: "0034_pruning", text: pruning },
  { name: "0039_sso", text: sso },
  { name: "0040_mas", text: mas },
  { name: "0042_pending_device_lists", text: pendingDeviceLists },
  { name: "0044_history_purge", text: historyPurge },
  { name: "0045_scheduled_tasks", text: scheduledTasks },
  { name: "0046_banned_members", text: bannedMembers },
  { name: "0047_media_quarantine", text: mediaQuarantine },
  { name: "0048_user_overrides", text: userOverrides },
  { name: "0049_profile_changes", text: profileChanges },
  { name: "0050_phone_validations", text: phoneValidations },
  { name: "0051_lean_events", text: leanEvents },
  { name: "0056_exclusive_tasks", text: exclusiveTasks },
];
