import { createHash } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { replaceFile } from "./envoy/files.ts";
import { LIMITS } from "./limits.ts";

/**
 * Whether a snapshot that no longer names `missing` of the `present` tenants is more likely a mistake of the control plane (a database that was
 * restored, an object that lost its storage) than a wish. Removing by single orders is not bounded: each of them was wished for.
 */
export const isMassRemoval = (present: number, missing: number): boolean =>
  missing >= LIMITS.massRemovalMin && missing > present * LIMITS.massRemovalShare;

export const heldRemoval = z.object({
  tenantId: z.string(),
  slug: z.string(),
  /** The newest that the tenant had then: something newer takes the removal back. */
  revision: z.number().int(),
});
export type HeldRemoval = z.infer<typeof heldRemoval>;

/** The removals that are held; `save` makes them durable, also for the next agent. */
export interface HeldRemovals {
  list(): readonly HeldRemoval[];
  replace(removals: readonly HeldRemoval[]): Promise<void>;
  /** Somebody has said what becomes of the tenant. */
  letGo(tenantId: string): Promise<void>;
}

export function createHeldRemovals(
  before: readonly HeldRemoval[],
  save: (removals: readonly HeldRemoval[]) => Promise<void>,
): HeldRemovals {
  let held = before;
  const replace = async (removals: readonly HeldRemoval[]): Promise<void> => {
    if (held.length > 0 || removals.length > 0) await save(removals);
    held = removals; // Only now: what is shown is durable.
  };
  return {
    list: () => held,
    replace,
    async letGo(tenantId) {
      if (held.some((removal) => removal.tenantId === tenantId))
        await replace(held.filter((removal) => removal.tenantId !== tenantId));
    },
  };
}

/**
 * Removals that wait for somebody with the agent's rights on this machine: held.json in the state directory says which, and who confirms
 * exactly these writes their sum beside it.
 */
const HELD_FILE = "held-removals.json";
const CONFIRMED_FILE = "held-removals.confirmed";

const heldFile = z.object({ sum: z.string(), tenants: z.array(heldRemoval) });

export async function writeHeld(stateDir: string, tenants: readonly HeldRemoval[]): Promise<void> {
  if (tenants.length === 0) {
    for (const name of [HELD_FILE, CONFIRMED_FILE]) await rm(join(stateDir, name), { force: true });
    return;
  }
  const sum = createHash("sha256").update(JSON.stringify(tenants)).digest("hex");
  await replaceFile(join(stateDir, HELD_FILE), JSON.stringify({ sum, tenants }, null, 2), 0o600);
}

/** Null: nothing is held. */
async function readHeld(stateDir: string): Promise<z.infer<typeof heldFile> | null> {
  const text = await readFile(join(stateDir, HELD_FILE), "utf8").catch(() => null);
  return text === null ? null : heldFile.parse(JSON.parse(text));
}

export const readHeldTenants = async (stateDir: string): Promise<readonly HeldRemoval[]> =>
  (await readHeld(stateDir))?.tenants ?? [];

/** Confirms what is held now; the agent sees it within a second. */
export async function confirmHeld(stateDir: string): Promise<void> {
  const held = await readHeld(stateDir);
  if (held !== null) await replaceFile(join(stateDir, CONFIRMED_FILE), held.sum, 0o600);
}

export async function isConfirmed(stateDir: string): Promise<boolean> {
  const confirmed = await readFile(join(stateDir, CONFIRMED_FILE), "utf8").catch(() => null);
  return confirmed !== null && confirmed === (await readHeld(stateDir))?.sum;
}
