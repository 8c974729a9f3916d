import type { Exchange, ExchangeEvents } from "../../http1/types.ts";
import { answerEndpoint } from "../admission/endpoints.ts";
import type { EndpointPorts } from "../admission/http.ts";
import { TOKEN_BODY_BYTES } from "../limits.ts";
import { refuse, type Visit } from "./visit.ts";

/** The relay's own HTTP endpoints (tokens, discovery): small requests, so their bodies are read whole. */
export function answerOwnEndpoint(
  exchange: Exchange,
  visit: Visit,
  ports: EndpointPorts,
  failed: (error: unknown) => void,
  ended: (exchange: Exchange, visit: Visit) => void,
): ExchangeEvents {
  const { method, path, host, headers, body } = exchange.request;
  const chunks: Buffer[] = [];
  let bytes = 0;

  async function answer(): Promise<void> {
    const init: RequestInit = { method, headers: headers.map(([name, value]): [string, string] => [name, value]) };
    if (bytes > 0) init.body = Buffer.concat(chunks);
    const response = await answerEndpoint(new Request(`${visit.scheme}://${host.toLowerCase()}${path}`, init), ports);
    visit.seen.status = response.status;
    visit.seen.code = response.headers.get("causeway-error");
    exchange.respond(response.status, [...response.headers], method === "HEAD" ? null : await response.text());
  }
  const start = (): void =>
    void answer().catch((error: unknown) => {
      failed(error);
      refuse(exchange, visit, "internal-error", "Something went wrong on our side. Quote the request's id.");
    });

  if (body === "none") start();
  return {
    data(chunk) {
      bytes += chunk.length;
      if (bytes <= TOKEN_BODY_BYTES) chunks.push(chunk);
      else if (bytes - chunk.length <= TOKEN_BODY_BYTES) refuse(exchange, visit, "body-too-large", "This is too long.");
    },
    end() {
      if (bytes <= TOKEN_BODY_BYTES) start();
    },
    closed: () => ended(exchange, visit),
  };
}
