/** The long work of administrators: what may run at the same time, and what may not. */
import assert from "node:assert/strict";
import { systemClock } from "../../src/lib/clock.ts";
import { nextTurn } from "../../src/lib/turn.ts";
import { getLogger } from "../../src/lib/log.ts";
import { TaskScheduler } from "../../src/services/task_scheduler.ts";
import type { Database } from "../../src/storage/database.ts";
import { testEachDatabase } from "../harness/databases.ts";

/** A scheduler whose tasks are counted, and end when the test lets them. */
class Workshop implements AsyncDisposable {
  readonly tasks: TaskScheduler;
  readonly began: string[] = [];
  mostAtOnce = 0;
  #atOnce = 0;
  #next = Promise.withResolvers<void>();
  readonly #gates = new Map<string, PromiseWithResolvers<void>>();

  constructor(db: Database) {
    this.tasks = new TaskScheduler({
      ...{ db, clock: systemClock, log: getLogger("test"), stopping: new AbortController().signal },
    });
    for (const action of ["dig", "paint"]) {
      this.tasks.register(action, async ({ id, params }, { signal }) => {
        this.began.push(String(params["name"] ?? id));
        this.mostAtOnce = Math.max(this.mostAtOnce, ++this.#atOnce);
        this.#next.resolve();
        this.#next = Promise.withResolvers();
        const { promise: stopped, resolve } = Promise.withResolvers<void>();
        signal.addEventListener("abort", () => resolve());
        if (signal.aborted) resolve();
        await Promise.race([this.#gate(String(params["name"])).promise, stopped]);
        this.#atOnce--;
      });
    }
  }

  #gate(name: string): PromiseWithResolvers<void> {
    const gate = this.#gates.get(name) ?? Promise.withResolvers<void>();
    this.#gates.set(name, gate);
    return gate;
  }

  /** Resolves once so many tasks have begun. */
  async untilBegan(count: number): Promise<void> {
    while (this.began.length < count) await this.#next.promise;
  }

  open(name: string): void {
    this.#gate(name).resolve();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tasks[Symbol.asyncDispose]();
  }
}

const dig = (resourceId: string | null, name: string) => ({ action: "dig", resourceId, params: { name } });

for (const resourceId of ["garden", null]) {
  testEachDatabase(`an exclusive task is begun once at a time (resource: ${resourceId})`, async (db) => {
    await using workshop = new Workshop(db);
    const { tasks } = workshop;
    const asked = await Promise.all([1, 2, 3, 4, 5].map(() => tasks.scheduleExclusively(dig(resourceId, "first"))));
    const begun = asked.filter((task) => task !== null);
    assert.equal(begun.length, 1);
    const others = await Promise.all([
      tasks.scheduleExclusively(dig("yard", "yard")),
      tasks.scheduleExclusively({ ...dig(resourceId, "paint"), action: "paint" }),
    ]);
    assert.ok(others.every((task) => task !== null), "another resource or action is its own");
    assert.equal(await tasks.scheduleExclusively(dig(resourceId, "late")), null);
    workshop.open("first");
    await begun[0]?.ended;
    const next = await tasks.scheduleExclusively(dig(resourceId, "next"));
    assert.ok(next !== null, "it has ended");
    workshop.open("next");
    await next.ended;
  });
}

testEachDatabase("an exclusive task that a restart interrupts still is the only one", async (db) => {
  const before = new Workshop(db);
  const begun = await before.tasks.scheduleExclusively(dig("garden", "first"));
  assert.ok(begun !== null);
  const isInterrupted = assert.rejects(begun.ended);
  await before[Symbol.asyncDispose]();
  await isInterrupted;
  await using after = new Workshop(db);
  assert.equal(await after.tasks.scheduleExclusively(dig("garden", "second")), null);
  after.open("first");
  after.tasks.start();
  const deadline = performance.now() + 30_000;
  while ((await after.tasks.get(begun.id))?.status !== "complete") {
    assert.ok(performance.now() < deadline, "the task does not end");
    await nextTurn();
  }
  assert.ok(await after.tasks.scheduleExclusively(dig("garden", "second")) !== null);
});

testEachDatabase("other tasks on the same thing wait for each other, and hold up nobody else", async (db) => {
  await using workshop = new Workshop(db);
  const { tasks } = workshop;
  const names = Array.from({ length: 12 }, (_, index) => `d${index}`);
  const queued = [];
  for (const name of names) queued.push(await tasks.schedule(dig("garden", name)));
  // More wait than may run: what is for another thing passes them.
  const other = await tasks.schedule(dig("yard", "yard"));
  workshop.open("yard");
  await other.ended;
  // Whether the first of the others or this one begins first is not said.
  await workshop.untilBegan(2);
  assert.equal(workshop.began.filter((name) => name !== "yard").length, 1);
  workshop.mostAtOnce = 0;
  for (const name of names) workshop.open(name);
  await Promise.all(queued.map(({ ended }) => ended));
  assert.equal(workshop.mostAtOnce, 1);
  assert.deepEqual(new Set(workshop.began), new Set([...names, "yard"]));
});
