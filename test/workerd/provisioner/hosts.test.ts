import { and, eq } from "drizzle-orm";
import { inject } from "vitest";
import { beforeEach, describe, expect, test } from "vitest";
import { leaveHost, enqueueHostsChange } from "../../../src/db/hosts.ts";
import { claimSubject, enqueueOperation } from "../../../src/db/operations.ts";
import { hostClaims, hosts, operations, tenants } from "../../../src/db/schema.ts";
import { newHostToken, proofRecords } from "../../../src/policy/custom-host.ts";
import { checkClaim, checkDueClaims } from "../../../src/provisioner/check-claim.ts";
import { createCloudflareFront } from "../../../src/provisioner/cloudflare-hostnames.ts";
import { createDnsLookup } from "../../../src/provisioner/dns-over-https.ts";
import { checkDueFronts, repairLeavingHosts } from "../../../src/provisioner/front-checks.ts";
import { refusingFront } from "../../../src/provisioner/host-front.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { sweep } from "../../../src/provisioner/sweep.ts";
import { bindings, lookup, makeCluster, operationOf, requestDeletion, requestTenant, world } from "./support.ts";
import type { World } from "./support.ts";

// Real DNS over HTTPS to a resolver of this machine, a real database and real directory objects.
const { dnsUrl, cloudflareUrl } = inject("hostPeers");
const HOUR = 3_600_000;

type Records = Record<string, readonly string[] | "SERVFAIL">;
const setRecords = (zone: Records) =>
  fetch(new URL("/zone", dnsUrl), { method: "PUT", body: JSON.stringify(zone) }).then((r) => r.body?.cancel());

function worldWithDns(): World {
  const w = world();
  const dns = createDnsLookup(dnsUrl, (url, init) => fetch(url, init));
  return { ...w, ports: { ...w.ports, dns } };
}

async function activeTenant(w: World, slug: string, cluster?: Awaited<ReturnType<typeof makeCluster>>) {
  const place = cluster ?? (await makeCluster());
  const made = await requestTenant(place.cluster, slug);
  await runOperation(w.ports, made.operationId);
  return { ...made, ...place, channel: bindings.NODE_CHANNEL.getByName(place.nodeIds[0] ?? "") };
}

let counter = 0;
const newHost = (cluster: string) => `www${(counter += 1)}.${cluster}.example`;

/** What POST /tenants/{tenant}/hosts writes; answers the records that prove the host. */
async function claim(w: World, { tenantId, domain }: { tenantId: string; domain: string }, host: string) {
  const token = newHostToken((bytes) => crypto.getRandomValues(bytes));
  const now = new Date(w.ports.clock());
  await w.db.insert(hostClaims).values({ tenantId, host, token, stateSince: now, nextCheckAt: now, createdAt: now });
  const { txt, cname } = proofRecords(host, token, domain);
  return { txtKey: `TXT ${txt.name}`, cnameKey: `CNAME ${cname.name}`, txt: txt.value, cname: cname.value };
}

/** What POST /tenants/{tenant}/hosts/{host}/check writes, run. */
async function check(w: World, tenantId: string, host: string): Promise<void> {
  const { operationId } = await w.db.transaction((tx) =>
    enqueueOperation(tx, {
      kind: "host-check",
      subjectId: claimSubject.of(tenantId, host),
      tenantId,
      now: new Date(0),
    }),
  );
  await runOperation(w.ports, operationId);
  expect((await operationOf(w, operationId)).operation.state).toBe("succeeded");
}

/** Delivers what was sent, until nothing is. */
async function deliver(w: World): Promise<void> {
  for (let next = w.sent.shift(); next !== undefined; next = w.sent.shift())
    await runOperation(w.ports, next.message.operationId);
}

async function claimRow(w: World, tenantId: string, host: string) {
  const own = and(eq(hostClaims.tenantId, tenantId), eq(hostClaims.host, host));
  const [row] = await w.db.select().from(hostClaims).where(own);
  return row;
}

const hostRow = async (w: World, host: string) => (await w.db.select().from(hosts).where(eq(hosts.host, host)))[0];

/** What DELETE /tenants/{tenant}/hosts/{host} writes. */
async function remove(w: World, tenantId: string, host: string): Promise<string> {
  const { operationId } = await w.db.transaction(async (tx) => {
    await tx.delete(hostClaims).where(and(eq(hostClaims.tenantId, tenantId), eq(hostClaims.host, host)));
    await leaveHost(tx, tenantId, host, new Date(w.ports.clock()));
    return await enqueueHostsChange(tx, tenantId, new Date(0));
  });
  return operationId;
}

