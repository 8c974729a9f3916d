import { and, eq, inArray, sql } from "drizzle-orm";
import { expect } from "vitest";
import { connectSql } from "../../../src/db/client.ts";
import type { Db } from "../../../src/db/client.ts";
import { allHostsOf } from "../../../src/db/hosts.ts";
import {
  claimSubject,
  DRAIN_SUBJECT,
  enqueueOperation,
  jobsSubject,
  maintenanceSubject,
  PLANS,
  relaySubject,
  withdrawalSubject,
} from "../../../src/db/operations.ts";
import type { OperationKind } from "../../../src/db/operations.ts";
import { raiseJobSettings } from "../../../src/db/jobs.ts";
import { raiseRelaySettings } from "../../../src/db/relay-settings.ts";
import {
  clusters,
  connectors,
  hostClaims,
  hosts,
  jobs,
  jobSettings,
  maintenanceNotices,
  nodes,
  OPERATION_KINDS,
  operations,
  services,
  tenants,
} from "../../../src/db/schema.ts";
import { runOperation } from "../../../src/provisioner/run-operation.ts";
import { newId } from "../../../src/shared/ids.ts";
import type { Arranged } from "./failure-injections.ts";
import { MOVES, rerouted } from "./failure-moves.ts";
import { behave, atNode, countsOf, ONE, NONE, expectAgreement, change, prefixesOf } from "./failure-subject.ts";
import type { Subject, Arrange, Case } from "./failure-subject.ts";
import { bindings, databaseUrlOf, lookup, requestDeletion, requestTenant } from "./support.ts";
import type { World } from "./support.ts";

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

