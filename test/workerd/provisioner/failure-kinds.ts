import { eq, sql } from "drizzle-orm";
import { expect } from "vitest";
import { allHostsOf } from "../../../src/db/hosts.ts";
import {
  claimSubject,
  DRAIN_SUBJECT,
  enqueueOperation,
  maintenanceSubject,
  PLANS,
  relaySubject,
  withdrawalSubject,
} from "../../../src/db/operations.ts";
import type { OperationKind } from "../../../src/db/operations.ts";
import { raiseRelaySettings } from "../../../src/db/relay-settings.ts";
import {
  connectors,
  hostClaims,
  hosts,
  maintenanceNotices,
  nodes,
  routes,
  services,
  tenants,
} from "../../../src/db/schema.ts";
import { connectSql } from "../../../src/db/client.ts";
import type { Db } from "../../../src/db/client.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { newId } from "../../../src/shared/ids.ts";
import type { NodeBehaviour } from "./fixtures/control.ts";
import { bindings, databaseUrlOf, lookup, makeCluster, requestDeletion, requestTenant } from "./support.ts";
import type { World } from "./support.ts";

/** An operation that is about to run, and what has to be so when it has ended well. */
export interface Arranged {
  readonly operationId: string;
  check(): Promise<void>;
}

/** A tenant at work, for the kinds that change one. */
export interface Subject {
  readonly tenantId: string;
  readonly host: string;
  readonly cluster: string;
  readonly domain: string;
  readonly nodeId: string;
  behave(behaviour: NodeBehaviour): Promise<void>;
}

type Arrange = (w: World, subject: Subject, round: number) => Promise<Arranged>;

export async function makeSubject(w: World): Promise<Subject> {
  const { cluster, domain, nodeIds } = await makeCluster([1_000]);
  const nodeId = nodeIds[0] ?? "";
  const made = await requestTenant(cluster, "subject");
  await runOperation(w.ports, made.operationId);
  const behave = (behaviour: NodeBehaviour) => bindings.NODE_CHANNEL.getByName(nodeId).behave(behaviour);
  return { tenantId: made.tenantId, host: made.host, cluster, domain, nodeId, behave };
}

/** The node's newest word of a tenant: what it is to have, or null once it is to have nothing. */
async function atNode(nodeId: string, tenantId: string) {
  const { changes } = await bindings.NODE_CHANNEL.getByName(nodeId).seen();
  const last = changes.findLast((one) => (one.kind === "put" ? one.tenant.tenantId : one.tenantId) === tenantId);
  return last?.kind === "put" ? last.tenant : null;
}

/** How much there is of a tenant, everywhere. */
async function countsOf({ admin }: World, tenantId: string) {
  const [row] = await admin`select
    (select count(*)::int from control.tenants where id = ${tenantId}) as tenants,
    (select count(*)::int from control.workspaces where tenant_id = ${tenantId}) as workspaces,
    (select count(*)::int from control.services where tenant_id = ${tenantId}) as services,
    (select count(*)::int from control.routes where tenant_id = ${tenantId}) as routes,
    (select count(*)::int from control.hosts where tenant_id = ${tenantId}) as hosts,
    (select count(*)::int from control.credentials where tenant_id = ${tenantId}) as credentials,
    (select count(*)::int from pg_namespace where nspname = ${tenantId}) as schemas,
    (select count(*)::int from pg_roles where rolname like ${`${tenantId}%`}) as roles`;
  return { ...row };
}

const ONE = { tenants: 1, workspaces: 1, services: 3, routes: 3, hosts: 1, credentials: 1, schemas: 1, roles: 1 };
const NONE = { tenants: 0, workspaces: 0, services: 0, routes: 0, hosts: 0, credentials: 0, schemas: 0, roles: 0 };

/** The tenant's row, directory and node say the same. */
async function expectAgreement(w: World, { tenantId, host, nodeId }: Subject): Promise<void> {
  const [tenant] = await w.db.select().from(tenants).where(eq(tenants.id, tenantId));
  const record = await lookup(host);
  expect(record).toMatchObject({ tenantId, state: tenant?.state, node: { id: nodeId } });
  const prefixes = (await w.db.select().from(routes).where(eq(routes.tenantId, tenantId))).map(({ prefix }) => prefix);
  expect(record?.routes.map(({ prefix }) => prefix).toSorted()).toEqual(prefixes.toSorted());
  const node = await atNode(nodeId, tenantId);
  expect(node?.routes.map(({ prefix }) => prefix).toSorted()).toEqual(prefixes.toSorted());
  expect(await countsOf(w, tenantId)).toMatchObject({ tenants: 1, workspaces: 1, services: 3, schemas: 1 });
}

