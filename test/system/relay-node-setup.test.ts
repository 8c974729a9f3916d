import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parse } from "yaml";
import { selfSigned } from "../support/certificate.ts";
import { freePorts } from "../support/ports.ts";
import { until } from "../support/until.ts";
import { createSite, type Site } from "./connector/site.ts";
import { acme, ask, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// How `causeway relay` is set up: init, --check, addresses, certificates, engines.
const CAUSEWAY = join(import.meta.dirname, "../../src/cli/main.ts");
const causeway = async (...args: string[]): Promise<{ code: number; out: string; err: string }> => {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [CAUSEWAY, ...args]);
    return { code: 0, out: stdout, err: stderr };
  } catch (error) {
    const failed = error instanceof Error ? Object.assign({ code: 1, stdout: "", stderr: "" }, error) : null;
    return { code: failed?.code ?? 1, out: failed?.stdout ?? "", err: failed?.stderr ?? "" };
  }
};

let folder: string;
let site: Site;
const hosts: RelayHost[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "cw-relay-setup-"));
  site = createSite();
});
afterEach(async () => {
  await site.close();
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
  rmSync(folder, { recursive: true, force: true });
});

test("init writes what the next two commands need: a tunnel", { timeout: 60_000 }, async () => {
  const [port = 0] = await freePorts(1);
  const made = await causeway("relay", "init", "--dir", folder, "--port", String(port), "--tenant", "demo-site");
  const [config = "", credentials = ""] = made.out.trim().split("\n");
  expect([made.code, statSync(credentials).mode & 0o777]).toEqual([0, 0o600]);
  const { d } = JSON.parse(readFileSync(credentials, "utf8")).privateKey;
  expect(made.out + made.err + readFileSync(config, "utf8")).not.toContain(d);
  const relay = site.command(["relay", "--config", config]);
  const target = await site.target((_request, response) => response.end("hello from the site"));
  site.command(["connect", "--credentials", credentials, "--target", `web=${target}`]);
  const page = await until("the page", async () => {
    const { body, status } = await ask(port, "demo-site", "/");
    return status === 200 ? body : null;
  });
  expect(page).toBe("hello from the site");
  expect(relay.output()).not.toContain(d);
});

test("--check names the wrong member and ends with 2; a taken port ends with 4", async () => {
  const file = join(folder, "relay.yaml");
  writeFileSync(file, "baseDomains: [example.com]\ntenants: { acme: { routes: [{ prefix: x, target: web }] } }\n");
  for (const args of [["--check"], []]) {
    const wrong = await causeway("relay", "--config", file, ...args);
    expect([wrong.code, wrong.err]).toEqual([2, expect.stringContaining("line 2: tenants.acme.routes.0.prefix")]);
  }
  const running = await startRelayHost({ tenants: {} });
  hosts.push(running);
  writeFileSync(file, `baseDomains: [example.com]\nlisten: { visitors: ${running.port} }\n`);
  const taken = await causeway("relay", "--config", file);
  expect([taken.code, taken.err]).toEqual([4, expect.stringContaining(`on 127.0.0.1:${running.port} (EADDRINUSE)`)]);
  expect((await causeway("relay")).code).toBe(2);
});

test(
  "with a certificate it speaks TLS to visitors and connectors, and a new certificate counts at once",
  { timeout: 60_000 },
  async () => {
    const names = {
      dns: ["*.causeway.localhost", "relay.causeway.localhost", "ping--acme.causeway.localhost"],
      ip: ["127.0.0.1"],
    };
    const write = () => {
      const made = selfSigned(names);
      writeFileSync(join(folder, "cert.pem"), made.cert);
      writeFileSync(join(folder, "key.pem"), made.key);
      return made.cert;
    };
    let ca = write();
    const tls = { certificate: join(folder, "cert.pem"), key: join(folder, "key.pem") };
    const relay = await startRelayHost({ tls, tenants: { acme: acme(site.publicKey) } });
    hosts.push(relay);
    const url = relay.url.replace("http:", "https:");
    site.process(url, ["--target", "ping", "--ca", tls.certificate]);
    await relay.online();
    const stranger = site.process(url, ["--target", "ping", "--instance", "no-ca"]);
    await until("it does not trust the relay", () => /self.signed|certificate/i.test(stranger.output()));
    const status = () =>
      new Promise<number>((resolve, reject) => {
        const host = "ping--acme.causeway.localhost";
        const asked = request(
          { host: "127.0.0.1", port: relay.port, servername: host, ca, headers: { host }, agent: false },
          (response) => {
            response.resume();
            resolve(response.statusCode ?? 0);
          },
        );
        asked.on("error", reject).end();
      });
    expect(await status()).toBe(200);
    ca = write();
    await until("the new certificate is shown", async () => (await status()) === 200, { timeoutMs: 5_000 });
  },
);

test("the library's HTTP server is a setting away", async () => {
  const relay = await startRelayHost({ engine: "node", tenants: { acme: acme(site.publicKey) } });
  hosts.push(relay);
  site.process(relay.url, ["--target", "ping", "--target", "echo"]);
  await relay.online();
  expect(await relay.ask("ping--acme", "/")).toMatchObject({ status: 200, body: "PONG\n" });
  expect((await relay.ask("echo--acme", "/", { method: "POST", body: Buffer.alloc(300_000) })).status).toBe(200);
});

test("the address header counts only where it is trusted, and then its last entry", async () => {
  const echoed = async (relay: RelayHost) => {
    const { body } = await relay.ask("web--acme", "/", { headers: { "x-forwarded-for": "192.0.2.1, 192.0.2.2" } });
    return body;
  };
  const target = await site.target((request, response) => response.end(String(request.headers["x-forwarded-for"])));
  for (const [setting, address] of [
    [{}, "127.0.0.1"],
    [{ trustedAddressHeader: "X-Forwarded-For" }, "192.0.2.2"],
  ] as const) {
    const relay = await startRelayHost({ ...setting, tenants: { acme: acme(site.publicKey) } });
    hosts.push(relay);
    site.process(relay.url, ["--target", `web=${target}`, "--instance", address]);
    await relay.online();
    expect(await echoed(relay)).toBe(address);
  }
});

test("the example of init is valid YAML that names its parts", async () => {
  const made = await causeway("relay", "init", "--dir", folder, "--base-domain", "example.com");
  const [config = "", credentials = ""] = made.out.trim().split("\n");
  const document: unknown = parse(readFileSync(config, "utf8"));
  expect(document).toMatchObject({ baseDomains: ["example.com"], tenants: { acme: { connectors: { "site-1": {} } } } });
  // Of a real domain the connector takes https only, so the example must not say http.
  expect(document).toMatchObject({ publicScheme: "https", listen: { visitors: "127.0.0.1:8080" } });
  expect(JSON.parse(readFileSync(credentials, "utf8")).relayUrl).toBe("https://relay.example.com");
  expect(made.err).toContain("https://acme.example.com/");
  const again = await causeway("relay", "init", "--dir", folder);
  expect([again.code, again.err.includes("is there already")]).toEqual([3, true]);
  expect((await causeway("relay", "init", "--dir", folder, "--tenant", "www")).code).toBe(2);
});
