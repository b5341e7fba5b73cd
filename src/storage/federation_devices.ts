/** Device lists as other servers follow them. */
import type { UserId } from "../protocol/ids.ts";
import type { Db } from "./database.ts";
import { sql } from "./sql.ts";

/** Returns where in the stream of device lists a user's list changed last; 0 when it never did. */
export async function selectDeviceListPosition(db: Db, userId: UserId): Promise<number> {
  const row = await db.get<{ position: number | null }>(sql`
    SELECT MAX(position) AS position FROM device_list_changes WHERE user_id = ${userId}`);
  return row?.position ?? 0;
}
