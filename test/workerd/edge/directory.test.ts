import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from "cloudflare:test";
import { env } from "cloudflare:workers";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { directoryCopyKey, noticesCopyKey, type DirectoryRecord } from "../../../src/policy/record.ts";
import type { Directory } from "../../../src/relay/directory.ts";

declare global {
  namespace Cloudflare {
    interface Env {
      DIRECTORY: DurableObjectNamespace<Directory>;
      DIRECTORY_COPY: KVNamespace;
    }
  }
}
const { DIRECTORY, DIRECTORY_COPY } = env;

// A real Durable Object with SQLite and alarms on workerd, and a real KV namespace. Each test has an object and a host of its own: what one
// has left to copy must not come between another's.
let own: string;
let count = 0;
let directory: DurableObjectStub<Directory>;
beforeEach(() => {
  own = `acme-${(count += 1)}.example.com`;
  directory = DIRECTORY.getByName(`directory-test-${count}`);
});

function record(revision: number, over: Partial<DirectoryRecord> = {}): DirectoryRecord {
  return {
    host: own,
    tenantId: "ten_1",
    slug: "acme",
    cluster: "default",
    state: "active",
    node: { id: "nod_1", name: "walter-white", url: "https://walter.nodes.example.com" },
    routes: [{ prefix: "/app", access: "public", to: { kind: "service", service: "app" } }],
    accessRevision: 0,
    notBefore: { usr_1: 5 },
    revision,
    ...over,
  };
}
const revisionOf = async (host = own) => (await directory.lookup(host))?.revision ?? null;
const copy = (host = own) => DIRECTORY_COPY.get<DirectoryRecord>(directoryCopyKey(host), "json");

describe("a record", () => {
  test("is what was published, until a later revision replaces the whole of it", async () => {
    expect(await directory.lookup(own)).toBeNull();
    expect(await directory.publish(record(1))).toEqual({ applied: true, revision: 1 });
    expect(await directory.lookup(own)).toEqual(record(1));
    expect(await directory.publish(record(3, { state: "suspended", routes: [] }))).toEqual({
      applied: true,
      revision: 3,
    });
    expect(await directory.lookup(own)).toEqual(record(3, { state: "suspended", routes: [] }));
  });

  test("is not replaced by an older one; the same one again is fine", async () => {
    await directory.publish(record(5));
    expect(await directory.publish(record(4, { state: "failed" }))).toEqual({ applied: false, revision: 5 });
    expect(await directory.publish(record(5))).toEqual({ applied: true, revision: 5 });
    expect(await directory.lookup(own)).toEqual(record(5));
  });

  test("of a host that another tenant holds is refused, whatever its revision", async () => {
    await directory.publish(record(1));
    expect(await directory.publish(record(99, { tenantId: "ten_2" }))).toEqual({ applied: false, revision: 1 });
    expect((await directory.lookup(own))?.tenantId).toBe("ten_1");
  });

  test("that is none is refused", async () => {
    const broken = record(1, { host: `${"a".repeat(300)}.example.com` });
    await runInDurableObject(directory, (object) => expect(object.publish(broken)).rejects.toThrow(/host/));
    expect(await directory.lookup(own)).toBeNull();
  });

  test("survives the object", async () => {
    await directory.publish(record(2));
    await evictDurableObject(directory);
    expect(await directory.lookup(own)).toEqual(record(2));
  });
});

