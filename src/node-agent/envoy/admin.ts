import { request } from "node:http";
import { z } from "zod";
import { LIMITS } from "../limits.ts";

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
  const text = await get(adminPort, "/server_info");
  if (text === null) return null;
  try {
    const { state, version, command_line_options: options } = serverInfo.parse(JSON.parse(text));
    return { live: state === "LIVE", epoch: options.restart_epoch, version: version.split("/")[1] ?? version };
  } catch {
    return null;
  }
}

/** Each over a connection of its own: one that is kept would go on speaking to the process of before. */
const get = (port: number, path: string): Promise<string | null> =>
  new Promise((resolve) => {
    const options = { host: "127.0.0.1", port, path, agent: false, timeout: LIMITS.probeTimeoutMs };
    const asked = request(options, (response) => {
      let body = "";
      response.setEncoding("utf8");
      response.on("data", (part: string) => (body += part));
      response.on("end", () => resolve(response.statusCode === 200 ? body : null));
      response.on("error", () => resolve(null));
    });
    asked.on("timeout", () => asked.destroy());
    asked.on("error", () => resolve(null));
    asked.end();
  });
