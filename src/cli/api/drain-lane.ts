import { z } from "zod";
import type { Output } from "../frame/output.ts";
import { OPERATION_WAIT_MS } from "../limits.ts";
import type { Api } from "./client.ts";
import { type Operation, operation } from "./types.ts";
import { waitForOperation } from "./wait.ts";

/** Drains one side of the relay and waits until nothing is left there, or its grace is over. Says what is left meanwhile. */
export async function drainLane(api: Api, output: Output, lane: "a" | "b", graceSeconds: number): Promise<Operation> {
  const path = `/relay/lanes/${lane}/drain`;
  const { operation: started } = await api.post(path, { graceSeconds }, z.object({ operation }));
  let said = "";
  return await waitForOperation(
    api,
    started.id,
    ({ reason }) => {
      if (reason === null || reason === said) return;
      said = reason;
      output.say(`… lane ${lane}: ${reason}`);
    },
    { timeoutMs: graceSeconds * 1000 + OPERATION_WAIT_MS },
  );
}
