/** What goes with an account that is deactivated, besides what accounts keep themselves. */
import type { UserId } from "../protocol/ids.ts";
import type { PushRulesService } from "../services/push_rules.ts";
import { deleteCrossSigningKeys } from "../storage/cross_signing.ts";
import type { Tx } from "../storage/database.ts";
import { deleteBackupsOfUser } from "../storage/key_backup.ts";
import type { SocialParts } from "./social.ts";
import type { UserDataParts } from "./user_data.ts";

/** Removes what a user keeps with the server; devices have gone with their keys, messages and pushers. */
export async function forgetUserData(
  tx: Tx,
  { userId, userData, pushRules, social }: {
    userId: UserId;
    userData: Pick<UserDataParts, "accountData" | "deviceLists">;
    pushRules: PushRulesService;
    social: Pick<SocialParts, "directoryIndexer">;
  },
): Promise<void> {
  await deleteCrossSigningKeys(tx, userId);
  await deleteBackupsOfUser(tx, userId);
  await social.directoryIndexer.remove(tx, userId);
  await userData.accountData.deleteAll(tx, userId);
  await pushRules.deleteAll(tx, userId);
  await userData.deviceLists.noteChange(tx, userId);
}
