import { randomUUID } from "node:crypto";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { err, type Result } from "../shared/result.ts";
import { replaceFile } from "./envoy/files.ts";
import type { Upgraded } from "./envoy/runner.ts";
import { LIMITS } from "./limits.ts";

/**
 * `causeway node upgrade-envoy` and the agent speak through two files in the state directory, which only the agent's user can write: what is
 * wanted, and what became of it.
 */
const REQUEST_FILE = "upgrade-envoy.request";
const RESULT_FILE = "upgrade-envoy.result";

const request = z.object({ id: z.string(), binary: z.string() });
const result = z.object({
  id: z.string(),
  outcome: z.union([
    z.object({
      ok: z.literal(true),
      value: z.object({ pid: z.number(), version: z.string(), drainSeconds: z.number() }),
    }),
    z.object({ ok: z.literal(false), error: z.string() }),
  ]),
});

async function readJson<T>(file: string, schema: z.ZodType<T>): Promise<T | null> {
  try {
    return schema.parse(JSON.parse(await readFile(file, "utf8")));
  } catch {
    return null;
  }
}

/** Asks the agent of this state directory, and waits for what it says. */
export async function requestUpgrade(stateDir: string, binary: string): Promise<Result<Upgraded, string>> {
  const id = randomUUID();
  await replaceFile(join(stateDir, REQUEST_FILE), JSON.stringify({ id, binary }), 0o600);
  const deadlineMs = Date.now() + LIMITS.envoyLoadMs + 2 * LIMITS.envoyLiveMs;
  for (;;) {
    const answer = await readJson(join(stateDir, RESULT_FILE), result);
    if (answer?.id === id) return answer.outcome;
    if (Date.now() > deadlineMs) return err("the agent gave no answer; its log says more");
    await sleep(LIMITS.envoyLookMs);
  }
}

/** The agent's side: carries out what is asked for, once. */
export async function answerUpgrade(
  stateDir: string,
  upgrade: (binary: string) => Promise<Result<Upgraded, string>>,
): Promise<void> {
  const asked = await readJson(join(stateDir, REQUEST_FILE), request);
  if (asked === null) return;
  await rm(join(stateDir, REQUEST_FILE), { force: true });
  const outcome = await upgrade(asked.binary);
  await replaceFile(join(stateDir, RESULT_FILE), JSON.stringify({ id: asked.id, outcome }), 0o600);
}
