import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { WebSocket } from "ws";
import { until } from "../support/until.ts";
import { createSite, type Site } from "./connector/site.ts";
import { acme, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// Connectors at `causeway relay`: who comes in, what they may do, and what happens when they or the relay go.
let site: Site;
let relay: RelayHost;
const hosts: RelayHost[] = [];

const start = async (tenant: Record<string, unknown>, options: Parameters<typeof startRelayHost>[1] = {}) => {
  relay = await startRelayHost({ tenants: { acme: tenant } }, options);
  hosts.push(relay);
  return relay;
};
const write = (tenant: Record<string, unknown>) => relay.write({ tenants: { acme: tenant } });
const status = async (target = "ping", options: Parameters<RelayHost["ask"]>[2] = {}) => {
  const { status, headers } = await relay.ask(`${target}--acme`, "/", options);
  return [status, headers["causeway-error"]];
};

beforeEach(() => {
  site = createSite();
});
afterEach(async () => {
  await site.close();
  await Promise.all(hosts.splice(0).map((host) => host.stop()));
});

describe("coming in", () => {
  test("a connector shows up on both lanes, is gone when it ends, and is missed at once", async () => {
    await start(acme(site.publicKey));
    expect(await status()).toEqual([503, "no-connector"]);
    const running = site.process(relay.url, ["--target", "ping", "--instance", "one"]);
    await relay.online(2);
    expect(
      (await relay.sessions()).map(({ lane, instanceId, targets }) => `${lane} ${instanceId} ${targets.join()}`),
    ).toEqual(expect.arrayContaining(["a one ping", "b one ping"]));
    expect(await status()).toEqual([200, undefined]);
    running.child.kill("SIGKILL");
    await until("it is gone", async () => (await relay.sessions()).length === 0);
    const missed = await relay.ask("ping--acme", "/");
    expect([missed.status, missed.headers["retry-after"]]).toEqual([503, "5"]);
    await until("the log says so", () => relay.output().includes('"msg":"connector-offline"'));
  });

  test("a wrong key, another tenant and a disabled connector stay outside, and the connector ends with 5", async () => {
    await start({
      connectors: { "plant-1": { keys: [createSite().publicKey] }, off: { keys: [site.publicKey], disabled: true } },
    });
    for (const args of [[], ["--tenant", "globex"], ["--connector", "off"]]) {
      const refused = site.process(relay.url, ["--target", "ping", ...args]);
      expect(await refused.exit, args.join(" ")).toBe(5);
    }
    expect(await relay.sessions()).toEqual([]);
    expect(relay.output()).toContain("a connector was refused");
  });

  test("a client secret gets a token at /token, and the token a socket", async () => {
    const secret = randomBytes(32).toString("base64url");
    await start({
      connectors: { "plant-1": { secrets: [{ sha256: createHash("sha256").update(secret).digest("hex") }] } },
    });
    const token = (password: string) =>
      relay.ask("relay", "/token", {
        method: "POST",
        headers: {
          "content-type": "application/x-www-form-urlencoded",
          authorization: `Basic ${Buffer.from(`acme/plant-1:${password}`).toString("base64")}`,
        },
        body: "grant_type=client_credentials",
      });
    expect((await token("wrong")).status).toBe(401);
    const given = JSON.parse((await token(secret)).body);
    expect(given).toMatchObject({ token_type: "Bearer" });
    const asked = httpRequest({
      port: relay.port,
      path: "/connect/a",
      headers: {
        host: `relay.causeway.localhost:${relay.port}`,
        connection: "Upgrade",
        upgrade: "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": randomBytes(16).toString("base64"),
        authorization: `Bearer ${given.access_token}`,
      },
    }).end();
    const [response, socket] = await once(asked, "upgrade");
    expect(response.statusCode).toBe(101);
    socket.destroy();
    expect(relay.output()).not.toContain(secret);
    expect((await relay.ask("relay", "/.well-known/relayserver-configuration")).body).toContain("/token");
  });

  test("two of the same instance: the newer takes over; of different instances both serve", async () => {
    await start(acme(site.publicKey));
    const first = site.process(relay.url, ["--target", "ping", "--instance", "same"]);
    await relay.online(2);
    site.process(relay.url, ["--target", "ping", "--instance", "same"]);
    expect(await first.exit).toBe(1);
    expect(first.output()).toContain("took over");
    site.process(relay.url, ["--target", "ping", "--instance", "other"]);
    await relay.online(4);
    const answering = new Set<string>();
    await until("both answered", async () => {
      const { headers } = await relay.ask("relay", "/trace/acme/ping/");
      answering.add(/instance="([^"]*)"/.exec(String(headers["causeway-trace"]))?.[1] ?? "");
      return answering.size === 2;
    });
  });
});

