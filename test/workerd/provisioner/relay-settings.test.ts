import { eq } from "drizzle-orm";
import { describe, expect, test } from "vitest";
import { enqueueOperation, relaySubject } from "../../../src/db/operations.ts";
import { raiseRelaySettings } from "../../../src/db/relay-settings.ts";
import { connectors, connectorSecrets, relayIssuers, relaySettings } from "../../../src/db/schema.ts";
import { relaySettings as settingsSchema } from "../../../src/protocol/lane.ts";
import { ISSUER_REFRESH_MS } from "../../../src/provisioner/limits.ts";
import type { ProvisionerPorts } from "../../../src/provisioner/ports.ts";
import { applyEvent } from "../../../src/provisioner/presence.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { sweep } from "../../../src/provisioner/sweep.ts";
import { newId } from "../../../src/shared/ids.ts";
import { bindings, makeCluster, operationOf, requestDeletion, requestTenant, world } from "./support.ts";
import type { World } from "./support.ts";

const ISSUER = "https://login.example.com/realm";
const EC = { kty: "EC", crv: "P-256", x: "x".repeat(43), y: "y".repeat(43), kid: "ec-1" } as const;
const RSA = { kty: "RSA", n: "n".repeat(342), e: "AQAB", kid: "rsa-1" } as const;

/** 64 hexadecimal digits that no other test has. */
const sha256Of = (text: string): string =>
  text
    .split("")
    .map((letter) => letter.charCodeAt(0).toString(16).padStart(2, "0"))
    .join("")
    .padEnd(64, "0");

const lanesOf = (tenantId: string) => [bindings.LANE_A.getByName(tenantId), bindings.LANE_B.getByName(tenantId)];

async function makeTenant(w: World): Promise<string> {
  const { cluster } = await makeCluster();
  const { tenantId, operationId } = await requestTenant(cluster, "acme");
  await runOperation(w.ports, operationId);
  return tenantId;
}

/** What the console writes; answers the operation's id. */
async function change(w: World, tenantId: string, set: object, issuers: readonly string[] = []): Promise<string> {
  return await w.db.transaction(async (tx) => {
    await raiseRelaySettings(tx, tenantId, new Date(0));
    await tx
      .update(relaySettings)
      .set({ settings: settingsSchema.parse({}), ...set })
      .where(eq(relaySettings.tenantId, tenantId));
    for (const issuer of issuers) await tx.insert(relayIssuers).values({ tenantId, issuer, audience: "causeway" });
    const wanted = { kind: "relay-settings-publish", subjectId: relaySubject.of(tenantId), tenantId } as const;
    return (await enqueueOperation(tx, { ...wanted, now: new Date(0) })).operationId;
  });
}

/** An issuer on the network; `keys` may be changed. */
function issuerAt(answers: {
  keys: object[];
  jwksUri?: string;
  name?: string;
  asked?: string[];
}): ProvisionerPorts["fetch"] {
  return async (url) => {
    answers.asked?.push(url);
    if (url === `${ISSUER}/.well-known/openid-configuration`)
      return Response.json({ issuer: answers.name ?? ISSUER, jwks_uri: answers.jwksUri ?? `${ISSUER}/keys` });
    if (url === `${ISSUER}/keys`) return Response.json({ keys: answers.keys });
    return new Response("moved", { status: 302, headers: { location: "http://169.254.169.254/" } });
  };
}

