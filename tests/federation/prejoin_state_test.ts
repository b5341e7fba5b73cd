/** `room_prejoin_state`: what invited users see of a room, here and elsewhere. */
import assert from "node:assert/strict";
import { path } from "../harness/client.ts";
import { testConfiguredNetwork } from "./network.ts";

const shown = {
  disable_default_event_types: true,
  additional_event_types: ["org.example.all", ["org.example.one", "a"], "m.room.name"],
};

testConfiguredNetwork(
  { name: "room_prejoin_state chooses what invited users see", config: { room_prejoin_state: shown } },
  async ({ servers: [one, two] }) => {
    const [alice, near] = await one.hs.register("alice", "near");
    const [far] = await two.hs.register("far");
    const room = await alice.createRoom({ preset: "private_chat", name: "Shown", topic: "Hidden" });
    for (const stateKey of ["a", "b"]) {
      await alice.setState(room, { type: "org.example.all", stateKey, content: { stateKey } });
      await alice.setState(room, { type: "org.example.one", stateKey, content: { stateKey } });
    }
    for (const user of [near, far]) {
      await alice.post(path`/rooms/${room}/invite`, { user_id: user.userId });
      const { rooms } = await user.syncUntil((sync) => sync.rooms?.invite?.[room] !== undefined);
      const events: { type: string; state_key: string }[] = rooms.invite[room].invite_state.events;
      assert.deepEqual(events.map(({ type, state_key: key }) => `${type}|${key}`).sort(), [
        "m.room.create|",
        `m.room.member|${alice.userId}`,
        `m.room.member|${user.userId}`,
        "m.room.name|",
        "org.example.all|a",
        "org.example.all|b",
        "org.example.one|a",
      ]);
    }
  },
);
