import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { localhostLookup } from "../shared/localhost-lookup.node.ts";
import { LIMITS } from "./limits.ts";

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
}

/** POSTs JSON and reads the whole (small) answer. Rejects when the server can't be reached. */
export const postJson = (url: string, body: object): Promise<HttpAnswer> =>
  new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const send = new URL(url).protocol === "https:" ? httpsRequest : httpRequest;
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
    const asked = send(
      url,
      { method: "POST", headers, lookup: localhostLookup, timeout: LIMITS.dialTimeoutMs },
      (response) => {
        let answer = "";
        response.setEncoding("utf8");
        response.on("data", (part: string) => {
          answer += part;
          if (answer.length > LIMITS.answerChars) asked.destroy(new Error("the answer is too long"));
        });
        response.on("end", () => resolve({ status: response.statusCode ?? 0, body: answer }));
        response.on("error", reject);
      },
    );
    asked.on("timeout", () => asked.destroy(new Error("no answer in time")));
    asked.on("error", reject);
    asked.end(text);
  });
