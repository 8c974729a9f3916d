import process from "node:process";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { beforeEach, describe, expect, test } from "vitest";
import type { DirectoryRecord, TenantState } from "../policy/record.ts";
import { createDirectoryCache, type DirectoryCache, type Lookup } from "./directory-cache.ts";
import { LIMITS } from "./limits.ts";

/** A clock with timers that fire when it is moved, an authority and a copy that can fail, and a cache between them. */
class World {
  nowMs = 1_000_000;
  directory = new Map<string, unknown>();
  copies = new Map<string, unknown>();
  copiedNotices: () => Promise<unknown> = async () => null;
  state: "up" | "down" | "hanging" = "up";
  authority = (host: string): unknown => this.directory.get(host) ?? null;
  asked = 0;
  copyReads = 0;
  outages: string[] = [];
  behind: Promise<unknown>[] = [];
  readonly cache: DirectoryCache;
  readonly #timers = new Set<{ atMs: number; fire: () => void }>();

  constructor(limits: Partial<typeof LIMITS> | Record<string, number> = {}) {
    this.cache = createDirectoryCache(
      {
        ask: async (host) => {
          this.asked += 1;
          if (this.state === "hanging") return await new Promise(() => {});
          if (this.state === "down") throw new Error("unreachable");
          return this.authority(host);
        },
        readCopy: async (host) => {
          this.copyReads += 1;
          return this.copies.get(host) ?? null;
        },
        readNotices: () => this.copiedNotices(),
        now: () => this.nowMs,
        timer: (ms, fire) => {
          const timer = { atMs: this.nowMs + ms, fire };
          this.#timers.add(timer);
          return () => void this.#timers.delete(timer);
        },
        onOutage: (_shard, state) => void this.outages.push(state),
      },
      { ...LIMITS, ...limits },
    );
  }

  async find(host = "acme.example.com"): Promise<Lookup> {
    return await this.cache.find(host, (work) => void this.behind.push(work));
  }

  async pass(ms: number): Promise<void> {
    this.nowMs += ms;
    for (const timer of this.#timers) {
      if (timer.atMs > this.nowMs) continue;
      this.#timers.delete(timer);
      timer.fire();
    }
    // What was begun behind a request ends before the next one comes, unless it hangs.
    for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  }

  put(state: TenantState = "active", revision = 1, over: Partial<DirectoryRecord> = {}): void {
    const record = recordOf(state, revision, over);
    this.directory.set(record.host, record);
  }
}

function recordOf(state: TenantState, revision: number, over: Partial<DirectoryRecord> = {}): DirectoryRecord {
  return {
    host: "acme.example.com",
    tenantId: "ten_1",
    slug: "acme",
    cluster: "default",
    state,
    node: null,
    routes: [],
    accessRevision: 0,
    notBefore: {},
    revision,
    ...over,
  };
}

const stateOf = (lookup: Lookup): string =>
  lookup.kind === "record" ? `${lookup.record.state} ${lookup.record.revision}` : lookup.kind;

/** What is alive, after a full collection. */
function heapBytes(): number {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
  return process.memoryUsage().heapUsed;
}

let world: World;
beforeEach(() => {
  world = new World();
});

