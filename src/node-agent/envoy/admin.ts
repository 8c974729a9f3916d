import { z } from "zod";
import { getText } from "./get-text.ts";

const serverInfo = z.object({
  state: z.string(),
  version: z.string().default(""),
  command_line_options: z.object({ restart_epoch: z.number().int().default(0) }),
});

export interface ServerInfo {
  readonly live: boolean;
  /** How many processes it replaced without a cut. */
  readonly epoch: number;
  readonly version: string;
}

/** What the process behind Envoy's admin interface says of itself. Null: it does not answer. */
export async function askServer(adminPort: number): Promise<ServerInfo | null> {
  const text = await getText({ host: "127.0.0.1", port: adminPort, path: "/server_info" });
  if (text === null) return null;
  try {
    const { state, version, command_line_options: options } = serverInfo.parse(JSON.parse(text));
    return { live: state === "LIVE", epoch: options.restart_epoch, version: version.split("/")[1] ?? version };
  } catch {
    return null;
  }
}
