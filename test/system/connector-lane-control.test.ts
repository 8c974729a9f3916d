import { createHash } from "node:crypto";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { until } from "../support/until.ts";
import { startLanes, type Lanes } from "./connector/lanes.ts";
import { createSite, type Site } from "./connector/site.ts";

// The real connector and the real lanes on workerd: secrets, pushed settings, expiry and pairing, both ends as they are deployed.
const SECRET = "s3cret-of-plant-1-s3cret-of-plant-1-s3cret-";
const PING = [{ kind: "ping", name: "ping" }] as const;
const sha256 = createHash("sha256").update(SECRET).digest("hex");
let lanes: Lanes;
let site: Site;

beforeAll(async () => {
  lanes = await startLanes();
});
afterAll(() => lanes.stop());
beforeEach(() => {
  site = createSite();
});
afterEach(() => site.close());

const online = (instance: string) =>
  until(`${instance} on both lanes`, async () => {
    const seen = await Promise.all((["a", "b"] as const).map((lane) => lanes.online(lane)));
    return seen.every((ids) => ids.includes(instance));
  });
const withSecret = (secret: string, instanceId: string) =>
  site.connector({
    relay: lanes.relayUrl,
    targets: [...PING],
    connector: null,
    credential: { kind: "secret", secret },
    instanceId,
    pushedFile: join(site.folder, "pushed.json"),
  });

test("a secret gets a token of the relay's own endpoint and is let in; a wrong one is not; a removed one puts it out", async () => {
  await lanes.grant(site.publicKey, { keys: [], secrets: [{ id: "sec_1", sha256, expiresAtMs: null }] });
  const connector = withSecret(SECRET, "s1");
  await online("s1");
  expect(connector.tokenExpiresAtMs).toBeGreaterThan(Date.now());
  expect(await withSecret("another-secret-another-secret-another-secret", "s2").done).toMatchObject({ kind: "auth" });
  await lanes.grant(site.publicKey, { keys: [] });
  await until("it to be out", () => !connector.ready);
});

test("targets pushed through the lane are served and acknowledged; at its expiry the connector leaves", async () => {
  const config = { revision: 1, json: JSON.stringify({ echo: "debug:echo" }) };
  await lanes.grant(site.publicKey, { config });
  const connector = site.connector({
    relay: lanes.relayUrl,
    targets: [...PING],
    instanceId: "p1",
    pushedFile: join(site.folder, "pushed.json"),
  });
  await online("p1");
  await until("it to be in force", () => connector.targets().some(({ target }) => target === "echo"));
  await lanes.grant(site.publicKey, { config, expiresAtMs: Date.now() + 1_500 });
  expect((await connector.done).kind).toMatch(/^(?:expired|auth)$/);
  expect(connector.ready).toBe(false);
});

test("a connector that nobody knows asks to be let in, and is once its key is granted", async () => {
  await lanes.settings({ pairingUntilMs: Date.now() + 600_000 });
  const file = join(site.folder, "paired.json");
  const named = ["--url", lanes.relayUrl, "--tenant", "acme", "--connector", "plant-1", "--credentials", file];
  const running = site.command(["connect", "--pair", ...named, "--target", "ping", "--instance", "q1"]);
  const [asked] = await until("the request", async () => {
    const requests = await lanes.pairing();
    return requests.length > 0 ? requests : null;
  });
  expect(asked).toMatchObject({ connector: "plant-1" });
  if (asked === undefined) throw new Error("nobody asked");
  await lanes.grant(asked.key);
  await online("q1");
  expect(running.output()).toContain('"msg":"accepted"');
});