describe("with the directory at hand", () => {
  test("an active record is asked for once while it is fresh", async () => {
    world.put();
    for (let i = 0; i < 10; i++) {
      expect(stateOf(await world.find())).toBe("active 1");
      await world.pass(290);
    }
    expect(world.asked).toBe(1);
  });

  test("then it is served while it is refreshed behind the request, once", async () => {
    world.put("active", 1);
    await world.find();
    await world.pass(3_500);
    world.put("active", 2);
    const answers = await Promise.all([world.find(), world.find(), world.find()]);
    expect(answers.map(stateOf)).toEqual(["active 1", "active 1", "active 1"]);
    expect(world.asked).toBe(2);
    await world.pass(1);
    expect(stateOf(await world.find())).toBe("active 2");
  });

  test("a record that nobody asked for in a while is not served unseen", async () => {
    world.put("active", 1);
    await world.find();
    await world.pass(6_001);
    world.put("active", 2);
    expect(await world.find()).toMatchObject({ source: "directory", record: { revision: 2 } });
  });

  test("a suspension is effective within 10 s whatever the rhythm of requests", async () => {
    for (const everyMs of [100, 700, 1_900, 2_999, 3_001, 5_999, 6_001, 9_000]) {
      world = new World();
      world.put("active", 1);
      await world.find();
      world.put("suspended", 2);
      const suspendedAtMs = world.nowMs;
      let state = "";
      while (world.nowMs - suspendedAtMs < 30_000) {
        await world.pass(everyMs);
        state = stateOf(await world.find());
        await world.pass(0);
        if (world.nowMs - suspendedAtMs >= 10_000) expect(state).toBe("suspended 2");
      }
    }
  });

  test("a new host is visible within 2 s though it was asked for just before", async () => {
    expect(stateOf(await world.find())).toBe("unknown");
    world.put("active", 1);
    await world.pass(500);
    expect(stateOf(await world.find())).toBe("unknown");
    await world.pass(500);
    expect(stateOf(await world.find())).toBe("active 1");
  });

  test("a tenant that becomes active is visible within 2 s", async () => {
    world.put("provisioning", 1);
    expect(stateOf(await world.find())).toBe("provisioning 1");
    world.put("active", 2);
    await world.pass(1_000);
    expect(stateOf(await world.find())).toBe("active 2");
  });

  test("a deleted host becomes unknown", async () => {
    world.put();
    await world.find();
    world.directory.clear();
    await world.pass(6_001);
    expect(stateOf(await world.find())).toBe("unknown");
  });

  test("requests at the same time ask once", async () => {
    world.put();
    const crowd = Array.from({ length: 50 }, () => world.find());
    // The answer comes, and then those who wait look for it.
    await world.pass(0);
    await world.pass(1);
    const answers = await Promise.all(crowd);
    expect(new Set(answers.map(stateOf))).toEqual(new Set(["active 1"]));
    expect(world.asked).toBe(1);
  });

  test("an empty directory means unknown hosts, and the copy is not even looked at (H18)", async () => {
    world.copies.set("acme.example.com", recordOf("active", 9));
    expect(stateOf(await world.find())).toBe("unknown");
    expect(world.copyReads).toBe(0);
  });

  test("the cache is bounded, and unknown names do not push records out", async () => {
    world = new World({ cachedRecords: 2, cachedMisses: 2 });
    world.put();
    await world.find();
    for (let i = 0; i < 100; i++) await world.find(`random-${i}.example.com`);
    const asked = world.asked;
    await world.find();
    expect(world.asked).toBe(asked);
    for (const slug of ["b", "c"]) {
      world.directory.set(`${slug}.example.com`, recordOf("active", 1, { host: `${slug}.example.com` }));
      await world.find(`${slug}.example.com`);
    }
    const before = world.asked;
    await world.find();
    expect(world.asked).toBe(before + 1);
  });

  test(
    "10,000 different hosts, with long records and short ones, cycle in flat memory",
    { timeout: 30_000 },
    async () => {
      const answer = "x".repeat(1_000);
      world = new World();
      world.authority = (host) => {
        const index = Number(/\d+/.exec(host)?.[0]);
        if (index % 3 === 0) return null;
        const routes = Array.from({ length: index % 20 === 0 ? 100 : 1 }, (_, i) => ({
          prefix: `/r${i}`,
          access: "public" as const,
          to: { kind: "answer" as const, status: 200, contentType: "text/plain", body: `${host}${answer}` },
        }));
        // Through JSON, as from an object far away: nothing is shared with what came before.
        return JSON.parse(JSON.stringify(recordOf("active", 1, { host, routes })));
      };
      const cycle = async (): Promise<number> => {
        for (let i = 0; i < 10_000; i++) {
          await world.find(`host${i}.example.com`);
          if (i % 10 === 0) await world.pass(1);
        }
        world.behind.length = 0;
        return heapBytes();
      };
      const empty = heapBytes();
      const afterFirst = await cycle();
      const later = [await cycle(), await cycle()];
      for (const bytes of later) expect(bytes).toBeLessThan(afterFirst + 4_000_000);
      expect(afterFirst - empty).toBeLessThan(24_000_000);
    },
  );
});

