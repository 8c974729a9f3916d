import { z } from "zod";
import { publicJwk, type PublicJwk } from "../protocol/jwk.ts";
import { nodeChange, type NodeChange, type NodeGrant, type NodeTenantStatus } from "../protocol/node-channel.ts";
import { newId } from "../shared/ids.ts";
import { TOMBSTONES_MAX, USED_NODE_ASSERTIONS_MAX } from "./limits.ts";

/**
 * What a node channel keeps in its SQLite (docs/storage.md, "Node channel"). A change replaces the whole of an earlier one of its tenant,
 * so the log is one row per tenant with the sequence number of its newest change: an agent that was away gets each tenant once, as it is now.
 */
export interface NodeChannelStore {
  readonly epoch: string;
  seq(): number;
  grant(): NodeGrant | null;
  /** An older revision than the one held is not applied; an equal one is a repeated message. */
  putGrant(grant: NodeGrant): { applied: boolean; revision: number };
  keys(): PublicJwk[];
  /** Uses the open enrolment up: this key becomes the node's only one. */
  enrol(key: PublicJwk, secretHash: string): void;
  /** The secret that the present key was enrolled with, for a repeated request. */
  usedEnrolment(): string | null;
  /** `seq` is that of the new entry, null when nothing changed. */
  push(change: NodeChange): { applied: boolean; revision: number; seq: number | null };
  /** Changes after `cursor`, oldest first; null when the log no longer reaches back that far. */
  changesAfter(cursor: number): { seq: number; change: NodeChange }[] | null;
  /** Newest change of every tenant that the node has to hold, or still has to let go. */
  current(): Iterable<NodeChange>;
  /** Null when the node does not hold the tenant. A tenant that is to be removed is pending until it is gone. */
  status(tenantId: string): (NodeTenantStatus & { removing: boolean }) | null;
  /** What the agent said; false when it is of another revision than the newest, or nothing new. */
  settle(tenantId: string, revision: number, state: "accepted" | "live" | "rejected", reason: string | null): boolean;
  gone(tenantId: string, revision: number): boolean;
  /** Notes that an assertion was used. "used": it was before. "full": too many are remembered to take another. */
  use(assertion: string, untilMs: number): "first" | "used" | "full";
}

interface TenantRow extends Record<string, SqlStorageValue> {
  tenant_id: string;
  revision: number;
  seq: number;
  change_json: string;
  state: string;
  reason: string | null;
}

export const nodeGrant: z.ZodType<NodeGrant> = z.object({
  nodeId: z.string().min(1).max(64),
  node: z.string().min(1).max(64),
  revision: z.number().int().nonnegative(),
  disabled: z.boolean(),
  enrolment: z.object({ secretHash: z.string().regex(/^[0-9a-f]{64}$/), expiresAtMs: z.number() }).nullable(),
});

/** Whether the object was ever written to. Reading must not make tables: anybody can name a node that does not exist. */
export const isWritten = (sql: SqlStorage): boolean =>
  sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'meta'").toArray().length > 0;

