"""One matrix-nio client, driven by JSON lines: a command on stdin, its answer on stdout. See nio_client.ts."""

import asyncio
import json
import sys

from nio import (
    AsyncClient,
    AsyncClientConfig,
    EnableEncryptionBuilder,
    ErrorResponse,
    MegolmEvent,
    RoomMessageText,
)

WAIT_SECONDS = 60
SYNC_TIMEOUT_MS = 2_000


class Failure(Exception):
    """What the server refused."""


def checked(response):
    if isinstance(response, ErrorResponse):
        raise Failure(str(response))
    return response


class Client:
    def __init__(self):
        self.nio = None
        self.syncing = None
        self.texts = []
        self.undecrypted = []

    async def login(self, base, user, password, store):
        config = AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
        self.nio = AsyncClient(base, user, store_path=store, config=config)
        self.nio.add_event_callback(self.on_text, RoomMessageText)
        self.nio.add_event_callback(self.on_undecrypted, MegolmEvent)
        checked(await self.nio.login(password, device_name="matrix-nio"))
        self.syncing = asyncio.create_task(self.nio.sync_forever(timeout=SYNC_TIMEOUT_MS, full_state=True))
        await self.nio.synced.wait()
        return {"user_id": self.nio.user_id, "device_id": self.nio.device_id}

    async def create_room(self, invite):
        state = [EnableEncryptionBuilder().as_dict()]
        room_id = checked(await self.nio.room_create(invite=invite, initial_state=state)).room_id
        await self.until(lambda: room_id in self.nio.rooms and self.nio.rooms[room_id].encrypted)
        return {"room_id": room_id}

    async def join(self, room_id):
        await self.until(lambda: room_id in self.nio.invited_rooms)
        checked(await self.nio.join(room_id))
        await self.until(lambda: room_id in self.nio.rooms and self.nio.rooms[room_id].encrypted)
        return {}

    async def wait_members(self, room_id, members):
        def present():
            users = self.nio.rooms[room_id].users
            return all(user in users and not users[user].invited for user in members)

        await self.until(present)
        return {}

    async def send(self, room_id, body):
        content = {"msgtype": "m.text", "body": body}
        sent = await self.nio.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
        return {"event_id": checked(sent).event_id}

    async def wait_text(self, room_id, sender, body):
        wanted = {"room_id": room_id, "sender": sender, "body": body}
        await self.until(lambda: any(text.items() >= wanted.items() for text in self.texts))
        return next(text for text in self.texts if text.items() >= wanted.items())

    async def quit(self):
        if self.syncing is not None:
            self.syncing.cancel()
        if self.nio is not None:
            await self.nio.logout()
            await self.nio.close()
        return {"undecrypted": self.undecrypted}

    async def on_text(self, room, event):
        text = {"room_id": room.room_id, "sender": event.sender, "body": event.body}
        self.texts.append({**text, "event_id": event.event_id, "decrypted": event.decrypted})

    async def on_undecrypted(self, room, event):
        self.undecrypted.append({"room_id": room.room_id, "event_id": event.event_id})

    async def until(self, condition):
        async def wait():
            while not condition():
                if self.syncing.done():
                    raise Failure(f"Syncing ended: {self.syncing.exception()!r}")
                await asyncio.sleep(0.02)

        await asyncio.wait_for(wait(), WAIT_SECONDS)


async def main():
    loop = asyncio.get_running_loop()
    client = Client()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        name = command.pop("command")
        try:
            answer = {"ok": await getattr(client, name)(**command)}
        except Exception as error:  # Whatever went wrong is for the test to show.
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)
        if name == "quit":
            return


asyncio.run(main())
