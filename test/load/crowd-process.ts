import { z } from "zod";
import { startCrowd, type Crowd, type CrowdOptions } from "../support/connector-crowd.ts";

/** A part of the connectors of reconnect.ts. The parent sends the options first and then asks how things are. */
export interface CrowdReport {
  readonly ready: number;
  readonly size: number;
  readonly readySince: readonly number[];
  readonly losses: Readonly<Record<string, number>>;
}

const question = z.union([z.object({ ask: z.literal("report") }), z.object({ start: z.custom<CrowdOptions>() })]);

let crowd: Crowd | null = null;
process.on("message", (raw) => {
  const message = question.parse(raw);
  if ("start" in message) crowd = startCrowd(message.start);
  else if (crowd !== null) {
    const report: CrowdReport = {
      ready: crowd.ready,
      size: crowd.size,
      readySince: crowd.readySince(),
      losses: crowd.takeLosses(),
    };
    process.send?.(report);
  }
});
process.on("disconnect", () => process.exit(0));