export function openNodeChannelStore(sql: SqlStorage, now: () => number): NodeChannelStore {
  sql.exec(`
    CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS keys (kid TEXT PRIMARY KEY, jwk_json TEXT NOT NULL, since_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tenants (
      tenant_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, seq INTEGER NOT NULL, change_json TEXT NOT NULL,
      state TEXT NOT NULL, reason TEXT
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX IF NOT EXISTS tenants_by_seq ON tenants (seq);
    CREATE TABLE IF NOT EXISTS used_assertions (assertion TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID;
  `);
  const readMeta = (name: string): string | null =>
    sql.exec<{ value: string }>("SELECT value FROM meta WHERE name = ?", name).toArray()[0]?.value ?? null;
  const writeMeta = (name: string, value: string): void => {
    sql.exec("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", name, value);
  };
  const number = (name: string): number => Number(readMeta(name) ?? 0);
  const row = (tenantId: string): TenantRow | null =>
    sql.exec<TenantRow>("SELECT * FROM tenants WHERE tenant_id = ?", tenantId).toArray()[0] ?? null;
  const changeOf = ({ change_json }: TenantRow): NodeChange => nodeChange.parse(JSON.parse(change_json));

  const epoch = readMeta("epoch") ?? newId("evt");
  if (readMeta("epoch") === null) writeMeta("epoch", epoch);

  /** The oldest tombstones that the agent has confirmed go; the log then begins after the last one that went. */
  const compact = (): void => {
    const { count } = sql.exec<{ count: number }>("SELECT count(*) AS count FROM tenants WHERE state = 'gone'").one();
    if (count <= TOMBSTONES_MAX) return;
    const doomed = sql
      .exec<{ seq: number }>(
        "SELECT seq FROM tenants WHERE state = 'gone' ORDER BY seq LIMIT ?",
        count - TOMBSTONES_MAX,
      )
      .toArray();
    for (const { seq } of doomed) sql.exec("DELETE FROM tenants WHERE seq = ?", seq);
    writeMeta("floor", String(Math.max(number("floor"), ...doomed.map(({ seq }) => seq))));
  };

  return {
    epoch,
    seq: () => number("seq"),
    grant() {
      const text = readMeta("grant");
      return text === null ? null : nodeGrant.parse(JSON.parse(text));
    },
    putGrant(grant) {
      const held = this.grant();
      if (held !== null && held.revision > grant.revision) return { applied: false, revision: held.revision };
      writeMeta("grant", JSON.stringify(grant));
      return { applied: true, revision: grant.revision };
    },
    keys: () =>
      sql
        .exec<{ jwk_json: string }>("SELECT jwk_json FROM keys")
        .toArray()
        .map(({ jwk_json }) => publicJwk.parse(JSON.parse(jwk_json))),
    enrol(key, secretHash) {
      sql.exec("DELETE FROM keys");
      sql.exec("INSERT INTO keys (kid, jwk_json, since_ms) VALUES (?, ?, ?)", key.kid, JSON.stringify(key), now());
      writeMeta("used-enrolment", secretHash);
    },
    usedEnrolment: () => readMeta("used-enrolment"),
    push(change) {
      const removes = change.kind === "remove";
      const { tenantId, revision } = removes ? change : change.tenant;
      const held = row(tenantId);
      const wasRemoved = held !== null && changeOf(held).kind === "remove";
      if (held !== null && held.revision > revision) return { applied: false, revision: held.revision, seq: null };
      if (held !== null && held.revision === revision && removes === wasRemoved) {
        return { applied: true, revision, seq: null };
      }
      // Of a removal and a tenant with one revision the removal wins, in either order.
      if (held !== null && held.revision === revision && wasRemoved) return { applied: false, revision, seq: null };
      const seq = number("seq") + 1;
      writeMeta("seq", String(seq));
      sql.exec(
        "INSERT OR REPLACE INTO tenants (tenant_id, revision, seq, change_json, state, reason) VALUES (?, ?, ?, ?, ?, NULL)",
        tenantId,
        revision,
        seq,
        JSON.stringify(change),
        "pending",
      );
      return { applied: true, revision, seq };
    },
    changesAfter(cursor) {
      if (cursor < number("floor") || cursor > number("seq")) return null;
      const rows = sql.exec<TenantRow>("SELECT * FROM tenants WHERE seq > ? ORDER BY seq", cursor).toArray();
      return rows.map((found) => ({ seq: found.seq, change: changeOf(found) }));
    },
    *current() {
      for (const found of sql.exec<TenantRow>("SELECT * FROM tenants WHERE state <> 'gone' ORDER BY seq").toArray()) {
        yield changeOf(found);
      }
    },
    status(tenantId) {
      const found = row(tenantId);
      if (found === null || found.state === "gone") return null;
      const { revision, reason } = found;
      const removing = changeOf(found).kind === "remove";
      return { tenantId, revision, state: stateOf(found.state), reason, removing };
    },
    settle(tenantId, revision, state, reason) {
      const found = row(tenantId);
      if (found === null || found.revision !== revision || changeOf(found).kind === "remove") return false;
      if (found.state === state && found.reason === reason) return false;
      sql.exec("UPDATE tenants SET state = ?, reason = ? WHERE tenant_id = ?", state, reason, tenantId);
      return true;
    },
    gone(tenantId, revision) {
      const found = row(tenantId);
      if (found === null || found.revision > revision || found.state === "gone" || changeOf(found).kind !== "remove") {
        return false;
      }
      sql.exec("UPDATE tenants SET state = 'gone' WHERE tenant_id = ?", tenantId);
      compact();
      return true;
    },
    use(assertion, untilMs) {
      sql.exec("DELETE FROM used_assertions WHERE until_ms < ?", now());
      if (sql.exec("SELECT 1 FROM used_assertions WHERE assertion = ?", assertion).toArray().length > 0) return "used";
      const { count } = sql.exec<{ count: number }>("SELECT count(*) AS count FROM used_assertions").one();
      if (count >= USED_NODE_ASSERTIONS_MAX) return "full";
      sql.exec("INSERT INTO used_assertions (assertion, until_ms) VALUES (?, ?)", assertion, untilMs);
      return "first";
    },
  };
}

const stateOf = (text: string): NodeTenantStatus["state"] =>
  text === "accepted" || text === "live" || text === "rejected" ? text : "pending";
