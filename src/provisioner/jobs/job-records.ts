import { WorkerEntrypoint } from "cloudflare:workers";
import { connect } from "../../db/client.ts";
import type { JobCursor } from "../../protocol/jobs.ts";
import { recordRuns } from "./record-runs.ts";
import type { Untold } from "./worker-store.ts";

export interface JobRecordsEnv {
  readonly CONTROL_DB: Hyperdrive;
}

/**
 * Writes what job workers have to tell. An invocation of its own for each batch: a connection of a Worker ends with its invocation, and an
 * object that lives for days would hold one all the time.
 */
export class JobRecords extends WorkerEntrypoint<JobRecordsEnv> {
  async record(
    tenantId: string,
    untold: Untold,
    cursors: readonly (readonly [jobId: string, cursor: JobCursor])[],
  ): Promise<"told" | "gone"> {
    const { db } = connect(this.env.CONTROL_DB.connectionString, 1);
    try {
      return await recordRuns(db, tenantId, untold, new Map(cursors));
    } catch {
      // A failed query's error quotes its parameters; they don't travel.
      throw new Error("the database did not take the records");
    }
  }
}

/** This Worker's own entrypoint, as its objects reach it. */
export function recordsOf(context: { readonly exports: unknown }): Pick<JobRecords, "record"> {
  const { exports } = context;
  if (typeof exports !== "object" || exports === null || !("JobRecords" in exports))
    throw new Error("this Worker does not export JobRecords");
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the class above
  return exports.JobRecords as Pick<JobRecords, "record">;
}