describe("without the directory (H18)", () => {
  test("the last known record goes on for 15 minutes, then there is no answer", async () => {
    world.put();
    await world.find();
    const startMs = world.nowMs;
    world.state = "down";
    while (world.nowMs - startMs <= 15 * 60_000 - 10_000) {
      await world.pass(10_000);
      expect(stateOf(await world.find())).toBe("active 1");
    }
    await world.pass(10_001);
    expect(stateOf(await world.find())).toBe("unavailable");
    expect(world.outages).toEqual(["begin"]);
  });

  test("the limit is a setting", async () => {
    world = new World({ outageMs: 60_000 });
    world.put();
    await world.find();
    world.state = "down";
    await world.pass(60_000);
    expect(stateOf(await world.find())).toBe("active 1");
    await world.pass(4_000);
    expect(stateOf(await world.find())).toBe("unavailable");
  });

  test("an isolate without a record takes the copy, for as long as the outage may last", async () => {
    world.state = "down";
    world.copies.set("acme.example.com", recordOf("active", 4));
    const startMs = world.nowMs;
    expect(await world.find()).toMatchObject({ kind: "record", source: "outage", record: { revision: 4 } });
    while (world.nowMs - startMs < 15 * 60_000) {
      await world.pass(5_000);
      expect(stateOf(await world.find())).toBe("active 4");
    }
    await world.pass(5_000);
    expect(stateOf(await world.find())).toBe("unavailable");
  });

  test("a later copy beats the record from before the outage: a suspension holds", async () => {
    world.put("active", 1);
    await world.find();
    world.state = "down";
    world.copies.set("acme.example.com", recordOf("suspended", 2));
    await world.pass(7_000);
    expect(stateOf(await world.find())).toBe("suspended 2");
  });

  test("an older copy, or one of another tenant, does not", async () => {
    world.put("active", 5);
    await world.find();
    world.state = "down";
    await world.pass(7_000);
    world.copies.set("acme.example.com", recordOf("suspended", 4));
    expect(stateOf(await world.find())).toBe("active 5");
    await world.pass(7_000);
    world.copies.set("acme.example.com", recordOf("suspended", 9, { tenantId: "ten_2" }));
    expect(stateOf(await world.find())).toBe("active 5");
  });

  describe("in maintenance", () => {
    const notice = { message: "Back at noon.", retryAfterSeconds: 60, allow: [] };
    const messageOf = (lookup: Lookup): string | undefined =>
      lookup.kind === "record" ? (lookup.record.notice?.message ?? "none") : lookup.kind;
    const copied = (scope: string, revision: number, maintenance: typeof notice | null) => {
      world.copiedNotices = async () => [{ scope, revision, maintenance }];
    };
    beforeEach(() => void world.copies.set("acme.example.com", recordOf("active", 1)));

    test("the notice from before goes on, though the copy of the record has none (D2)", async () => {
      world.put("active", 1, { notice, noticeRevision: 7 });
      await world.find();
      world.state = "down";
      await world.pass(7_000);
      expect(messageOf(await world.find())).toBe("Back at noon.");
      // KV is a minute late, or is away as well.
      copied("*", 6, null);
      await world.pass(5_000);
      expect(messageOf(await world.find())).toBe("Back at noon.");
      world.copiedNotices = () => Promise.reject(new Error("away"));
      await world.pass(5_000);
      expect(messageOf(await world.find())).toBe("Back at noon.");
    });

    test.each(["*", "default"])(
      "an isolate without a record takes the copy of the notice of %s (D2)",
      async (scope) => {
        world.state = "down";
        copied(scope, 7, notice);
        expect(messageOf(await world.find())).toBe("Back at noon.");
        copied("elsewhere", 8, notice);
        await world.pass(5_000);
        expect(messageOf(await world.find("globex.example.com"))).toBe("unavailable");
        world.copies.set("globex.example.com", recordOf("active", 1, { host: "globex.example.com" }));
        await world.pass(5_000);
        expect(messageOf(await world.find("globex.example.com"))).toBe("none");
      },
    );

    test("a later copy begins it, or ends it", async () => {
      world.put("active", 2);
      await world.find();
      world.state = "down";
      copied("*", 7, notice);
      await world.pass(7_000);
      expect(messageOf(await world.find())).toBe("Back at noon.");
      copied("*", 8, null);
      await world.pass(5_000);
      expect(messageOf(await world.find())).toBe("none");
    });

    test("of the platform it is told to who has no tenant, too", async () => {
      world.state = "down";
      copied("*", 7, notice);
      expect(messageOf(await world.find("*"))).toBe("Back at noon.");
      expect(messageOf(await world.find("nobody.example.com"))).toBe("Back at noon.");
    });
  });

  test("a host that nobody knows is not called unknown then", async () => {
    world.state = "down";
    expect(stateOf(await world.find())).toBe("unavailable");
  });

  test("a miss from before is no answer either", async () => {
    expect(stateOf(await world.find())).toBe("unknown");
    world.state = "down";
    await world.pass(1_500);
    expect(stateOf(await world.find())).toBe("unavailable");
  });

  test.each([
    ["of another shape", { host: "acme.example.com" }],
    ["of another host", recordOf("active", 1, { host: "globex.example.com" })],
    ["a text", "<html>"],
    ["nothing", undefined],
  ])("an answer that is %s is nonsense, and counts as none", async (_, answer) => {
    world.put("active", 1);
    await world.find();
    world.directory.set("acme.example.com", answer === undefined ? 0 : answer);
    await world.pass(7_000);
    expect(await world.find()).toMatchObject({ kind: "record", source: "outage", record: { revision: 1 } });
  });

  test("a directory that hangs costs the first request two seconds and the next ones nothing", async () => {
    world.put();
    await world.find();
    world.state = "hanging";
    await world.pass(7_000);
    const first = world.find();
    await world.pass(2_000);
    expect(stateOf(await first)).toBe("active 1");
    for (let i = 0; i < 25; i++) {
      // No time passes in this call: an answer that needed the directory would never come.
      expect(stateOf(await world.find())).toBe("active 1");
      await world.pass(100);
    }
  });

  test("a lookup whose request was cancelled is not waited for", async () => {
    world.put();
    world.state = "hanging";
    void world.find();
    await world.pass(1);
    world.state = "up";
    const second = world.find();
    await world.pass(500);
    expect(stateOf(await second)).toBe("active 1");
  });

  test("when it is back, its word holds again at once", async () => {
    world.put("active", 1);
    await world.find();
    world.state = "down";
    await world.pass(7_000);
    await world.find();
    world.state = "up";
    world.put("suspended", 2);
    await world.pass(3_000);
    expect(stateOf(await world.find())).toBe("suspended 2");
    expect(world.outages).toEqual(["begin", "end"]);
  });
});
