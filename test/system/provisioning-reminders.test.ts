import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { connect } from "../../src/db/client.ts";
import { enqueueOperation, markSent } from "../../src/db/operations.ts";
import { LEASE_MS, REMIND_AGAIN_MAX_MS, STANDSTILL_MS } from "../../src/provisioner/limits.ts";
import { remind } from "../../src/provisioner/remind.ts";
import type { ProvisionerPorts } from "../../src/provisioner/ports.ts";
import { beginStep, claimOperation, pause, succeed } from "../../src/provisioner/store.ts";
import { ROLE_PASSWORDS, startPostgres } from "../support/postgres.ts";
import type { TestPostgres } from "../support/postgres.ts";

const MINUTE_MS = 60_000;
let server: TestPostgres;
let admin: postgres.Sql;
let control: ReturnType<typeof connect>;
/** In the test's hand, as the queue is. */
let nowMs = 0;
let sent: { id: string; delaySeconds: number }[] = [];
let asked = 0;

beforeAll(async () => {
  server = await startPostgres();
  const database = await server.createDatabase();
  admin = postgres(server.url(database), { max: 1, onnotice: () => {} });
  const user = "causeway_provisioner";
  control = connect(server.url(database, { user, password: ROLE_PASSWORDS[user] }), 1);
}, 60_000);

afterAll(async () => {
  await Promise.all([admin.end(), control.sql.end()]);
  await server.stop();
});

beforeEach(async () => {
  await admin`truncate control.operations, control.operation_steps, control.outbox`;
  nowMs = Date.now();
  sent = [];
});

const now = () => new Date(nowMs);

/** The sweep's part that is tested here asks nothing else of its ports. */
async function sweep(): Promise<string[]> {
  const from = sent.length;
  const ports: Pick<ProvisionerPorts, "db" | "clock" | "send"> = {
    db: control.db,
    clock: () => nowMs,
    send: async ({ operationId }, delaySeconds) => void sent.push({ id: operationId, delaySeconds }),
  };
  await remind(ports);
  return sent.slice(from).map(({ id }) => id);
}

/** Asked for, and its message sent. */
async function ask(subjectId = `subject-${(asked += 1)}`): Promise<string> {
  const { operationId, outboxId } = await control.db.transaction((tx) =>
    enqueueOperation(tx, { kind: "tenant-policy", subjectId, tenantId: null, now: now() }),
  );
  await markSent(control.db, outboxId, now());
  return operationId;
}

/** Its message arrives: somebody takes it. */
async function take(id: string) {
  const claim = await claimOperation(control.db, id, `lease-${id}`, now());
  if (claim.kind !== "claimed") throw new Error(`not claimed: ${claim.kind}`);
  await beginStep(control.db, claim.run, 0, now());
  return claim.run;
}

async function end(id: string): Promise<void> {
  await succeed(control.db, await take(id), 0, now());
}

test("whoever waits in a long queue is not sent again, and one whose message got lost there is (H51)", async () => {
  const ids: string[] = [];
  // Six a second are asked for, two a second are done: the last one waits for 80 s.
  for (let n = 0; n < 240; n += 1) {
    if (n % 6 === 0) nowMs += 1_000;
    ids.push(await ask());
  }
  const [lost = ""] = ids.splice(36, 1);
  const told: string[] = [];
  for (const [at, id] of ids.entries()) {
    if (at % 2 === 0) nowMs += 1_000;
    await end(id);
    if (at % 10 === 9) told.push(...(await sweep()));
  }
  expect(told.length).toBeGreaterThan(0);
  expect(new Set(told)).toEqual(new Set([lost]));
}, 60_000);

test("a lost message is found within seconds while nothing else is going on, and within a minute while everything else is (H51)", async () => {
  await end(await ask());
  nowMs += MINUTE_MS;
  const lost = await ask();
  expect(await sweep()).toEqual([]);
  nowMs += 1_001;
  expect(await sweep()).toEqual([lost]);

  await end(lost);
  const overtaken = await ask();
  let foundMs: number | null = null;
  for (let ms = 0; ms < MINUTE_MS && foundMs === null; ms += 1_000) {
    nowMs += 1_000;
    await end(await ask());
    if ((await sweep()).includes(overtaken)) foundMs = ms;
  }
  expect(foundMs).toBeGreaterThan(10_000);
  expect(foundMs).toBeLessThan(30_000);
});

test("while no message arrives at all it is reminded less and less often, at last every ten minutes; taken up it counts anew (H51)", async () => {
  const id = await ask();
  const atSeconds: number[] = [];
  for (let second = 0; second < 3_600; second += 5) {
    nowMs += 5_000;
    if ((await sweep()).includes(id)) atSeconds.push(second);
  }
  const gaps = atSeconds.slice(1).map((at, index) => at - (atSeconds[index] ?? 0));
  expect(gaps).toEqual([30, 60, 120, 240, 480, 600, 600, 600, 600]);
  expect(Math.max(...gaps) * 1_000).toBe(REMIND_AGAIN_MAX_MS);

  const run = await take(id);
  const later = { kind: "pause", delayMs: 1_000, reason: "not yet", failedAttempt: false } as const;
  await pause(control.db, run, 0, later, now());
  nowMs += MINUTE_MS;
  expect(await sweep()).toEqual([id]);
});

test("a run that died is taken over when its lease is over; one that goes on, and what waits behind it, is left alone (H51)", async () => {
  const first = await ask("one");
  const second = await ask("one");
  const run = await take(first);
  nowMs += 1_500;
  expect(await sweep()).toEqual([]);
  await beginStep(control.db, run, 0, now());
  nowMs += 2_500;
  expect(await sweep()).toEqual([]);
  nowMs += 1_000;
  expect(await sweep()).toEqual([first]);
  expect(sent).toEqual([{ id: first, delaySeconds: Math.ceil((LEASE_MS - 3_500) / 1_000) + 1 }]);
  nowMs += LEASE_MS;
  await succeed(control.db, await take(first), 0, now());
  // Who ended it died before waking the next one.
  nowMs += STANDSTILL_MS + 1;
  expect(await sweep()).toEqual([second]);
});

test("what was written and never sent is sent, once (H51)", async () => {
  const { operationId } = await control.db.transaction((tx) =>
    enqueueOperation(tx, { kind: "tenant-policy", subjectId: "unsent", tenantId: null, now: now() }),
  );
  expect(await sweep()).toEqual([]);
  nowMs += 1_001;
  expect(await sweep()).toEqual([operationId]);
  nowMs += 10_000;
  expect(await sweep()).toEqual([]);
});