describe("a tenant's relay settings", () => {
  test("are known at both lanes, under a revision (P16, P21)", async () => {
    const w = world();
    const tenantId = await makeTenant(w);
    const settings = settingsSchema.parse({ limits: { concurrentRequests: 3 }, keepAliveMs: 9_000 });
    const operationId = await change(w, tenantId, { settings, disabled: true, pairingUntil: new Date(5_000) });
    await runOperation(w.ports, operationId);
    expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
    for (const lane of lanesOf(tenantId))
      expect((await lane.settled()).at(-1)).toMatchObject({
        tenantId,
        revision: expect.any(Number),
        disabled: true,
        limits: { concurrentRequests: 3 },
        keepAliveMs: 9_000,
        pairingUntilMs: 5_000,
      });
  });

  test("bring the keys of outside issuers along, which the cron renews (P05)", async () => {
    const w = world();
    const tenantId = await makeTenant(w);
    const answers = { keys: [EC, { ...RSA, use: "enc" }, { kty: "oct", k: "secret", kid: "x" }] as object[] };
    const ports = { ...w.ports, fetch: issuerAt(answers) };
    const operationId = await change(w, tenantId, {}, [ISSUER]);
    await runOperation(ports, operationId);
    expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
    const lane = bindings.LANE_A.getByName(tenantId);
    const first = (await lane.settled()).at(-1);
    expect(first?.issuers).toEqual([{ issuer: ISSUER, audience: "causeway", keys: [EC] }]);
    answers.keys = [{ ...RSA, use: "sig", alg: "RS256", x5c: ["..."] }];
    w.advance(ISSUER_REFRESH_MS + 1_000);
    await sweep(ports);
    const second = (await lane.settled()).at(-1);
    expect(second?.issuers[0]?.keys).toEqual([RSA]);
    expect(second?.revision).toBeGreaterThan(first?.revision ?? 0);
  });

  test.each([
    ["leads elsewhere", { keys: [EC], jwksUri: "http://10.0.0.1/keys" }, "must be https"],
    ["redirects", { keys: [EC], jwksUri: `${ISSUER}/moved` }, "status 302"],
    ["is another one", { keys: [EC], name: "https://evil.example.com" }, "another issuer"],
    ["has no usable key", { keys: [{ kty: "oct", k: "x", kid: "y" }] }, "no key of a kind"],
  ])("an issuer that %s: its keys are not taken, limits count nevertheless", async (_, answers, problem) => {
    const w = world();
    const tenantId = await makeTenant(w);
    const asked: string[] = [];
    const ports = { ...w.ports, fetch: issuerAt({ ...answers, asked }) };
    const operationId = await change(w, tenantId, {}, [ISSUER]);
    await runOperation(ports, operationId);
    const { operation } = await operationOf(w, operationId);
    expect([operation.state, operation.reason]).toEqual(["pending", expect.stringContaining(problem)]);
    expect(asked.every((url) => url.startsWith(ISSUER))).toBe(true);
    expect((await bindings.LANE_B.getByName(tenantId).settled()).at(-1)?.issuers[0]?.keys).toEqual([]);
    const [row] = await w.db.select().from(relayIssuers).where(eq(relayIssuers.tenantId, tenantId));
    expect(row).toMatchObject({ fetchedAt: null, problem: expect.stringContaining(problem) });
  });

  test("go with the tenant: the lanes trust nobody any more", async () => {
    const w = world();
    const tenantId = await makeTenant(w);
    const ports = { ...w.ports, fetch: issuerAt({ keys: [EC] }) };
    await runOperation(ports, await change(w, tenantId, {}, [ISSUER]));
    await runOperation(ports, await requestDeletion(tenantId));
    for (const lane of lanesOf(tenantId))
      expect((await lane.settled()).at(-1)).toMatchObject({ disabled: true, issuers: [], pairingUntilMs: null });
  });
});

test("secrets reach the lanes as hashes; when one was used is noted (R07)", async () => {
  const w = world();
  const tenantId = await makeTenant(w);
  const connectorId = newId("con");
  const secretId = newId("sec");
  const operation = await w.db.transaction(async (tx) => {
    const columns = { id: connectorId, tenantId, name: "plant-1", readOnly: true, issuerSubject: "client-7" };
    await tx.insert(connectors).values({ ...columns, config: "{}", configRevision: 4, expiresAt: new Date(9_000) });
    await tx.insert(connectorSecrets).values({ id: secretId, connectorId, sha256: sha256Of(secretId), label: "x" });
    return enqueueOperation(tx, { kind: "connector-publish", subjectId: connectorId, tenantId, now: new Date(0) });
  });
  await runOperation(w.ports, operation.operationId);
  expect((await bindings.LANE_A.getByName(tenantId).told()).at(-1)).toMatchObject({
    secrets: [{ id: secretId, expiresAtMs: null }],
    issuerSubject: "client-7",
    readOnly: true,
    expiresAtMs: 9_000,
    config: { revision: 4, json: "{}" },
  });
  const event = { kind: "connector-online", tenantId, connectorId, instanceId: "i", lane: "a", reason: null } as const;
  await applyEvent(w.db, { ...event, sessionId: newId("ses"), secretId, atMs: 60_000 });
  await applyEvent(w.db, { ...event, sessionId: newId("ses"), secretId, atMs: 50_000 });
  const [row] = await w.db.select().from(connectorSecrets).where(eq(connectorSecrets.id, secretId));
  expect(row?.lastUsedAt?.getTime()).toBe(60_000);
});
