import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { createRandom, type Random } from "../sim/random.ts";
import type { By, Got, Verdict } from "./tenant-truth.ts";
import { PREFIXES, startTenantWorld, TARGET, type Slot, type TenantWorld } from "./tenant-world.ts";

export interface LoadOptions {
  readonly seed: number;
  readonly requests: number;
  readonly connections: number;
  readonly tenants: number;
  /** Pause between two changes. A change's own time comes on top. */
  readonly changeEveryMs: number;
  readonly progress?: (asked: number, verdicts: LoadReport["verdicts"]) => void;
  /** Ends the run early; the report is about what was asked until then. */
  readonly stopping?: AbortSignal;
}

export interface LoadReport {
  readonly seconds: number;
  readonly verdicts: Readonly<Record<Verdict, number>>;
  /** The first of those that can't be true. */
  readonly wrong: readonly string[];
  /** The first of those that failed without a reason. */
  readonly failed: readonly string[];
  /** Good answers by who gave them. */
  readonly by: Readonly<Record<string, number>>;
  /** Errors by code. */
  readonly codes: Readonly<Record<string, number>>;
  readonly changes: Readonly<Record<string, number>>;
  /** Tenants that answered: with those that were made anew, more than there are hosts. */
  readonly tenantsSeen: number;
}

/** Which prefix leads where: the same one to the service, to the target, or nowhere, by turns. */
const ROUTES: readonly [Readonly<Record<string, By>>, ...Readonly<Record<string, By>>[]] = [
  { "/app": "service", "/plant": "target" },
  { "/app": "target", "/plant": "service" },
  { "/app": "service", "/plant": "service", "/plant-2": "target" },
  { "/app": "service", "/plant-2": "service" },
  { "/app": "target", "/plant": "target", "/plant-2": "target" },
];
const KEPT = 20;

/** Every connection asks any tenant at any of its addresses, one request after another; meanwhile tenants change. */
export async function runTenantsUnderLoad(options: LoadOptions): Promise<LoadReport> {
  const folder = mkdtempSync(join(tmpdir(), "cw-tenants-"));
  const world = await startTenantWorld(folder, options.tenants);
  const pool = new Pool(`http://127.0.0.1:${world.port}`, { connections: options.connections, pipelining: 1 });
  try {
    return await load(world, pool, options);
  } finally {
    await pool.destroy();
    await world.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

async function load(world: TenantWorld, pool: Pool, options: LoadOptions): Promise<LoadReport> {
  const random = createRandom(options.seed);
  const verdicts: Record<Verdict, number> = { good: 0, refused: 0, moving: 0, failed: 0, wrong: 0 };
  const wrong: string[] = [];
  const failed: string[] = [];
  const by: Record<string, number> = {};
  const codes: Record<string, number> = {};
  const tenants = new Set<string>();
  let asked = 0;

  async function ask(number: number): Promise<void> {
    const { slot, prefix, host, path, seen, method } = chosen(random, world.slots, number);
    const startedMs = performance.now();
    const response = await pool.request({
      method,
      path,
      headers: { host },
      ...(method === "POST" && { body: "12345" }),
    });
    const text = await response.body.text();
    const endedMs = performance.now();
    const got = read(response.statusCode, response.headers["causeway-error"], text);
    let verdict = slot.timeline.judge({ prefix, startedMs, endedMs }, got);
    if (got.kind === "answer") {
      // Somebody else's answer, though of the same tenant.
      if (verdict === "good" && text !== `${got.tenantId} ${got.by} ${seen(got.by)}`) verdict = "wrong";
      tenants.add(got.tenantId);
      count(by, got.by);
    } else count(codes, got.code);
    count(verdicts, verdict);
    const kept = verdict === "wrong" ? wrong : verdict === "failed" ? failed : null;
    if (kept !== null && kept.length < KEPT)
      kept.push(`${method} ${host}${path}: ${response.statusCode} ${text.slice(0, 300)}`);
  }

  const startedMs = performance.now();
  const over = new AbortController();
  const changing = change(world.slots, createRandom(options.seed + 1), options.changeEveryMs, over.signal);
  const connection = async (): Promise<void> => {
    while (asked < options.requests && options.stopping?.aborted !== true) {
      asked += 1;
      options.progress?.(asked, verdicts);
      await ask(asked);
    }
  };
  try {
    await Promise.all(Array.from({ length: options.connections }, connection));
  } finally {
    over.abort();
  }
  const changes = await changing;
  const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
  return { seconds, verdicts, wrong, failed, by, codes, changes, tenantsSeen: tenants.size };
}

/** `seen`: the path that whoever answers has to see. */
function chosen(random: Random, slots: readonly Slot[], number: number) {
  const slot = slots[random.below(slots.length)];
  if (slot === undefined) throw new Error("no tenants");
  const { slug, host } = slot;
  const base = host.slice(slug.length);
  const method = random.percent(20) ? ("POST" as const) : ("GET" as const);
  const rest = `/${number}?a=%2F${number}`;
  const address = random.below(10);
  if (address === 0)
    return { slot, method, prefix: null, host: `${TARGET}--${host}`, path: rest, seen: () => rest } as const;
  if (address === 1) {
    const path = `/relay/${slug}/${TARGET}${rest}`;
    return { slot, method, prefix: null, host: `relay${base}`, path, seen: () => rest } as const;
  }
  const prefix = random.pick(PREFIXES);
  const path = prefix + rest;
  return { slot, method, prefix, host, path, seen: (who: string) => (who === "service" ? path : rest) } as const;
}

function read(status: number, code: string | string[] | undefined, text: string): Got {
  if (Array.isArray(code)) return { kind: "error", code: code.join(", ") };
  const [, tenantId, who] = /^(ten_\S+) (service|target) /.exec(text) ?? [];
  if (status === 200 && tenantId !== undefined && who !== undefined) return { kind: "answer", tenantId, by: who };
  // Nobody's hosts are the portal's, which is stood in for here: 404 to a GET and 204 to a POST, both without a body.
  if (code === undefined && text === "" && (status === 404 || status === 204))
    return { kind: "error", code: "unknown-host" };
  return { kind: "error", code: code ?? String(status) };
}

/** One change after another until the signal; how often which. */
async function change(
  slots: readonly Slot[],
  random: Random,
  everyMs: number,
  over: AbortSignal,
): Promise<Record<string, number>> {
  const done: Record<string, number> = {};
  while (!over.aborted) {
    const slot = slots[random.below(slots.length)];
    if (slot === undefined) break;
    const what = random.below(10);
    if (what < 5) {
      await slot.setRoutes(random.pick(ROUTES));
      count(done, "routes");
    } else if (slot.timeline.current?.state === "suspended" || what < 7) {
      const isSuspended = slot.timeline.current?.state === "active";
      await slot.setSuspended(isSuspended);
      count(done, isSuspended ? "suspended" : "resumed");
    } else if (what < 9) {
      await slot.moveToOtherNode();
      count(done, "moved");
    } else {
      await slot.recreate();
      count(done, "recreated");
    }
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
  return done;
}

function count<Key extends string>(counts: Record<Key, number>, key: Key): void {
  counts[key] = (counts[key] ?? 0) + 1;
}
