/** Plays the server of a room with many members, in a process of its own: for `join.ts`. `whole` gives them at once. */
import { CA_PATH } from "../../tests/federation/certificates.ts";
import { bigRoomHandler, makeBigRoom } from "../../tests/federation/big_room.ts";
import { server, signerOf } from "../../tests/federation/environment.ts";
import { startPeer } from "../../tests/federation/peer.ts";

const [members = "20000", others = "10000", mode = ""] = Deno.args;
const peer = await startPeer({ names: ["IP:127.0.0.1"] });
// By its address, so that a server as anybody runs it finds it.
const signer = signerOf(server(`127.0.0.1:${peer.port}`));
const room = makeBigRoom(signer, { members: Number(members), others: Number(others) });
peer.handler = bigRoomHandler(room, { isWhole: mode === "whole" });
console.log(`serves ${room.roomId} by ${CA_PATH}`);
