import { readFileSync } from "node:fs";
import { link, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { publicJwks } from "../protocol/jwk.ts";
import { nodeTenant } from "../protocol/node-channel.ts";
import { replaceFile, syncDirectory } from "./envoy/files.ts";
import { heldRemoval } from "./removal-breaker.ts";
import { createSealer } from "./sealed.ts";

/**
 * The agent's last known good on disk (docs/storage.md, "Node agent"): one file per tenant and one about the channel, each sealed (tenants'
 * secrets are in them), replaced in one step, with the previous generation beside it. A change costs one tenant's file, whatever the number
 * of tenants.
 */
export const tenantRecord = z.object({
  tenantId: z.string(),
  /** Newest revision that the channel sent. Null with `revision`: removed at that revision (a tombstone once `gone`). */
  want: nodeTenant.nullable(),
  revision: z.number().int(),
  state: z.enum(["pending", "accepted", "live", "rejected", "removing", "gone"]),
  reason: z.string().nullable(),
  /** Last revision that Envoy took: what is served. */
  good: nodeTenant.nullable(),
  /** Where its services listened when Envoy took it, by name. */
  endpoints: z.record(z.string(), z.object({ address: z.string(), port: z.number().int() })).default({}),
  /** Hash of the content of `want` that Envoy refused: never sent again unchanged. */
  refused: z.string().nullable(),
});
export type TenantRecord = z.infer<typeof tenantRecord>;

export const channelRecord = z.object({
  epoch: z.string().nullable(),
  cursor: z.number().int().nonnegative(),
  proofKeys: publicJwks,
  /** Removals that wait for somebody to confirm them (removal-breaker.ts). */
  held: z.array(heldRemoval).default([]),
});
export type ChannelRecord = z.infer<typeof channelRecord>;

export interface AgentStore {
  saveTenant(record: TenantRecord): Promise<void>;
  forgetTenant(tenantId: string): Promise<void>;
  saveChannel(record: ChannelRecord): Promise<void>;
}

export interface Loaded {
  readonly store: AgentStore;
  readonly tenants: readonly TenantRecord[];
  readonly channel: ChannelRecord;
  /** Files of which only an older generation, or none, could be read. The channel is then asked for a whole snapshot. */
  readonly damaged: readonly string[];
}

const FRESH: ChannelRecord = { epoch: null, cursor: 0, proofKeys: { keys: [] }, held: [] };
const SUFFIX = ".json";
const PREVIOUS = ".previous";
const isTenantId = (text: string): boolean => /^[A-Za-z0-9_-]{1,64}$/.test(text);

/**
 * `storeKey`: of the node's credentials. A store of another key counts as damaged as a whole. `mayClean`: false while an agent may be writing to it.
 */
export async function openStore(dir: string, storeKey: string, mayClean = true): Promise<Loaded> {
  const sealer = createSealer(storeKey);
  const tenantsDir = join(dir, "tenants");
  await mkdir(tenantsDir, { recursive: true, mode: 0o700 });
  const damaged: string[] = [];

  const load = <T>(path: string, schema: z.ZodType<T>): T | null => {
    const current = readGeneration(path, schema);
    if (current !== null) return current;
    damaged.push(path);
    return readGeneration(path + PREVIOUS, schema);
  };
  const readGeneration = <T>(path: string, schema: z.ZodType<T>): T | null => {
    const sealed = readIfThere(path);
    const text = sealed === null ? null : sealer.open(sealed);
    if (text === null) return null;
    const parsed = schema.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  };

  const names = await readdir(tenantsDir);
  const tenants: TenantRecord[] = [];
  for (const name of names) {
    if (mayClean && name.endsWith(".tmp")) await rm(join(tenantsDir, name), { force: true }); // Of a write that a crash cut off.
    if (!name.endsWith(SUFFIX)) continue;
    const found = load(join(tenantsDir, name), tenantRecord);
    if (found !== null) tenants.push(found);
  }
  const channelFile = join(dir, "channel.json");
  const isNew = names.length === 0 && readIfThere(channelFile) === null;
  const channel = isNew ? FRESH : (load(channelFile, channelRecord) ?? FRESH);

  /** What happens to one file happens one after another, in the order in which it was asked for. */
  const queues = new Map<string, Promise<void>>();
  const inOrder = (path: string, task: () => Promise<void>): Promise<void> => {
    const earlier = queues.get(path) ?? Promise.resolve();
    const mine = (async () => {
      await earlier.catch(() => undefined);
      await task();
    })();
    queues.set(path, mine);
    const forget = (): void => {
      if (queues.get(path) === mine) queues.delete(path);
    };
    mine.then(forget, forget);
    return mine;
  };
  const save = (path: string, record: object): Promise<void> => {
    const body = JSON.stringify(record);
    return inOrder(path, () => write(path, body));
  };
  const write = async (path: string, body: string): Promise<void> => {
    // The previous generation gets a second name before the new one takes its place: at no moment is there no complete file.
    await rm(path + PREVIOUS, { force: true });
    await link(path, path + PREVIOUS).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
    });
    await replaceFile(path, sealer.seal(body), 0o600);
  };
  const tenantFile = (tenantId: string): string => {
    if (!isTenantId(tenantId)) throw new Error("not a tenant id");
    return join(tenantsDir, tenantId + SUFFIX);
  };

  return {
    tenants,
    damaged,
    channel: damaged.length === 0 ? channel : { ...channel, epoch: null, cursor: 0 },
    store: {
      saveTenant: async (record) => save(tenantFile(record.tenantId), record),
      forgetTenant: async (tenantId) => {
        const path = tenantFile(tenantId);
        await inOrder(path, async () => {
          await rm(path, { force: true });
          await rm(path + PREVIOUS, { force: true });
          await syncDirectory(tenantsDir);
        });
      },
      saveChannel: (record) => save(channelFile, record),
    },
  };
}

const isMissing = (error: unknown): boolean => error instanceof Error && "code" in error && error.code === "ENOENT";

/** Not by the thread pool: nothing else happens at the start, and for 10,000 small files its hops cost more than the reading. */
function readIfThere(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