/** Writes what is wanted with its operation, as the console does. */
async function change(
  w: World,
  { tenantId }: Subject,
  kind: OperationKind,
  write: (tx: Db) => Promise<unknown>,
  subjectId = tenantId,
): Promise<string> {
  const { operationId } = await w.db.transaction(async (tx) => {
    await write(tx);
    await tx
      .update(tenants)
      .set({ revision: sql`nextval('control.revision')` })
      .where(eq(tenants.id, tenantId));
    return enqueueOperation(tx, { kind, subjectId, tenantId, now: new Date(0) });
  });
  return operationId;
}

const toState =
  (kind: "tenant-suspend" | "tenant-resume", from: "active" | "suspended", to: "active" | "suspended"): Arrange =>
  async (w, subject) => {
    const set = (state: "active" | "suspended") => (tx: Db) =>
      tx.update(tenants).set({ state }).where(eq(tenants.id, subject.tenantId));
    await runOperation(w.ports, await change(w, subject, "tenant-resume", set(from)));
    expect((await lookup(subject.host))?.state).toBe(from);
    const operationId = await change(w, subject, kind, set(to));
    return {
      operationId,
      async check() {
        expect((await lookup(subject.host))?.state).toBe(to);
        await expectAgreement(w, subject);
      },
    };
  };

/** Any publication of the tenant: the directory has what the row says, under the revision that was raised for it. */
const published =
  (kind: "tenant-policy" | "tenant-revoke-sessions"): Arrange =>
  async (w, subject, round) => ({
    operationId: await change(w, subject, kind, (tx) =>
      tx
        .update(tenants)
        .set({ accessRevision: round + 1 })
        .where(eq(tenants.id, subject.tenantId)),
    ),
    async check() {
      expect((await lookup(subject.host))?.accessRevision).toBe(round + 1);
      await expectAgreement(w, subject);
    },
  });

const lanesOf = (tenantId: string) => [bindings.LANE_A.getByName(tenantId), bindings.LANE_B.getByName(tenantId)];

