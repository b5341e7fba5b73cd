/** Identity servers that addresses were published at. */
import type { UserId } from "../protocol/ids.ts";
import type { Db, Tx } from "./database.ts";
import { sql } from "./sql.ts";

/** Where an address of a user is published. */
export interface ThreepidBinding {
  readonly userId: UserId;
  readonly medium: string;
  readonly address: string;
  readonly idServer: string;
}

/** Notes that an address is published. */
export async function insertThreepidBinding(
  tx: Tx,
  { userId, medium, address, idServer }: ThreepidBinding,
): Promise<void> {
  await tx.run(sql`
    INSERT INTO threepid_bindings (user_id, medium, address, id_server)
    VALUES (${userId}, ${medium}, ${address}, ${idServer})
    ON CONFLICT (user_id, medium, address, id_server) DO NOTHING`);
}

/** Returns the identity servers that a user's address is published at, at most 20. */
export async function selectThreepidBindings(
  db: Db,
  { userId, medium, address }: Omit<ThreepidBinding, "idServer">,
): Promise<string[]> {
  const rows = await db.all<{ id_server: string }>(sql`
    SELECT id_server FROM threepid_bindings
    WHERE user_id = ${userId} AND medium = ${medium} AND address = ${address} ORDER BY id_server LIMIT 20`);
  return rows.map((row) => row.id_server);
}

/** Forgets that an address is published. */
export async function deleteThreepidBinding(
  tx: Tx,
  { userId, medium, address, idServer }: ThreepidBinding,
): Promise<void> {
  await tx.run(sql`
    DELETE FROM threepid_bindings
    WHERE user_id = ${userId} AND medium = ${medium} AND address = ${address} AND id_server = ${idServer}`);
}