describe("a withdrawn host", () => {
  test("stays away from late and repeated messages, also after a restart", async () => {
    await directory.publish(record(1));
    expect(await directory.withdraw(own, "ten_1", 2)).toEqual({ applied: true, revision: 2 });
    expect(await directory.lookup(own)).toBeNull();
    await evictDurableObject(directory);
    expect(await directory.publish(record(1))).toEqual({ applied: false, revision: 2 });
    expect(await directory.publish(record(2))).toEqual({ applied: false, revision: 2 });
    expect(await directory.withdraw(own, "ten_1", 2)).toEqual({ applied: true, revision: 2 });
    expect(await directory.lookup(own)).toBeNull();
    expect(await directory.publish(record(3))).toEqual({ applied: true, revision: 3 });
  });

  test("is free for another tenant, and the first one's late messages do not take it back", async () => {
    await directory.publish(record(10));
    await directory.withdraw(own, "ten_1", 11);
    expect(await directory.publish(record(2, { tenantId: "ten_2" }))).toMatchObject({ applied: true });
    expect(await directory.publish(record(10))).toMatchObject({ applied: false });
    await directory.withdraw(own, "ten_2", 3);
    // The second one's withdrawal does not make room for the first one's past.
    expect(await directory.publish(record(10))).toEqual({ applied: false, revision: 11 });
    expect(await directory.publish(record(12))).toMatchObject({ applied: true });
  });

  test("is not taken away by an older withdrawal or another tenant's", async () => {
    await directory.publish(record(5));
    expect(await directory.withdraw(own, "ten_1", 4)).toEqual({ applied: false, revision: 5 });
    expect(await directory.withdraw(own, "ten_2", 99)).toEqual({ applied: true, revision: 99 });
    expect(await revisionOf()).toBe(5);
  });

  test("that was never published is fenced all the same", async () => {
    await directory.withdraw(own, "ten_1", 7);
    expect(await directory.publish(record(6))).toEqual({ applied: false, revision: 7 });
  });

  test("in any order of the same messages ends the same", async () => {
    const steps = [
      (of: DurableObjectStub<Directory>) => of.publish(record(1)),
      (of: DurableObjectStub<Directory>) => of.publish(record(2, { state: "suspended" })),
      (of: DurableObjectStub<Directory>) => of.withdraw(own, "ten_1", 3),
    ];
    for (const order of [
      [0, 1, 2],
      [0, 2, 1],
      [1, 0, 2],
      [1, 2, 0],
      [2, 0, 1],
      [2, 1, 0],
    ]) {
      const object = DIRECTORY.getByName(`order-${order.join("")}`);
      for (const step of [...order, ...order]) await steps[step]?.(object);
      expect(await object.lookup(own)).toBeNull();
    }
  });
});

/** A loaded machine takes its time. */
const SOON = { timeout: 10_000, interval: 25 };

describe("the copy in KV", () => {
  test("follows publication and withdrawal", async () => {
    await directory.publish(record(1));
    await vi.waitFor(async () => expect(await copy()).toEqual(record(1)), SOON);
    await directory.publish(record(2, { state: "suspended" }));
    await vi.waitFor(async () => expect((await copy())?.revision).toBe(2), SOON);
    await directory.withdraw(own, "ten_1", 3);
    await vi.waitFor(async () => expect(await copy()).toBeNull(), SOON);
  });

  test("ends with the last of many changes", async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => directory.publish(record(i + 1))));
    expect(await revisionOf()).toBe(20);
    await vi.waitFor(async () => expect((await copy())?.revision).toBe(20), SOON);
  });

  test("that could not be written is written by the alarm, and publication does not wait for it", async () => {
    await runInDurableObject(directory, (object) => failingCopies(object));
    expect(await directory.publish(record(1))).toEqual({ applied: true, revision: 1 });
    const alarm = await vi.waitFor(async () => {
      const at = await runInDurableObject(directory, (_, state) => state.storage.getAlarm());
      expect(at).not.toBeNull();
      return at ?? 0;
    }, SOON);
    expect(alarm - Date.now()).toBeLessThanOrEqual(60_000);
    expect(await copy()).toBeNull();
    // A restart loses nothing: what is to be copied is in the object's storage.
    await evictDurableObject(directory);
    expect(await runDurableObjectAlarm(directory)).toBe(true);
    expect(await copy()).toEqual(record(1));
    expect(await runInDurableObject(directory, (_, state) => state.storage.getAlarm())).toBeNull();
  });
});