describe("a custom host (D10, H106)", () => {
  test("is published only when it was proven, to the same tenant with the same routes and access", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "shopkeeper");
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await claimRow(w, tenant.tenantId, host)).toMatchObject({
      state: "pending",
      reason: `there is no TXT record at _causeway.${host}, and ${host} has no CNAME`,
    });
    expect(await lookup(host)).toBeNull();
    expect(await hostRow(w, host)).toBeUndefined();

    await setRecords({ [proof.txtKey]: ["v=spf1 -all", proof.txt] });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await claimRow(w, tenant.tenantId, host)).toMatchObject({ state: "verified", method: "txt", reason: null });
    const record = await lookup(host);
    expect({ ...record, host: null, revision: 0 }).toEqual({ ...(await lookup(tenant.host)), host: null, revision: 0 });
    // The node knew it before any visitor could be sent there.
    expect((await tenant.channel.seen()).changes.at(-1)).toMatchObject({
      tenant: { hosts: [tenant.host, host].toSorted() },
    });
  });

  test("is proven by its CNAME as well; wrong and foreign ones prove nothing", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "aliased");
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    for (const wrong of [tenant.host, `host-${"a".repeat(40)}.${tenant.domain}`]) {
      await setRecords({ [proof.cnameKey]: [wrong] });
      await check(w, tenant.tenantId, host);
      expect((await claimRow(w, tenant.tenantId, host))?.reason).toContain(`leads to ${wrong}`);
    }
    await setRecords({ [proof.cnameKey]: [proof.cname.toUpperCase()] });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await claimRow(w, tenant.tenantId, host)).toMatchObject({ state: "verified", method: "cname" });
    expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);
  });

  test("is the one's who proves it first; of two at the same moment one gets it, whatever the order", async () => {
    const w = worldWithDns();
    const place = await makeCluster([10]);
    const one = await activeTenant(w, "first-come", place);
    const two = await activeTenant(w, "second-come", place);
    for (let round = 0; round < 3; round++) {
      const host = newHost(place.cluster);
      const proofs = [await claim(w, one, host), await claim(w, two, host)];
      await setRecords({ [`TXT _causeway.${host}`]: proofs.map(({ txt }) => txt) });
      const both = [one, two].map(({ tenantId }) => tenantId);
      await Promise.all(both.map((tenantId) => check(w, tenantId, host)));
      await deliver(w);
      const states = await Promise.all(both.map(async (tenantId) => (await claimRow(w, tenantId, host))?.state));
      expect(new Set(states)).toEqual(new Set(["pending", "verified"]));
      const winner = both[states.indexOf("verified")];
      const loser = both[states.indexOf("pending")] ?? "";
      expect((await lookup(host))?.tenantId).toBe(winner);
      expect((await claimRow(w, loser, host))?.reason).toContain("another tenant has this host");

      // Removed there, it is the other one's with the next check, and never both tenants'.
      await runOperation(w.ports, await remove(w, winner ?? "", host));
      expect(await lookup(host)).toBeNull();
      await check(w, loser, host);
      await deliver(w);
      expect((await lookup(host))?.tenantId).toBe(loser);
    }
  });

  test("that was removed has to be proven anew: its old records prove nothing", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "forgetful");
    const host = newHost(tenant.cluster);
    const old = await claim(w, tenant, host);
    await setRecords({ [old.txtKey]: [old.txt], [old.cnameKey]: [old.cname] });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await lookup(host)).not.toBeNull();
    const removal = await remove(w, tenant.tenantId, host);
    await runOperation(w.ports, removal);
    expect((await operationOf(w, removal)).steps.map(({ name, state }) => `${name} ${state}`)).toEqual(
      ["withdraw-old-hosts", "push", "publish", "front-hosts", "settle-hosts"].map((name) => `${name} done`),
    );
    expect(await lookup(host)).toBeNull();
    expect(await hostRow(w, host)).toBeUndefined();
    expect((await tenant.channel.seen()).changes.at(-1)).toMatchObject({ tenant: { hosts: [tenant.host] } });

    await claim(w, tenant, host);
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await claimRow(w, tenant.tenantId, host)).toMatchObject({ state: "pending" });
    expect(await lookup(host)).toBeNull();
  });

  test("whose proof vanished is stale for three days and then withdrawn; a resolver that is away changes nothing", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "careless");
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    await setRecords({ [proof.txtKey]: [proof.txt] });
    await checkDueClaims(w.ports);
    await deliver(w);
    const state = async () => {
      await checkDueClaims(w.ports);
      await deliver(w);
      return [(await claimRow(w, tenant.tenantId, host))?.state, (await lookup(host)) !== null];
    };
    expect(await state()).toEqual(["verified", true]);

    await setRecords({ [proof.txtKey]: "SERVFAIL" });
    w.advance(7 * HOUR);
    expect(await state()).toEqual(["verified", true]);
    expect((await claimRow(w, tenant.tenantId, host))?.reason).toContain("SERVFAIL");
    w.advance(100 * HOUR);
    expect(await state()).toEqual(["verified", true]);

    await setRecords({ [proof.txtKey]: [] });
    w.advance(HOUR);
    expect(await state()).toEqual(["stale", true]);
    w.advance(70 * HOUR);
    expect(await state()).toEqual(["stale", true]);
    w.advance(3 * HOUR);
    expect(await state()).toEqual(["failed", false]);
    const failed = await claimRow(w, tenant.tenantId, host);
    expect(failed?.reason).toMatch(/^withdrawn, for its proof was missing since .*there is no TXT record/);
    expect(failed?.nextCheckAt).toBeNull();
    expect(await hostRow(w, host)).toBeUndefined();
  });

  test("of a deleted tenant is free at once; a late check of it brings nothing back", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "leaver");
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    await setRecords({ [proof.txtKey]: [proof.txt] });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    const deletion = await requestDeletion(tenant.tenantId);
    // The check's look at DNS is over when the deletion begins.
    await checkClaim(w.ports, { tenantId: tenant.tenantId, host }, async (work) => await w.db.transaction(work));
    await deliver(w);
    await runOperation(w.ports, deletion);
    expect((await operationOf(w, deletion)).operation.state).toBe("succeeded");
    expect(await lookup(host)).toBeNull();
    expect(await hostRow(w, host)).toBeUndefined();
    expect(await claimRow(w, tenant.tenantId, host)).toBeUndefined();
  });

  test("goes from visitors at once though its node is away, and comes only when the node has it", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "offliner");
    const [oldHost, host] = [newHost(tenant.cluster), newHost(tenant.cluster)];
    for (const name of [oldHost, host]) {
      const proof = await claim(w, tenant, name);
      await setRecords({ [proof.txtKey]: [proof.txt] });
    }
    await check(w, tenant.tenantId, oldHost);
    await deliver(w);
    await tenant.channel.behave({ kind: "silent", online: false, enrolled: true });
    const removal = await remove(w, tenant.tenantId, oldHost);
    await runOperation(w.ports, removal);
    expect((await operationOf(w, removal)).operation).toMatchObject({
      state: "pending",
      reason: "the node is offline",
    });
    expect(await lookup(oldHost)).toBeNull();
    expect(await hostRow(w, oldHost)).toMatchObject({ tenantId: tenant.tenantId, withdrawnAt: expect.any(Date) });

    await check(w, tenant.tenantId, host);
    expect((await claimRow(w, tenant.tenantId, host))?.state).toBe("verified");
    w.sent.length = 0;
    expect(await lookup(host)).toBeNull();
    await tenant.channel.behave({ kind: "live" });
    w.advance(20_000);
    await runOperation(w.ports, removal);
    await deliver(w);
    expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);
    expect(await hostRow(w, oldHost)).toBeUndefined();
  });

  test("whose change failed for good is made up for by the next check, or by the cron", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "unlucky");
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    await setRecords({ [proof.txtKey]: [proof.txt] });
    await tenant.channel.behave({ kind: "rejects", reason: "not today" });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await lookup(host)).toBeNull();
    await tenant.channel.behave({ kind: "live" });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);

    await tenant.channel.behave({ kind: "rejects", reason: "not today" });
    const removal = await remove(w, tenant.tenantId, host);
    await runOperation(w.ports, removal);
    expect((await operationOf(w, removal)).operation.state).toBe("failed");
    expect(await lookup(host)).toBeNull();
    expect(await hostRow(w, host)).toBeDefined();
    await tenant.channel.behave({ kind: "live" });
    await repairLeavingHosts(w.ports);
    expect(await hostRow(w, host)).toBeDefined();
    w.advance(11 * 60_000);
    await repairLeavingHosts(w.ports);
    await deliver(w);
    expect(await hostRow(w, host)).toBeUndefined();
  });

  test("is suspended and resumed with its tenant", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "pausing");
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    await w.db.update(tenants).set({ state: "suspended" }).where(eq(tenants.id, tenant.tenantId));
    await setRecords({ [proof.txtKey]: [proof.txt] });
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect((await lookup(host))?.state).toBe("suspended");
  });

  test("is checked by the cron, each when its time has come; one that breaks holds up nobody", async () => {
    const w = worldWithDns();
    const tenant = await activeTenant(w, "scheduled");
    const list = [newHost(tenant.cluster), newHost(tenant.cluster), newHost(tenant.cluster)];
    const proofs: Records = {};
    for (const host of list) {
      const proof = await claim(w, tenant, host);
      proofs[proof.txtKey] = [proof.txt];
    }
    await setRecords(proofs);
    const { dns } = w.ports;
    const broken: World["ports"] = {
      ...w.ports,
      dns: async (name, type) => {
        if (name.endsWith(list[1] ?? "")) throw new Error("a bug");
        return await dns(name, type);
      },
    };
    await sweep(broken);
    await deliver(w);
    const served = await Promise.all(list.map(async (host) => (await lookup(host)) !== null));
    expect(served).toEqual([true, false, true]);
    await sweep(w.ports);
    await deliver(w);
    for (const host of list) expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);
    const checkedAt = async () => (await claimRow(w, tenant.tenantId, list[0] ?? ""))?.checkedAt?.getTime();
    const first = await checkedAt();
    w.advance(5 * HOUR);
    await sweep(w.ports);
    expect(await checkedAt()).toBe(first);
    w.advance(2 * HOUR);
    await sweep(w.ports);
    expect(await checkedAt()).toBeGreaterThan(first ?? Infinity);
  });
});