const ARRANGE: Partial<Record<OperationKind, Arrange>> = {
  "tenant-create": async (w, { cluster, nodeId }, round) => {
    const { tenantId, operationId, host } = await requestTenant(cluster, `made-${round}`);
    return {
      operationId,
      async check() {
        expect(await countsOf(w, tenantId)).toEqual(ONE);
        await expectAgreement(w, { tenantId, host, nodeId, cluster, domain: "", behave: async () => {} });
        expect((await lookup(host))?.state).toBe("active");
        const rows = await w.admin`select distinct status from control.services where tenant_id = ${tenantId}`;
        expect(rows).toEqual([{ status: "RUNNING" }]);
      },
    };
  },
  "tenant-delete": async (w, subject, round) => {
    const { tenantId, operationId, host } = await requestTenant(subject.cluster, `gone-${round}`);
    await runOperation(w.ports, operationId);
    return {
      operationId: await requestDeletion(tenantId),
      async check() {
        expect(await countsOf(w, tenantId)).toEqual(NONE);
        expect(await lookup(host)).toBeNull();
        expect(await atNode(subject.nodeId, tenantId)).toBeNull();
        await expectAgreement(w, subject);
      },
    };
  },
  "tenant-suspend": toState("tenant-suspend", "active", "suspended"),
  "tenant-resume": toState("tenant-resume", "suspended", "active"),
  "tenant-policy": published("tenant-policy"),
  "tenant-revoke-sessions": published("tenant-revoke-sessions"),
  "tenant-routes": async (w, subject, round) => ({
    operationId: await change(w, subject, "tenant-routes", (tx) =>
      tx
        .update(routes)
        .set({ prefix: `/round-${round}` })
        .where(sql`${routes.tenantId} = ${subject.tenantId} and ${routes.destination} = 'app'`),
    ),
    async check() {
      expect((await lookup(subject.host))?.routes.map(({ prefix }) => prefix)).toContain(`/round-${round}`);
      await expectAgreement(w, subject);
    },
  }),
  "tenant-services": async (w, subject, round) => {
    const stopped = round % 2 === 0;
    return {
      operationId: await change(w, subject, "tenant-services", (tx) =>
        tx.update(services).set({ stopped }).where(eq(services.tenantId, subject.tenantId)),
      ),
      async check() {
        const node = await atNode(subject.nodeId, subject.tenantId);
        expect(node?.services.map((one) => one.stopped === true)).toEqual([stopped, stopped, stopped]);
        const rows = await w.db.select().from(services).where(eq(services.tenantId, subject.tenantId));
        expect(new Set(rows.map(({ status }) => status))).toEqual(new Set([stopped ? "EXITED" : "RUNNING"]));
        await expectAgreement(w, subject);
      },
    };
  },
  "tenant-rotate-credentials": async (w, subject) => {
    const [before] = await w.admin`select sealed from control.credentials where tenant_id = ${subject.tenantId}`;
    return {
      operationId: await change(w, subject, "tenant-rotate-credentials", async () => {}),
      async check() {
        const rows = await w.admin`select kind, sealed from control.credentials where tenant_id = ${subject.tenantId}`;
        expect(rows.map(({ kind }) => kind)).toEqual(["database"]);
        expect(rows[0]?.["sealed"]).not.toBe(before?.["sealed"]);
        const node = await atNode(subject.nodeId, subject.tenantId);
        if (node === null) throw new Error("the node has nothing");
        const fresh = connectSql(databaseUrlOf(node), 1);
        expect(await fresh`select current_user as who`).toEqual([{ who: subject.tenantId }]);
        // The owner, and one that logs in.
        expect(await countsOf(w, subject.tenantId)).toMatchObject({ roles: 2 });
        await expectAgreement(w, subject);
      },
    };
  },
  "tenant-hosts": async (w, subject, round) => {
    const { tenantId, domain } = subject;
    const [old, fresh] = [`h${round}.${domain}.example`, `h${round + 1}.${domain}.example`];
    if (round === 0) await w.db.insert(hosts).values({ host: old, tenantId, kind: "custom" });
    const operationId = await change(w, subject, "tenant-hosts", async (tx) => {
      await tx.update(hosts).set({ leavingSince: new Date() }).where(eq(hosts.host, old));
      await tx.insert(hosts).values({ host: fresh, tenantId, kind: "custom" });
    });
    return {
      operationId,
      async check() {
        expect(await lookup(old)).toBeNull();
        expect(await lookup(fresh)).toMatchObject({ tenantId, state: "active" });
        const names = [fresh, subject.host].toSorted();
        expect((await allHostsOf(w.db, tenantId)).map(({ host }) => host).toSorted()).toEqual(names);
        expect((await atNode(subject.nodeId, tenantId))?.hosts.toSorted()).toEqual(names);
        await expectAgreement(w, subject);
      },
    };
  },
  "host-withdraw": async (w, subject, round) => {
    const { tenantId } = subject;
    const host = `w${round}.${subject.domain}.example`;
    const there = await change(w, subject, "tenant-hosts", (tx) =>
      tx.insert(hosts).values({ host, tenantId, kind: "custom" }),
    );
    await runOperation(w.ports, there);
    expect(await lookup(host)).not.toBeNull();
    const leave = (tx: Db) => tx.update(hosts).set({ leavingSince: new Date() }).where(eq(hosts.host, host));
    return {
      operationId: await change(w, subject, "host-withdraw", leave, withdrawalSubject(tenantId)),
      async check() {
        expect(await lookup(host)).toBeNull();
        const [row] = await w.db.select().from(hosts).where(eq(hosts.host, host));
        expect(row?.withdrawnAt).not.toBeNull();
        await expectAgreement(w, subject);
      },
    };
  },
  "host-check": async (w, subject, round) => {
    const { tenantId } = subject;
    const host = `c${round}.${subject.domain}.example`;
    const now = new Date(w.ports.clock());
    const claim = (tx: Db) =>
      tx
        .insert(hostClaims)
        .values({ tenantId, host, token: "token", stateSince: now, nextCheckAt: now, createdAt: now });
    return {
      operationId: await change(w, subject, "host-check", claim, claimSubject.of(tenantId, host)),
      async check() {
        const [row] = await w.db.select().from(hostClaims).where(eq(hostClaims.host, host));
        expect(row?.state).toBe("pending");
        expect(row?.nextCheckAt?.getTime()).toBeGreaterThan(now.getTime());
      },
    };
  },
  "connector-publish": async (w, subject, round) => {
    const { tenantId } = subject;
    const id = newId("con");
    const insert = (tx: Db) => tx.insert(connectors).values({ id, tenantId, name: `published-${round}` });
    return {
      operationId: await change(w, subject, "connector-publish", insert, id),
      async check() {
        for (const lane of lanesOf(tenantId))
          expect(await lane.told()).toContainEqual(expect.objectContaining({ connectorId: id, disabled: false }));
      },
    };
  },
  "connector-remove": async (w, subject, round) => {
    const { tenantId } = subject;
    const id = newId("con");
    const insert = (tx: Db) =>
      tx.insert(connectors).values({ id, tenantId, name: `removed-${round}`, deletedAt: new Date() });
    return {
      operationId: await change(w, subject, "connector-remove", insert, id),
      async check() {
        for (const lane of lanesOf(tenantId))
          expect(await lane.told()).toContainEqual(expect.objectContaining({ removed: id }));
        expect(await w.db.select().from(connectors).where(eq(connectors.id, id))).toEqual([]);
      },
    };
  },
  "relay-settings-publish": async (w, subject) => {
    const { tenantId } = subject;
    let revision = 0;
    const raise = async (tx: Db) => void ({ revision } = await raiseRelaySettings(tx, tenantId, new Date()));
    return {
      operationId: await change(w, subject, "relay-settings-publish", raise, relaySubject.of(tenantId)),
      async check() {
        for (const lane of lanesOf(tenantId)) expect((await lane.settled()).at(-1)?.revision).toBe(revision);
      },
    };
  },
  "node-publish": async (w, subject) => {
    const { nodeId } = subject;
    const raise = (tx: Db) =>
      tx
        .update(nodes)
        .set({ revision: sql`nextval('control.revision')` })
        .where(eq(nodes.id, nodeId));
    return {
      operationId: await change(w, subject, "node-publish", raise, nodeId),
      async check() {
        const [node] = await w.db.select().from(nodes).where(eq(nodes.id, nodeId));
        const { grants } = await bindings.NODE_CHANNEL.getByName(nodeId).seen();
        expect(grants.at(-1)).toMatchObject({ nodeId, revision: node?.revision });
      },
    };
  },
  "maintenance-publish": async (w, subject, round) => {
    const scope = subject.cluster;
    const notice = { message: `round ${round}`, retryAfterSeconds: 60, allow: [] };
    const { operationId } = await w.db.transaction(async (tx) => {
      const values = { maintenance: notice, revision: sql`nextval('control.revision')` };
      await tx
        .insert(maintenanceNotices)
        .values({ scope, ...values })
        .onConflictDoUpdate({ target: maintenanceNotices.scope, set: values });
      const subjectId = maintenanceSubject.of(scope);
      return enqueueOperation(tx, { kind: "maintenance-publish", subjectId, tenantId: null, now: new Date(0) });
    });
    return { operationId, check: async () => expect((await lookup(subject.host))?.notice).toEqual(notice) };
  },
  "relay-drain": async (w) => {
    const { operationId } = await w.db.transaction((tx) =>
      enqueueOperation(tx, {
        kind: "relay-drain",
        subjectId: DRAIN_SUBJECT,
        tenantId: null,
        now: new Date(0),
        work: { lane: "a", graceMs: 0 },
      }),
    );
    return { operationId, check: async () => {} };
  },
};

/** Has a suite of its own. */
const ELSEWHERE: readonly string[] = ["tenant-move", "tenant-move-undo", "node-drain", "cluster-domains"];

/** Every kind with its steps; one that the suite can't arrange is a hole in it. */
export const KINDS = Object.entries(PLANS).flatMap(([kind, steps]) => {
  if (ELSEWHERE.includes(kind)) return [];
  const [, arrange] = Object.entries(ARRANGE).find(([name]) => name === kind) ?? [];
  if (arrange === undefined) throw new Error(`the failure suite can't arrange ${kind}`);
  return [{ kind, steps, arrange }];
});
