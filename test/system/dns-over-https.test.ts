import { createServer, type RequestListener, type Server } from "node:http";
import { encode } from "@dnsquery/dns-packet";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createDnsLookup, type DnsLookup } from "../../src/provisioner/dns-over-https.ts";
import { DNS_ANSWER_BYTES } from "../../src/provisioner/limits.ts";
import { type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { listenOnLoopback } from "../support/listen.ts";

const lookupAt = (url: string): DnsLookup => createDnsLookup(url, (to, init) => fetch(to, init));
const NAME = "_causeway.shop.example";

describe("a resolver that speaks DNS over HTTPS (RFC 8484)", () => {
  let dns: DnsServer;
  beforeAll(async () => {
    dns = await startDnsServer();
  });
  afterAll(() => dns.close());

  test("tells TXT records, their strings joined, and aliases without the root's dot", async () => {
    const long = `causeway-host=${"a".repeat(300)}`;
    dns.set({ [`TXT ${NAME}`]: [long, "v=spf1 -all"], "CNAME www.shop.example": ["Shop.Example."] });
    expect(await lookupAt(dns.url)(NAME, "TXT")).toEqual({
      ok: true,
      value: { txt: [long, "v=spf1 -all"], cnames: new Map(), addresses: [] },
    });
    expect(await lookupAt(dns.url)("www.shop.example", "CNAME")).toEqual({
      ok: true,
      value: { txt: [], cnames: new Map([["www.shop.example", "shop.example"]]), addresses: [] },
    });
  });

  test("that knows of no such name has answered; one that fails has not", async () => {
    expect(await lookupAt(dns.url)("nothing.example", "TXT")).toEqual({
      ok: true,
      value: { txt: [], cnames: new Map(), addresses: [] },
    });
    dns.set({ "TXT broken.example": "SERVFAIL" });
    expect(await lookupAt(dns.url)("broken.example", "TXT")).toEqual({
      ok: false,
      error: "the DNS resolver answered SERVFAIL for broken.example",
    });
  });
});

describe("an answer that proves nothing", () => {
  let server: Server | null = null;
  afterEach(() => {
    server?.closeAllConnections();
    server?.close();
  });

  async function answering(listener: RequestListener): Promise<DnsLookup> {
    const started = createServer(listener);
    server = started;
    return lookupAt(`http://127.0.0.1:${await listenOnLoopback(started)}/`);
  }
  const message = (name: string, type: "response" | "query" = "response") =>
    Buffer.from(
      encode({
        type,
        id: 0,
        questions: [{ type: "TXT", name }],
        answers: [{ type: "TXT", name, data: "causeway-host=x" }],
      }),
    );

  test.each<[string, RequestListener, RegExp]>([
    ["a status", (_, response) => void response.writeHead(503).end("busy"), /status 503/],
    ["a redirect", (_, response) => void response.writeHead(302, { location: "/x" }).end(), /status 302/],
    ["a page", (_, response) => void response.end("<html>captive portal</html>"), /another question|no DNS message/],
    ["nothing", (_, response) => void response.end(), /no DNS message/],
    ["half a message", (_, response) => void response.end(message(NAME).subarray(0, 30)), /no DNS message/],
    ["another question's", (_, response) => void response.end(message("shop.example")), /another question/],
    ["a question", (_, response) => void response.end(message(NAME, "query")), /another question/],
    ["too much", (_, response) => void response.end(Buffer.alloc(DNS_ANSWER_BYTES + 1)), /too long/],
    ["a broken line", (_, response) => void response.socket?.destroy(), /can't be reached/],
  ])("is %s", async (_what, listener, reason) => {
    const lookup = await answering(listener);
    expect(await lookup(NAME, "TXT")).toEqual({ ok: false, error: expect.stringMatching(reason) });
  });

  test("is none in time", { timeout: 15_000 }, async () => {
    const lookup = await answering(() => undefined);
    expect(await lookup(NAME, "TXT")).toEqual({ ok: false, error: "the DNS resolver did not answer in time" });
  });

  test("is that of an address which is not https, or not set", async () => {
    expect(await lookupAt("http://192.0.2.1/dns-query")(NAME, "TXT")).toEqual({
      ok: false,
      error: "the address of the DNS resolver must be https",
    });
    expect((await lookupAt("")(NAME, "TXT")).ok).toBe(false);
  });
});
