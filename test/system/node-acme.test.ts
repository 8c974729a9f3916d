import { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, readdirSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type TLSSocket } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AcmeConfig } from "../../src/node-agent/acme/config.ts";
import { startAcmeServer, type AcmeServer } from "../support/acme-server.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { startTestNode, type TestNode } from "../support/node.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";

// A node's certificate is ordered from an ACME server, shown to Envoy's callers, and renewed before it ends.
let host: ChannelHost;
let server: AcmeServer;
let node: TestNode;
let httpPort: number;
let recordsFile: string;
/** It ends so soon that its renewal can be waited for. */
const LIFETIME_SECONDS = 9;

/** What the operator's program does with a provider's interface, in a file beside it. */
const HOOK = `
  const { appendFileSync } = require("node:fs");
  appendFileSync(process.argv[1], process.argv.slice(2).join(" ") + "\\n");
`;
const records = (): string[] => {
  try {
    return readFileSync(recordsFile, "utf8").trim().split("\n");
  } catch {
    return [];
  }
};
/** What the name's servers would answer now. */
const txt = (name: string): string[] => {
  const values = new Set<string>();
  for (const line of records()) {
    const [what = "", record = "", value = ""] = line.split(" ");
    if (record !== name) continue;
    if (what === "present") values.add(value);
    else values.delete(value);
  }
  return [...values];
};

const dial = (name: string): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const { port } = new URL(node.url);
    const socket = connect({ host: "127.0.0.1", port: Number(port), servername: name, rejectUnauthorized: false });
    socket.on("error", reject);
    socket.once("secureConnect", () => resolve(socket));
  });
const certificateOf = (socket: TLSSocket): X509Certificate => new X509Certificate(socket.getPeerCertificate().raw);
const shown = async (name: string): Promise<X509Certificate> => {
  const socket = await dial(name);
  const certificate = certificateOf(socket);
  socket.destroy();
  return certificate;
};
const acme = (change: Pick<AcmeConfig, "names" | "challenge"> & { readonly email?: string }) => ({
  acme: { termsOfServiceAgreed: true as const, directoryUrl: server.directoryUrl, caFile: "acme-ca.pem", ...change },
});

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  [httpPort = 0] = await freePorts(1);
  server = await startAcmeServer({ lifetimeSeconds: LIFETIME_SECONDS, txt, httpPort });
  recordsFile = join(mkdtempSync(join(tmpdir(), "cw-acme-")), "records");
  const challenge = { type: "dns-01" as const, hook: [process.execPath, "-e", HOOK, recordsFile] };
  const names = ["example.test", "*.example.test"];
  node = await startTestNode(host, key, {
    envoy: { tls: acme({ names, challenge, email: "ops@example.test" }) },
    files: { "acme-ca.pem": server.ca },
  });
});
afterAll(async () => {
  await node.stop();
  await server.close();
  await host.close();
  await stopChildren();
});

test("a wildcard certificate is ordered with DNS-01, and renewed before it ends without a cut (E09)", async () => {
  const first = await until("a certificate", () => shown("acme.example.test"));
  expect(first.subjectAltName).toBe("DNS:example.test, DNS:*.example.test");
  const open = await dial("acme.example.test");
  const before = certificateOf(open);
  const second = await until("the next certificate", async () => {
    const now = await shown("acme.example.test");
    return now.fingerprint256 !== before.fingerprint256 && now;
  });
  const orders = node
    .log()
    .split("\n")
    .filter((line) => line.includes("a certificate is ordered"))
    .map((line): { time: string } => JSON.parse(line));
  expect(Date.parse(orders[1]?.time ?? "")).toBeLessThan(Date.parse(before.validTo));
  expect(second.publicKey.equals(before.publicKey)).toBe(false);
  // The connection of before is open, and the records are gone.
  open.write("GET / HTTP/1.1\r\nhost: example.test\r\n\r\n");
  expect(await new Promise((resolve) => open.once("data", (data) => resolve(String(data))))).toContain("401");
  open.destroy();
  expect(txt("_acme-challenge.example.test")).toEqual([]);
});

test("the account's key is sealed, the certificate's is the agent's alone", async () => {
  const store = join(node.dir, "state/store");
  const [file = ""] = readdirSync(store).filter((name) => name.startsWith("acme-"));
  expect(readFileSync(join(store, file), "utf8")).not.toContain("PRIVATE KEY");
  expect(statSync(join(node.dir, "state/acme/key.pem")).mode & 0o777).toBe(0o600);
  expect(node.log()).not.toContain("PRIVATE KEY");
});

test("other names are ordered by HTTP-01; while the server refuses, the certificate of before stays", async () => {
  server.refuse("not a name of yours");
  const challenge = { type: "http-01" as const, address: "127.0.0.1", port: httpPort };
  await node.end("SIGTERM");
  const { envoy } = JSON.parse(readFileSync(join(node.dir, "agent.json"), "utf8"));
  const tls = acme({ names: ["one.example.test"], challenge });
  await node.start({ envoy: { ...envoy, tls } });
  await until("the refusal is told", () => node.log().includes("not a name of yours"));
  expect((await shown("one.example.test")).subjectAltName).toContain("*.example.test");
  server.refuse(null);
  await node.end("SIGTERM");
  await node.start({ envoy: { ...envoy, tls } });
  await until(
    "the other certificate",
    async () => (await shown("one.example.test")).subjectAltName === "DNS:one.example.test",
  );
  await expect(fetch(`http://127.0.0.1:${httpPort}/`)).rejects.toThrow();
});
