import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { AgentPaths, Slot } from "../paths.ts";
import { endRecorded, runningIn } from "../services/recorded-process.ts";
import { replaceFile } from "./files.ts";

/**
 * Two places for an Envoy process each: one leads, the other is empty, or holds the one that is to take over, or the one before that still
 * finishes its requests. On disk, so that the next agent knows which is which.
 */
const slotsRecord = z.object({
  lead: z.enum(["a", "b"]),
  /** What processes that replace each other without a cut share, and how many there were before. */
  baseId: z.number().int().nonnegative(),
  epoch: z.number().int().nonnegative(),
  /** In the other slot: an Envoy that is to take over. `opened`: it was told to. */
  next: z.object({ opened: z.boolean() }).nullable(),
  /** When the Envoy before has to be gone. */
  drainEndsAtMs: z.number().nullable(),
});
export type Slots = z.infer<typeof slotsRecord>;

/** Envoy's own name for its shared memory is ten times the id, in 32 bits. */
const BASE_IDS = 200_000_000;
export const newBaseId = (random: () => number): number => 1 + Math.floor(random() * BASE_IDS);

export const otherSlot = (slot: Slot): Slot => (slot === "a" ? "b" : "a");

export const saveSlots = (paths: AgentPaths, slots: Slots): Promise<void> =>
  replaceFile(paths.slotsFile, JSON.stringify(slots), 0o600);

/**
 * What an earlier agent left. One that was cut off while it replaced Envoy has either told the new one to take over, or not; then the new one
 * is ended.
 */
export async function takeUpSlots(paths: AgentPaths, random: () => number): Promise<Slots> {
  const slots = await readSlots(paths.slotsFile);
  if (slots === null) return { lead: "a", baseId: newBaseId(random), epoch: 0, next: null, drainEndsAtMs: null };
  if (slots.next === null) return slots;
  const other = otherSlot(slots.lead);
  const tookOver = slots.next.opened && runningIn(paths.slots[other].dir) !== null;
  if (!tookOver) await endRecorded(paths.slots[other].dir);
  const settled: Slots = tookOver
    ? { ...slots, lead: other, epoch: slots.epoch + 1, next: null }
    : { ...slots, next: null, drainEndsAtMs: null };
  await saveSlots(paths, settled);
  return settled;
}

async function readSlots(file: string): Promise<Slots | null> {
  try {
    return slotsRecord.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return null;
  }
}