describe("the file changes", () => {
  test("what it takes away ends within two seconds, on live sockets too", async () => {
    await start(acme(site.publicKey, { connectors: { "plant-1": { keys: [site.publicKey], targets: ["ping"] } } }));
    site.process(relay.url, ["--target", "ping", "--target", "echo"]);
    await relay.online();
    expect(await status("echo")).toEqual([404, "unknown-target"]);

    write({ connectors: { "plant-1": { keys: [site.publicKey], targets: ["echo"], readOnly: true } } });
    await until("the rights have moved", async () => (await status("echo"))[0] === 200, { timeoutMs: 2_000 });
    expect((await status("ping"))[0]).not.toBe(200);
    expect(await status("echo", { method: "POST", body: "x" })).toEqual([403, "forbidden"]);

    write({ connectors: { "plant-1": { keys: [site.publicKey], disabled: true } } });
    await until("its sockets ended", async () => (await relay.sessions()).length === 0, { timeoutMs: 2_000 });
  });

  test("a broken one is refused with its place, and the one before stays; SIGHUP reads it too", async () => {
    await start(acme(site.publicKey));
    site.process(relay.url, ["--target", "ping"]);
    await relay.online();
    write({ connectors: { "plant-1": { keys: [{ kty: "OKP" }] } } });
    await until("it is refused", () => relay.output().includes("THE NEW CONFIGURATION IS REFUSED"));
    expect(relay.output()).toContain("tenants.acme.connectors.plant-1.keys.0");
    expect(await status()).toEqual([200, undefined]);
    const times = () => relay.output().split("THE NEW CONFIGURATION").length;
    const before = times();
    relay.child.kill("SIGHUP");
    await until("it is refused again", () => times() > before);
    write(acme(site.publicKey, { hosts: ["new.example.org"], routes: [{ prefix: "/", target: "ping" }] }));
    await until("the new host is there", async () => (await relay.ask("new.example.org", "/")).status === 200);
    expect((await relay.sessions()).length).toBe(2);
  });
});

