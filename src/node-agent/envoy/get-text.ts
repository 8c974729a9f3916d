import { request, type RequestOptions } from "node:http";
import { LIMITS } from "../limits.ts";

/**
 * What Envoy answers to a GET with 200; null for anything else, or no answer in time. Each over a connection of its own: one that is kept would
 * go on speaking to the process of before, and to the same worker.
 */
export const getText = (to: RequestOptions): Promise<string | null> =>
  new Promise((resolve) => {
    const asked = request({ ...to, agent: false, timeout: LIMITS.probeTimeoutMs }, (response) => {
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
