import assert from "node:assert/strict";
import { systemClock } from "./clock.ts";
import { ServiceManager } from "./service_manager.ts";

/** A service manager's end of the protocol. */
function listen(path: string): { socket: Deno.DatagramConn; next(): Promise<string> } {
  const socket = Deno.listenDatagram({ transport: "unixpacket", path });
  return {
    socket,
    next: async () => new TextDecoder().decode((await socket.receive())[0]),
  };
}

function environment(values: Record<string, string>): (name: string) => string | undefined {
  return (name) => values[name];
}

Deno.test("ServiceManager tells of start, reload and stop", async () => {
  const folder = await Deno.makeTempDir();
  const path = `${folder}/notify`;
  const { socket, next } = listen(path);
  {
    using manager = new ServiceManager({ clock: systemClock, env: environment({ NOTIFY_SOCKET: path }) });
    await manager.ready();
    assert.match(await next(), /^READY=1\n/);
    await manager.reloading();
    assert.match(await next(), /^RELOADING=1\n/);
    await manager.reloaded();
    assert.match(await next(), /^READY=1\n/);
    await manager.stopping();
    assert.match(await next(), /^STOPPING=1\n/);
  }
  socket.close();
  await Deno.remove(folder, { recursive: true });
});

Deno.test("ServiceManager speaks to abstract sockets and keeps the watchdog quiet until it is disposed of", async () => {
  const name = `synapse-ts-test-${Deno.pid}`;
  const { socket, next } = listen(`\0${name}`);
  const env = environment({ NOTIFY_SOCKET: `@${name}`, WATCHDOG_USEC: "20000", WATCHDOG_PID: String(Deno.pid) });
  const manager = new ServiceManager({ clock: systemClock, env });
  await manager.ready();
  assert.match(await next(), /^READY=1\n/);
  assert.equal(await next(), "WATCHDOG=1");
  assert.equal(await next(), "WATCHDOG=1");
  manager[Symbol.dispose]();
  socket.close();
});

Deno.test("ServiceManager does nothing without a service manager, or with one that is gone", async () => {
  for (const values of [{}, { NOTIFY_SOCKET: "" }, { NOTIFY_SOCKET: "/nonexistent/notify", WATCHDOG_USEC: "x" }]) {
    using manager = new ServiceManager({ clock: systemClock, env: environment(values as Record<string, string>) });
    await manager.ready();
    await manager.stopping();
  }
});