describe("going away", () => {
  test("a request on a connector that dies fails by its code; the next ones go to the other", async () => {
    await start(acme(site.publicKey));
    let reached = 0;
    const target = await site.target((request, response) => {
      if (request.url !== "/hang") response.end("ok");
      else reached += 1;
    });
    const dying = site.process(relay.url, ["--target", `web=${target}`, "--instance", "dying"]);
    await relay.online(2);
    const hanging = relay.ask("web--acme", "/hang", { method: "POST", body: "x" });
    await until("it hangs", () => reached > 0);
    site.process(relay.url, ["--target", `web=${target}`, "--instance", "staying"]);
    await relay.online(4);
    dying.child.kill("SIGKILL");
    expect((await hanging).headers["causeway-error"]).toBe("connector-lost");
    for (let i = 0; i < 10; i++) expect((await status("web"))[0]).toBe(200);
  });

  test("a relay that is killed and started again is found again within seconds", async () => {
    const first = await start(acme(site.publicKey));
    const { port, adminPort } = first;
    site.process(first.url, ["--target", "ping"]);
    await first.online();
    first.child.kill("SIGKILL");
    await first.exit;
    await start(acme(site.publicKey), { port, adminPort });
    await until("an answer", async () => (await status())[0] === 200, { timeoutMs: 5_000 });
  });

  test("SIGTERM lets what is under way finish, and says so on /readyz; then it ends with 0", async () => {
    await start(acme(site.publicKey));
    const demo = await site.demoTarget();
    site.process(relay.url, ["--target", `demo=${demo}`]);
    await relay.online();
    const slow = relay.ask("demo--acme", "/slow?ms=3000");
    const other = relay.ask("demo--acme", "/slow?ms=2500");
    await until("both are under way", async () => {
      const text = await (await fetch(`http://127.0.0.1:${relay.adminPort}/metrics`)).text();
      return (
        [...text.matchAll(/^causeway_relay_requests_open\{.*\} ([0-9]+)$/gm)].reduce(
          (sum, [, n]) => sum + Number(n),
          0,
        ) === 2
      );
    });
    relay.child.kill("SIGTERM");
    await until(
      "/readyz says no",
      async () => (await fetch(`http://127.0.0.1:${relay.adminPort}/readyz`)).status === 503,
    );
    expect((await slow).status).toBe(200);
    expect((await other).status).toBe(200);
    expect(await relay.exit).toBe(0);
  });

  test("a WebSocket that outlasts the drain is closed with 1012, and the process ends with 1", async () => {
    relay = await startRelayHost({ drainSeconds: 2, tenants: { acme: acme(site.publicKey) } });
    hosts.push(relay);
    site.process(relay.url, ["--target", "echo"]);
    await relay.online();
    const socket = new WebSocket(`ws://127.0.0.1:${relay.port}/`, {
      headers: { host: "echo--acme.causeway.localhost" },
    });
    await once(socket, "open");
    relay.child.kill("SIGTERM");
    const [code] = await once(socket, "close");
    expect(code).toBe(1012);
    expect(await relay.exit).toBe(1);
  });
});

test("first-byte, idle and total deadlines are the route's; an answer that trickles is not cut by the first", async () => {
  await start(
    acme(site.publicKey, {
      routes: [
        { prefix: "/first", target: "web", timeouts: { firstByteMs: 300 } },
        { prefix: "/idle", target: "web", timeouts: { idleMs: 700 } },
        { prefix: "/total", target: "web", timeouts: { totalMs: 900 } },
      ],
    }),
  );
  const target = await site.target((request, response) => {
    if (request.url === "/silent") return;
    response.write("1");
    let left = request.url === "/trickle" ? 8 : 0;
    const timer = setInterval(() => {
      if (left-- > 0) {
        response.write("2");
        return;
      }
      if (request.url === "/trickle") response.end();
      clearInterval(timer);
    }, 200);
  });
  site.process(relay.url, ["--target", `web=${target}`]);
  await relay.online();
  const late = await relay.ask("acme", "/first/silent");
  expect([late.status, late.headers["causeway-error"]]).toEqual([504, "deadline-exceeded"]);
  expect(late.body).toContain('\\"web\\"');
  expect(await relay.ask("acme", "/first/trickle")).toMatchObject({ status: 200, body: "122222222" });
  expect(await relay.ask("acme", "/idle/trickle")).toMatchObject({ body: "122222222" });
  await expect(relay.ask("acme", "/idle/stops")).rejects.toThrow();
  await expect(relay.ask("acme", "/total/trickle")).rejects.toThrow();
});

test("a request waits for a connector where the tenant wants it", async () => {
  await start(acme(site.publicKey, { settings: { waitForConnectorMs: 20_000 } }));
  const waiting = relay.ask("ping--acme", "/");
  site.process(relay.url, ["--target", "ping"]);
  expect((await waiting).status).toBe(200);
});
