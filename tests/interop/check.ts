/** What a check of the interoperation with Synapse gets, and how checks are listed. */
import type { TestClient } from "../harness/client.ts";
import type { HomeServer, Pair } from "./servers.ts";

/** The servers by their parts in a check: the room is made at the host, the guest comes to it. */
export interface Sides {
  readonly host: HomeServer;
  readonly guest: HomeServer;
  /** Remembers a room with a user of each server in it, to be compared at the end. */
  readonly remember: (room: SharedRoom) => void;
}

/** A room with a user of each server in it. */
export interface SharedRoom {
  readonly roomId: string;
  readonly users: readonly [TestClient, TestClient];
}

/** One check. */
export interface Check {
  readonly name: string;
  readonly run: () => Promise<void>;
}

/** A check that is the same in both directions. */
export type SidedCheck = (sides: Sides) => Promise<void>;

/** The room versions that are tried. */
export const VERSIONS: readonly string[] = ["6", "9", "10", "11", "12"];

/** Returns the checks in both directions. */
export function bothWays(
  checks: Readonly<Record<string, SidedCheck>>,
  { pair: { ours, synapse }, remember }: { pair: Pair; remember: Sides["remember"] },
): Check[] {
  const ways = [{ host: ours, guest: synapse }, { host: synapse, guest: ours }];
  return Object.entries(checks).flatMap(([name, run]) =>
    ways.map(({ host, guest }) => ({
      name: `${name}, room at ${host.kind}`,
      run: () => run({ host, guest, remember }),
    }))
  );
}

/** Makes a public room with a user of each server in it. */
export async function openRoom(
  { host, guest, remember }: Sides,
  options: Readonly<Record<string, unknown>> = {},
): Promise<{ roomId: string; alice: TestClient; bob: TestClient }> {
  const [alice, bob] = [await host.register("alice"), await guest.register("bob")];
  const roomId = await alice.createRoom({ preset: "public_chat", ...options });
  await joinVia(bob, roomId, host);
  remember({ roomId, users: [alice, bob] });
  return { roomId, alice, bob };
}

/** Joins a room through a server. */
export async function joinVia(user: TestClient, roomId: string, { name }: HomeServer): Promise<void> {
  await user.ok("POST", `/join/${encodeURIComponent(roomId)}`, { body: {}, query: { server_name: name, via: name } });
}
