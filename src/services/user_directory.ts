/**
 * Finding users. Spec: client-server API, "User Directory".
 *
 * Users find those they share a room with and those in rooms that are open to anybody. Words fit when they begin so;
 * whole words come before beginnings, names before the rest.
 */
import { foldText, wordsToFind } from "../lib/words.ts";
import { localpartOf, type ServerName, serverNameOf, type UserId } from "../protocol/ids.ts";
import type { JsonObject } from "../protocol/json.ts";
import type { Db } from "../storage/database.ts";
import { type DirectoryUser, selectDirectoryMatches } from "../storage/user_directory.ts";

/** Options of the configuration, by Synapse's names. */
export interface UserDirectoryOptions {
  readonly enabled: boolean;
  readonly searchAllUsers: boolean;
  readonly preferLocalUsers: boolean;
  readonly excludeRemoteUsers: boolean;
  readonly showLockedUsers: boolean;
}

/** What the service is built from. */
export interface UserDirectoryDeps {
  readonly db: Db;
  readonly serverName: ServerName;
  readonly options: UserDirectoryOptions;
  /** Resolves once what was written so far can be found. */
  readonly catchUp: () => Promise<void>;
}

const MAX_LIMIT = 50;
const MAX_CANDIDATES = 500;
const MAX_WORDS = 10;

/** Searches the user directory. */
export class UserDirectoryService {
  readonly #deps: UserDirectoryDeps;

  constructor(deps: UserDirectoryDeps) {
    this.#deps = deps;
  }

  /** Returns the response body. */
  async search(searcher: UserId, { term, limit }: { term: string; limit: number }): Promise<JsonObject> {
    const { db, serverName, options, catchUp } = this.#deps;
    const words = wordsToFind(term, { max: MAX_WORDS });
    if (!options.enabled || words.length === 0) return { limited: false, results: [] };
    await catchUp();
    const matches = await selectDirectoryMatches(db, {
      searcher,
      words,
      searchAllUsers: options.searchAllUsers,
      excludeRemote: options.excludeRemoteUsers,
      showLocked: options.showLockedUsers,
      localSuffix: `:${serverName}`,
      limit: MAX_CANDIDATES,
    });
    const wanted = Math.min(limit, MAX_LIMIT);
    const ranked = matches.map((user) => ({ user, rank: this.#rank(user, { term, words }) }))
      .sort((a, b) => b.rank - a.rank);
    return {
      limited: ranked.length > wanted,
      results: ranked.slice(0, wanted).map(({ user }) => ({
        user_id: user.userId,
        ...(user.displayName === null ? {} : { display_name: user.displayName }),
        ...(user.avatarUrl === null ? {} : { avatar_url: user.avatarUrl }),
      })),
    };
  }

  #rank(user: DirectoryUser, { term, words }: { term: string; words: readonly string[] }): number {
    const wanted = foldText(term.trim());
    const name = foldText(user.displayName ?? "");
    const localpart = foldText(localpartOf(user.userId));
    const own = new Set(wordsToFind(`${name} ${localpart}`, { max: MAX_WORDS * 10 }));
    let rank = 0;
    if (name === wanted || localpart === wanted || user.userId === term.trim()) rank += 100;
    for (const word of words) {
      if (own.has(word)) rank += 10;
      else if (name.startsWith(word) || localpart.startsWith(word)) rank += 5;
    }
    if (user.displayName !== null) rank += 2;
    if (user.avatarUrl !== null) rank += 1;
    const isLocal = serverNameOf(user.userId) === this.#deps.serverName;
    return this.#deps.options.preferLocalUsers && isLocal ? rank + 20 : rank;
  }
}
