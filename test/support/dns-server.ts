import { createServer } from "node:http";
import { AUTHORITATIVE_ANSWER, decode, encode, RECURSION_AVAILABLE } from "@dnsquery/dns-packet";
import type { Answer } from "@dnsquery/dns-packet";
import { listenOnLoopback } from "./listen.ts";

/** What the resolver says of a name and type: values (none: there is no such record), or a failure by its response code. */
export type Zone = Record<string, readonly string[] | "SERVFAIL">;

export interface DnsServer {
  /** DNS over HTTPS (RFC 8484): GET and POST. */
  readonly url: string;
  /** `TYPE name` → values. `PUT /zone` with the same as JSON does it from outside this process. */
  set(zone: Zone): void;
  /** `TYPE name` of all questions so far. */
  readonly asked: readonly string[];
  close(): Promise<void>;
}

const NXDOMAIN = 3;
const SERVFAIL = 2;

/** A resolver that knows nothing but what it was told, on a free port of this machine. */
export async function startDnsServer(): Promise<DnsServer> {
  const records = new Map<string, Zone[string]>();
  const asked: string[] = [];
  const set = (zone: Zone) => {
    for (const [key, values] of Object.entries(zone)) records.set(key.toLowerCase(), values);
  };

  function answer(message: Uint8Array): Uint8Array {
    const { id, questions } = decode(message);
    const [question] = questions ?? [];
    if (question === undefined) throw new Error("no question");
    const { type, name } = question;
    const key = `${type} ${name}`.toLowerCase();
    asked.push(`${type} ${name}`);
    const known = records.get(key) ?? [];
    const values = known === "SERVFAIL" ? [] : known;
    const answers = values.map((value): Answer =>
      type === "TXT"
        ? // As zone files split long values: in strings of at most 255 bytes.
          { type: "TXT", name, ttl: 1, data: value.match(/.{1,20}/gs) ?? [""] }
        : { type: "CNAME", name, ttl: 1, data: value },
    );
    const rcode = known === "SERVFAIL" ? SERVFAIL : values.length === 0 ? NXDOMAIN : 0;
    const flags = AUTHORITATIVE_ANSWER | RECURSION_AVAILABLE | rcode;
    return encode({ type: "response", id: id ?? 0, flags, questions: [question], answers });
  }

  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const url = new URL(request.url ?? "/", "http://dns.test");
      try {
        if (request.method === "PUT" && url.pathname === "/zone") {
          set(JSON.parse(body.toString("utf8")));
          response.writeHead(204).end();
          return;
        }
        if (request.method === "POST" && request.headers["content-type"] !== "application/dns-message") {
          response.writeHead(415).end();
          return;
        }
        const asGet = Buffer.from(url.searchParams.get("dns") ?? "", "base64url");
        const message = answer(request.method === "POST" ? body : asGet);
        response.writeHead(200, { "content-type": "application/dns-message" }).end(message);
      } catch {
        response.writeHead(400).end();
      }
    });
  });
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}/dns-query`,
    set,
    asked,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