test("tombstones go after 30 days, not before", async () => {
  await directory.withdraw(own, "ten_1", 5);
  const tombstones = () =>
    runInDurableObject(directory, (_, state) => state.storage.sql.exec("SELECT host FROM tombstones").toArray().length);
  await runDurableObjectAlarm(directory);
  expect(await tombstones()).toBe(1);
  expect(await runInDurableObject(directory, (_, state) => state.storage.getAlarm())).toBeGreaterThan(
    Date.now() + 29 * 24 * 3_600_000,
  );
  await runInDurableObject(directory, (_, state) => {
    state.storage.sql.exec("UPDATE tombstones SET at_ms = ?", Date.now() - 31 * 24 * 3_600_000);
  });
  await runDurableObjectAlarm(directory);
  expect(await tombstones()).toBe(0);
});

/** Makes this object's KV namespace refuse writes, as KV does when a key is written more often than once a second. */
function failingCopies(object: Directory): void {
  const refuse = () => Promise.reject(new Error("KV PUT failed: 429 Too Many Requests"));
  Object.defineProperty(object, "env", { value: { DIRECTORY_COPY: { put: refuse, delete: refuse } } });
}

describe("a maintenance notice", () => {
  const notice = { message: "Back at noon.", retryAfterSeconds: 60, allow: [] };
  const noticeOf = async (host = own) => (await directory.lookup(host))?.notice?.message ?? null;

  test("of the platform or of its cluster comes with every record, and survives a restart", async () => {
    await directory.publish(record(1));
    await directory.publish(record(1, { host: "other.example.com", tenantId: "ten_2", cluster: "west" }));
    expect(await directory.lookup("*")).toBeNull();
    await directory.putNotice({ scope: "west", revision: 5, maintenance: notice });
    expect([await noticeOf(), await noticeOf("other.example.com")]).toEqual([null, "Back at noon."]);
    await directory.putNotice({ scope: "*", revision: 6, maintenance: { ...notice, message: "All of it." } });
    expect([await noticeOf(), await noticeOf("other.example.com")]).toEqual(["All of it.", "All of it."]);
    expect(await directory.lookup("*")).toMatchObject({ host: "*", tenantId: "", node: null, routes: [] });
    await evictDurableObject(directory);
    expect([await noticeOf(), await noticeOf("*")]).toEqual(["All of it.", "All of it."]);
    await directory.putNotice({ scope: "*", revision: 7, maintenance: null });
    expect([await noticeOf(), await noticeOf("other.example.com")]).toEqual([null, "Back at noon."]);
    expect(await directory.lookup("*")).toBeNull();
    expect(await directory.lookup("nobody.example.com")).toBeNull();
  });

  test("is not replaced by an older one, and is no part of what is kept of a host", async () => {
    await directory.publish(record(1));
    await directory.putNotice({ scope: "*", revision: 8, maintenance: null });
    expect(await directory.putNotice({ scope: "*", revision: 7, maintenance: notice })).toEqual({
      applied: false,
      revision: 8,
    });
    expect(await noticeOf()).toBeNull();
    await directory.putNotice({ scope: "*", revision: 9, maintenance: notice });
    await vi.waitFor(async () => expect(await copy()).toMatchObject({ revision: 1 }));
    expect(await copy()).not.toHaveProperty("notice");
  });

  test("is copied to KV with those that are over, under the object's own name, and by the alarm where KV refused it", async () => {
    const copied = () => DIRECTORY_COPY.get(noticesCopyKey(`directory-test-${count}`), "json");
    const west = { scope: "west", revision: 5, maintenance: notice };
    await directory.putNotice(west);
    await vi.waitFor(async () => expect(await copied()).toEqual([west]), SOON);
    await runInDurableObject(directory, (object) => failingCopies(object));
    const over = { scope: "*", revision: 6, maintenance: null };
    await directory.putNotice(over);
    await evictDurableObject(directory);
    expect(await runDurableObjectAlarm(directory)).toBe(true);
    expect(await copied()).toEqual(expect.arrayContaining([west, over]));
  });
});