const ARRANGE: Record<OperationKind, Arrange | readonly Case[]> = {
  ...MOVES,
  "tenant-create": async (w, subject, round) => {
    const { cluster } = subject;
    const { tenantId, operationId, host } = await requestTenant(cluster, `made-${round}`);
    return {
      operationId,
      async check() {
        expect(await countsOf(w, tenantId)).toEqual(ONE);
        await expectAgreement(w, { ...subject, tenantId, host });
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
        expect(await atNode(subject.masterId, tenantId)).toBeNull();
        await expectAgreement(w, subject);
      },
    };
  },
  "tenant-suspend": toState("tenant-suspend", "active", "suspended"),
  "tenant-resume": toState("tenant-resume", "suspended", "active"),
  "tenant-policy": published("tenant-policy"),
  "tenant-revoke-sessions": published("tenant-revoke-sessions"),
  "tenant-routes": async (w, subject, round) => {
    const before = await prefixesOf(w, subject);
    return {
      operationId: await rerouted(w, subject, `/round-${round}`),
      async check() {
        expect(await prefixesOf(w, subject)).toContain(`/round-${round}`);
        await expectAgreement(w, subject);
      },
      async again() {
        expect(await prefixesOf(w, subject)).toEqual(before);
        await expectAgreement(w, subject);
        return await rerouted(w, subject, `/round-${round}`);
      },
    };
  },
  "tenant-services": async (w, subject, round) => {
    const stopped = round % 2 === 0;
    const begin = () =>
      change(w, subject, "tenant-services", (tx) =>
        tx.update(services).set({ stopped }).where(eq(services.tenantId, subject.tenantId)),
      );
    const nodeHas = async () =>
      (await atNode(subject.nodeId, subject.tenantId))?.services.map((one) => one.stopped === true);
    return {
      operationId: await begin(),
      async again() {
        expect(await nodeHas()).toEqual([!stopped, !stopped, !stopped]);
        await expectAgreement(w, subject);
        return await begin();
      },
      async check() {
        expect(await nodeHas()).toEqual([stopped, stopped, stopped]);
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
      operationId: await change(w, subject, "host-withdraw", leave, { subjectId: withdrawalSubject(tenantId) }),
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
      operationId: await change(w, subject, "host-check", claim, { subjectId: claimSubject.of(tenantId, host) }),
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
      operationId: await change(w, subject, "connector-publish", insert, { subjectId: id }),
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
      operationId: await change(w, subject, "connector-remove", insert, { subjectId: id }),
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
      operationId: await change(w, subject, "relay-settings-publish", raise, { subjectId: relaySubject.of(tenantId) }),
      async check() {
        for (const lane of lanesOf(tenantId)) expect((await lane.settled()).at(-1)?.revision).toBe(revision);
      },
    };
  },
  "node-publish": async (w, subject, round) => {
    const { nodeId } = subject;
    const raise = (tx: Db) =>
      tx
        .update(nodes)
        .set({ revision: sql`nextval('control.revision')`, mastersAddress: `moved-${round}.internal:10443` })
        .where(eq(nodes.id, nodeId));
    return {
      operationId: await change(w, subject, "node-publish", raise, { subjectId: nodeId }),
      async check() {
        const [node] = await w.db.select().from(nodes).where(eq(nodes.id, nodeId));
        const { grants } = await bindings.NODE_CHANNEL.getByName(nodeId).seen();
        expect(grants.at(-1)).toMatchObject({ nodeId, revision: node?.revision });
        await expectAgreement(w, subject);
      },
    };
  },
  "node-remove": async (w, subject, round) => {
    const nodeId = newId("nod");
    const revision = 1_000 + round;
    const work = { removedNode: `removed-${round}`, revision };
    return {
      operationId: await change(w, subject, "node-remove", async () => {}, { subjectId: nodeId, work }),
      async check() {
        const { grants } = await bindings.NODE_CHANNEL.getByName(nodeId).seen();
        expect(grants.at(-1)).toEqual({ nodeId, node: work.removedNode, revision, disabled: true, enrolment: null });
      },
    };
  },
  "jobs-publish": async (w, subject, round) => {
    const { tenantId } = subject;
    const id = `job_${tenantId.slice("ten_".length)}`;
    const worker = round % 2;
    const apply = async (tx: Db) => {
      await raiseJobSettings(tx, tenantId, new Date());
      await tx.update(jobSettings).set({ workers: 2, workersEver: 2 }).where(eq(jobSettings.tenantId, tenantId));
      const call = { kind: "target", target: "erp", path: "/", method: "POST", headers: {}, body: null } as const;
      const row = { id, tenantId, name: "sync", schedule: { kind: "manual" }, action: call } as const;
      await tx
        .insert(jobs)
        .values({ ...row, worker, timeoutMs: 1_000, maxItems: 1 })
        .onConflictDoUpdate({ target: jobs.id, set: { worker } });
    };
    return {
      operationId: await change(w, subject, "jobs-publish", apply, { subjectId: jobsSubject(tenantId) }),
      async check() {
        for (const index of [0, 1]) {
          const { nextDueMs } = await w.ports.jobWorker(tenantId, index).status();
          expect(Object.keys(nextDueMs)).toEqual(index === worker ? [id] : []);
        }
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
    return {
      operationId,
      async check() {
        expect((await lookup(subject.host))?.notice).toEqual(notice);
        // Masters know nothing of maintenance: they send everything to the edge.
        expect(await atNode(subject.masterId, subject.tenantId)).toBeNull();
      },
    };
  },
  "cluster-domains": async (w, subject, round) => {
    const { tenantId, cluster, domain } = subject;
    const added = `added.${domain}`;
    const isThere = round % 2 === 0;
    const [row] = await w.db
      .update(clusters)
      .set({ baseDomains: isThere ? [domain, added] : [domain] })
      .where(eq(clusters.name, cluster))
      .returning();
    const subjectId = row?.id ?? "";
    const { operationId } = await w.db.transaction((tx) =>
      enqueueOperation(tx, { kind: "cluster-domains", subjectId, tenantId: null, now: new Date(w.ports.clock()) }),
    );
    const isOpen = inArray(operations.state, ["pending", "running"]);
    const others = async () =>
      (
        await w.db
          .select()
          .from(operations)
          .where(and(eq(operations.subjectId, tenantId), isOpen))
      ).map(({ id }) => id);
    return {
      operationId,
      others,
      async check() {
        const fresh = `subject.${added}`;
        expect((await lookup(fresh))?.tenantId ?? null).toBe(isThere ? tenantId : null);
        const names = [subject.host, ...(isThere ? [fresh] : [])].toSorted();
        expect((await allHostsOf(w.db, tenantId)).map(({ host }) => host).toSorted()).toEqual(names);
        expect((await atNode(subject.nodeId, tenantId))?.hosts.toSorted()).toEqual(names);
        expect((await atNode(subject.masterId, tenantId))?.hosts.toSorted()).toEqual(names);
        expect(await others()).toEqual([]);
        await expectAgreement(w, subject);
      },
    };
  },
  "relay-drain": async (w, subject, round) => {
    const { tenantId } = subject;
    if (round === 0) await w.db.insert(connectors).values({ id: newId("con"), tenantId, name: "drained" });
    const { operationId } = await w.db.transaction((tx) =>
      enqueueOperation(tx, {
        kind: "relay-drain",
        subjectId: DRAIN_SUBJECT,
        tenantId: null,
        now: new Date(0),
        work: { lane: "a", graceMs: 0 },
      }),
    );
    return {
      operationId,
      async check() {
        const [row] = await w.db.select().from(operations).where(eq(operations.id, operationId));
        const progress =
          row?.work !== null && row?.work !== undefined && "progress" in row.work ? row.work.progress : null;
        expect(progress?.last?.tenants).toBeGreaterThan(0);
      },
    };
  },
};

const isCases = (arrange: Arrange | readonly Case[]): arrange is readonly Case[] => Array.isArray(arrange);

/** Every kind with its steps. */
export const KINDS = OPERATION_KINDS.flatMap((kind) => {
  const arrange = ARRANGE[kind];
  return isCases(arrange)
    ? arrange.map((one) => ({ ...one, name: `${kind} ${one.name}` }))
    : [{ name: kind, steps: PLANS[kind], arrange }];
});

export const arranged = async (w: World, subject: Subject, round: number, arrange: Arrange): Promise<Arranged> => ({
  behave: behave(subject.nodeId),
  ...(await arrange(w, subject, round)),
});