test("a tenant of a cluster with several base domains has a host at each, and may prove its own one by any of them (D12)", async () => {
  const w = worldWithDns();
  const place = await makeCluster();
  const second = `second-${place.domain}`;
  await w.admin`update control.clusters set base_domains = string_to_array(${`${place.domain},${second}`}, ',') where name = ${place.cluster}`;
  const tenant = await activeTenant(w, "everywhere", place);
  for (const domain of [place.domain, second])
    expect(await lookup(`everywhere.${domain}`)).toMatchObject({ tenantId: tenant.tenantId, state: "active" });
  const host = newHost(place.cluster);
  const { cname } = await claim(w, { ...tenant, domain: second }, host);
  await setRecords({ [`CNAME ${host}`]: [cname] });
  await check(w, tenant.tenantId, host);
  await deliver(w);
  expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);
  // A cluster's domain that came after the claim is the platform's.
  const late = `shop.late-${place.cluster}.example`;
  const proof = await claim(w, tenant, late);
  await setRecords({ [proof.txtKey]: [proof.txt] });
  await w.admin`update control.clusters set base_domains = base_domains || ${late.slice("shop.".length)}::text
    where name = ${place.cluster}`;
  await check(w, tenant.tenantId, late);
  expect((await claimRow(w, tenant.tenantId, late))?.reason).toContain("below a base domain");
  expect(await hostRow(w, late)).toBeUndefined();
  await runOperation(w.ports, await requestDeletion(tenant.tenantId));
  for (const name of [`everywhere.${place.domain}`, `everywhere.${second}`, host])
    expect(await lookup(name)).toBeNull();
});

