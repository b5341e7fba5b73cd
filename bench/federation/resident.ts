/** Plays the server of a room with many members, in a process of its own: for `join_bench.ts`. */
import { CA_PATH } from "../tests/federation/certificates.ts";
import { bigRoomHandler, makeBigRoom } from "../tests/federation/big_room.ts";
import { peerSigner } from "../tests/federation/inbound.ts";
import { startPeer } from "../tests/federation/peer.ts";

const [members = "20000", others = "10000"] = Deno.args;
const peer = await startPeer();
const room = makeBigRoom(peerSigner(peer.port), { members: Number(members), others: Number(others) });
peer.handler = bigRoomHandler(room);
console.log(`serves ${room.roomId} by ${CA_PATH}`);
