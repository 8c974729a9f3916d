import { setTimeout as delay } from "node:timers/promises";
import { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";
import { OPERATION_RETRY_MS, OPERATION_WAIT_MS } from "../limits.ts";
import type { Api } from "./client.ts";
import { readEvents } from "./events.ts";
import { type Operation, operation } from "./types.ts";

/**
 * Follows an operation by its event stream until it ends, and answers it as it is then. A stream that breaks is opened again. Failed
 * operations and ones that take too long are failures of the command; the operation itself goes on.
 */
export async function waitForOperation(
  api: Api,
  id: string,
  seen: (state: Operation) => void,
  options: { signal?: AbortSignal; timeoutMs?: number } = {},
): Promise<Operation> {
  const timeout = AbortSignal.timeout(options.timeoutMs ?? OPERATION_WAIT_MS);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout]);
  while (!signal.aborted) {
    const ended = await follow(api, id, seen, signal);
    if (ended?.state === "succeeded") return ended;
    if (ended !== null) throw await failed(api, ended);
    await delay(OPERATION_RETRY_MS, undefined, { signal }).catch(() => {});
  }
  options.signal?.throwIfAborted();
  throw new CliError(
    EXIT.failed,
    `operation ${id} did not end in time`,
    `It goes on; look at it with: npx causeway operation show ${id}`,
  );
}

/** The operation in an end state, or null when the stream ended before that. */
async function follow(
  api: Api,
  id: string,
  seen: (state: Operation) => void,
  signal: AbortSignal,
): Promise<Operation | null> {
  try {
    const response = await api.stream(`/operations/${encodeURIComponent(id)}/events`, "text/event-stream", signal);
    if (response.body === null) return null;
    for await (const event of readEvents(response.body)) {
      const parsed = operation.safeParse(JSON.parse(event.data));
      if (!parsed.success) continue;
      seen(parsed.data);
      if (isOver(parsed.data)) return parsed.data;
    }
    return null;
  } catch (error) {
    if (signal.aborted || (error instanceof TypeError && !(error instanceof CliError))) return null; // The stream broke.
    throw error;
  }
}

const isOver = ({ state }: Operation): boolean => state === "succeeded" || state === "failed";

async function failed(api: Api, ended: Operation): Promise<CliError> {
  const step = ended.steps.find((one) => one.state === "failed");
  const where = step === undefined ? "" : ` at step "${step.name}"`;
  const why = step?.reason ?? ended.reason ?? "no reason given";
  return new CliError(EXIT.failed, `operation ${ended.id} failed${where}: ${why}`, await nextAfter(api, ended));
}

/** What to do about a failed operation. One that something came after, such as what takes its change back, can't be tried again. */
async function nextAfter(api: Api, { id, subjectId }: Operation): Promise<string> {
  const newest = `/operations?${new URLSearchParams({ subject: subjectId, limit: "1" }).toString()}`;
  try {
    const [after] = (await api.get(newest, z.object({ items: z.array(operation) }))).items;
    if (after !== undefined && after.id !== id)
      return `${after.kind} ${after.id} came after it${after.kind.endsWith("-undo") ? " and takes back what it did" : ""}. Once the reason is mended, begin anew; this operation can't be tried again.`;
  } catch {
    // The operation's own reason is what people want to know.
  }
  return `Try it again: npx causeway operation retry ${id}`;
}