describe("Cloudflare for SaaS", () => {
  interface Control {
    requests: string[];
    hostnames: { id: string; hostname: string }[];
  }
  const control = async (told?: unknown): Promise<Control> => {
    const url = new URL("/control", cloudflareUrl);
    const init = told === undefined ? {} : { method: "PUT", body: JSON.stringify(told) };
    return await (await fetch(url, init)).json();
  };
  const idOf = async (host: string) => (await control()).hostnames.find(({ hostname }) => hostname === host)?.id;

  const settings = {
    apiUrl: cloudflareUrl,
    zoneId: "0123456789abcdef0123456789abcdef",
    token: "a-token-for-tests",
  };
  let w: World;
  let tenant: Awaited<ReturnType<typeof activeTenant>>;
  beforeEach(async () => {
    const plain = worldWithDns();
    const front = createCloudflareFront(settings, (url, init) => fetch(url, init));
    w = { ...plain, ports: { ...plain.ports, front } };
    tenant = await activeTenant(w, "fronted");
  });

  async function provenHost(): Promise<string> {
    const host = newHost(tenant.cluster);
    const proof = await claim(w, tenant, host);
    await setRecords({ [proof.txtKey]: [proof.txt] });
    await check(w, tenant.tenantId, host);
    return host;
  }

  test("is asked for a certificate once the host is proven, followed until it serves, and told when it goes", async () => {
    const host = newHost(tenant.cluster);
    await claim(w, tenant, host);
    await check(w, tenant.tenantId, host);
    await deliver(w);
    expect(await idOf(host)).toBeUndefined();

    const proven = await provenHost();
    await deliver(w);
    const id = await idOf(proven);
    expect(await hostRow(w, proven)).toMatchObject({
      frontId: id,
      frontState: "pending",
      frontReason: "host pending; certificate initializing; custom hostname does not CNAME to this zone.",
      frontRecords: [{ type: "TXT", name: `_cf-custom-hostname.${proven}`, value: id }],
    });
    // Visitors' part is ours alone: the record does not wait for a certificate.
    expect((await lookup(proven))?.tenantId).toBe(tenant.tenantId);

    await control({ host: { hostname: proven, status: "active", ssl: "pending_validation" } });
    w.advance(61_000);
    await checkDueFronts(w.ports);
    expect((await hostRow(w, proven))?.frontState).toBe("pending");
    await control({ host: { hostname: proven, status: "active", ssl: "active" } });
    w.advance(61_000);
    await checkDueFronts(w.ports);
    expect(await hostRow(w, proven)).toMatchObject({ frontState: "active", frontReason: null, frontRecords: [] });
    const asked = async () => (await control()).requests.filter((one) => one.includes(id ?? "?")).length;
    const before = await asked();
    w.advance(20 * HOUR);
    await checkDueFronts(w.ports);
    expect(await asked()).toBe(before);
    w.advance(5 * HOUR);
    await checkDueFronts(w.ports);
    expect(await asked()).toBe(before + 1);

    await runOperation(w.ports, await remove(w, tenant.tenantId, proven));
    expect(await idOf(proven)).toBeUndefined();
    expect(await hostRow(w, proven)).toBeUndefined();
  });

  test("that has the host already, from an answer that got lost, is not asked twice", async () => {
    await control({ fail: [{ method: "POST", status: 502, done: true }] });
    const host = await provenHost();
    await deliver(w);
    expect(await hostRow(w, host)).toMatchObject({ frontId: await idOf(host), frontState: "pending" });
    expect((await control()).hostnames.filter(({ hostname }) => hostname === host)).toHaveLength(1);
  });

  test("that limits our requests is left alone for as long as it says", async () => {
    await control({ fail: [{ method: "GET", status: 429, retryAfter: "240" }] });
    const host = await provenHost();
    await deliver(w);
    const [waiting] = await w.db
      .select()
      .from(operations)
      .where(and(eq(operations.tenantId, tenant.tenantId), eq(operations.kind, "tenant-hosts")));
    expect(waiting).toMatchObject({ state: "pending", reason: "Cloudflare's API limits our requests", attempts: 0 });
    expect((waiting?.nextAttemptAt.getTime() ?? 0) - w.ports.clock()).toBeGreaterThan(230_000);
    w.advance(241_000);
    await runOperation(w.ports, waiting?.id ?? "");
    expect(await hostRow(w, host)).toMatchObject({ frontState: "pending" });
  });

  test("that refuses a host says why, holds up nothing else, and is asked again later", async () => {
    await control({ fail: [{ method: "POST", status: 400, code: 1404 }] });
    const host = await provenHost();
    await deliver(w);
    expect(await hostRow(w, host)).toMatchObject({ frontState: "failed", frontReason: "Cloudflare: said no (1404)" });
    expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);
    w.advance(16 * 60_000);
    await checkDueFronts(w.ports);
    expect(await hostRow(w, host)).toMatchObject({ frontId: await idOf(host), frontState: "pending" });
  });

  test("that is half set up is told of at the host, which is served all the same", async () => {
    w = { ...w, ports: { ...w.ports, front: refusingFront("set both") } };
    const host = await provenHost();
    await deliver(w);
    expect(await hostRow(w, host)).toMatchObject({ frontId: null, frontState: "failed", frontReason: "set both" });
    expect((await lookup(host))?.tenantId).toBe(tenant.tenantId);
    await runOperation(w.ports, await remove(w, tenant.tenantId, host));
    expect(await hostRow(w, host)).toBeUndefined();
  });

  test("forgets the hosts of a deleted tenant, and a host that it lost is set up again", async () => {
    const host = await provenHost();
    await deliver(w);
    const id = await idOf(host);
    await fetch(`${cloudflareUrl}/zones/${settings.zoneId}/custom_hostnames/${id}`, {
      method: "DELETE",
      headers: { authorization: `Bearer ${settings.token}` },
    }).then((r) => r.body?.cancel());
    w.advance(61_000);
    await checkDueFronts(w.ports);
    expect(await idOf(host)).toBeDefined();
    expect((await hostRow(w, host))?.frontId).toBe(await idOf(host));
    const deletion = await requestDeletion(tenant.tenantId);
    await runOperation(w.ports, deletion);
    expect((await operationOf(w, deletion)).operation.state).toBe("succeeded");
    expect(await idOf(host)).toBeUndefined();
  });
});
