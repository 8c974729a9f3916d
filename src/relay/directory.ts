import { DurableObject } from "cloudflare:workers";
import { recordOfNobody, withNotice } from "../policy/notice.ts";
import {
  directoryCopyKey,
  directoryRecord,
  maintenanceNotice,
  noticesCopyKey,
  WHOLE_PLATFORM,
  type DirectoryRecord,
  type DirectoryRpc,
  type MaintenanceNotice,
} from "../policy/record.ts";

export interface DirectoryEnv {
  readonly DIRECTORY_COPY: KVNamespace;
}

/** A tombstone outlives every message that could still carry the revision that it fences (queues keep them 14 days at most). */
const TOMBSTONE_LIFETIME_MS = 30 * 24 * 3_600_000;
/** KV allows one write a second and key; a failed copy is written again after this, doubled up to the maximum. */
const COPY_RETRY_MIN_MS = 1_500;
const COPY_RETRY_MAX_MS = 60_000;
/** KV writes at once; an object has six outgoing connections. */
const COPY_PARALLEL = 4;

/** Stands among the hosts that are to be copied for the object's notices. */
const NOTICES = WHOLE_PLATFORM;

interface HostRow extends Record<string, SqlStorageValue> {
  tenant_id: string;
  revision: number;
  record: string;
}

/**
 * One shard of the directory: the authority on which tenant holds a host (docs/storage.md, "Directory"). Every write is fenced by the
 * tenant's revision; a removal leaves a tombstone per host and tenant, so a late or repeated write can't bring a host back. After the
 * commit, record or notices are copied to KV, which the edge reads only while this object can't be reached.
 */
export class Directory extends DurableObject<DirectoryEnv> implements DirectoryRpc {
  readonly #sql: SqlStorage;
  /** By scope: one a cluster at most, so that a lookup reads none. */
  readonly #notices: Map<string, MaintenanceNotice>;
  #copying: Promise<void> | null = null;
  #copyRetryMs = COPY_RETRY_MIN_MS;

  constructor(state: DurableObjectState, env: DirectoryEnv) {
    super(state, env);
    this.#sql = state.storage.sql;
    this.#sql.exec(`
      CREATE TABLE IF NOT EXISTS hosts (
        host TEXT PRIMARY KEY, tenant_id TEXT NOT NULL, revision INTEGER NOT NULL, record TEXT NOT NULL
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS tombstones (
        host TEXT NOT NULL, tenant_id TEXT NOT NULL, revision INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        PRIMARY KEY (host, tenant_id)
      ) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS pending_copies (host TEXT PRIMARY KEY, change INTEGER NOT NULL) WITHOUT ROWID;
      CREATE TABLE IF NOT EXISTS notices (scope TEXT PRIMARY KEY, notice TEXT NOT NULL) WITHOUT ROWID;
    `);
    const notices = this.#sql.exec<{ notice: string }>("SELECT notice FROM notices").toArray();
    this.#notices = new Map(
      notices.map(({ notice }) => maintenanceNotice.parse(JSON.parse(notice))).map((notice) => [notice.scope, notice]),
    );
  }

  async lookup(host: string): Promise<DirectoryRecord | null> {
    if (host === WHOLE_PLATFORM) return recordOfNobody(host, this.#notices);
    const row = this.#row(host);
    return row === null ? null : withNotice(directoryRecord.parse(JSON.parse(row.record)), this.#notices);
  }

  async lookupOrNotice(host: string): Promise<DirectoryRecord | null> {
    return (await this.lookup(host)) ?? recordOfNobody(host, this.#notices);
  }

  async putNotice(input: MaintenanceNotice): Promise<{ applied: boolean; revision: number }> {
    const notice = maintenanceNotice.parse(input);
    const { scope, revision } = notice;
    const held = this.#notices.get(scope);
    if (held !== undefined && held.revision > revision) return { applied: false, revision: held.revision };
    this.ctx.storage.transactionSync(() => {
      this.#sql.exec("INSERT OR REPLACE INTO notices (scope, notice) VALUES (?, ?)", scope, JSON.stringify(notice));
      this.#markCopy(NOTICES);
    });
    this.#notices.set(scope, notice);
    await this.#startCopying();
    return { applied: true, revision };
  }

  /** An equal revision of the same tenant is a repeated step and is written again; a removed one needs a higher revision. */
  async publish(input: DirectoryRecord): Promise<{ applied: boolean; revision: number }> {
    const record = directoryRecord.parse(input);
    const row = this.#row(record.host);
    if (row !== null && row.tenant_id !== record.tenantId) return { applied: false, revision: row.revision };
    if (row !== null && row.revision > record.revision) return { applied: false, revision: row.revision };
    const removedAt = this.#tombstoneRevision(record.host, record.tenantId);
    if (removedAt !== null && removedAt >= record.revision) return { applied: false, revision: removedAt };

    this.ctx.storage.transactionSync(() => {
      this.#sql.exec(
        "INSERT OR REPLACE INTO hosts (host, tenant_id, revision, record) VALUES (?, ?, ?, ?)",
        record.host,
        record.tenantId,
        record.revision,
        JSON.stringify(record),
      );
      this.#sql.exec("DELETE FROM tombstones WHERE host = ? AND tenant_id = ?", record.host, record.tenantId);
      this.#markCopy(record.host);
    });
    await this.#startCopying();
    return { applied: true, revision: record.revision };
  }

  /** A host that another tenant holds stays as it is; this tenant's tombstone is set all the same. */
  async withdraw(host: string, tenantId: string, revision: number): Promise<{ applied: boolean; revision: number }> {
    const row = this.#row(host);
    const held = row !== null && row.tenant_id === tenantId;
    if (held && row.revision > revision) return { applied: false, revision: row.revision };
    const removedAt = this.#tombstoneRevision(host, tenantId);
    if (removedAt !== null && removedAt > revision) return { applied: false, revision: removedAt };

    this.ctx.storage.transactionSync(() => {
      this.#sql.exec(
        "INSERT OR REPLACE INTO tombstones (host, tenant_id, revision, at_ms) VALUES (?, ?, ?, ?)",
        host,
        tenantId,
        revision,
        Date.now(),
      );
      if (held) {
        this.#sql.exec("DELETE FROM hosts WHERE host = ?", host);
        this.#markCopy(host);
      }
    });
    await this.#startCopying();
    return { applied: true, revision };
  }

  override async alarm(): Promise<void> {
    this.#sql.exec("DELETE FROM tombstones WHERE at_ms < ?", Date.now() - TOMBSTONE_LIFETIME_MS);
    await this.#copyAll();
    await this.#setNextAlarm();
  }

  #row(host: string): HostRow | null {
    const rows = this.#sql.exec<HostRow>("SELECT tenant_id, revision, record FROM hosts WHERE host = ?", host);
    return rows.toArray()[0] ?? null;
  }

  #tombstoneRevision(host: string, tenantId: string): number | null {
    const rows = this.#sql.exec<{ revision: number }>(
      "SELECT revision FROM tombstones WHERE host = ? AND tenant_id = ?",
      host,
      tenantId,
    );
    return rows.toArray()[0]?.revision ?? null;
  }

  #markCopy(host: string): void {
    this.#sql.exec(
      "INSERT INTO pending_copies (host, change) VALUES (?, 1) ON CONFLICT (host) DO UPDATE SET change = change + 1",
      host,
    );
  }

  /** The alarm is durable together with the write, so a copy that this process does not finish is made after its restart. */
  async #startCopying(): Promise<void> {
    await this.#setNextAlarm();
    this.ctx.waitUntil(this.#copyAll().then(() => this.#setNextAlarm()));
  }

  /** One run at a time: two writes of one key could overtake each other on the way to KV. */
  #copyAll(): Promise<void> {
    this.#copying ??= this.#copyPending().finally(() => {
      this.#copying = null;
    });
    return this.#copying;
  }

  async #copyPending(): Promise<void> {
    for (;;) {
      const pending = this.#sql
        .exec<{ host: string; change: number }>("SELECT host, change FROM pending_copies LIMIT ?", COPY_PARALLEL)
        .toArray();
      if (pending.length === 0) return;
      const done = await Promise.all(pending.map(({ host, change }) => this.#copyOne(host, change)));
      if (done.includes(false)) {
        this.#copyRetryMs = Math.min(this.#copyRetryMs * 2, COPY_RETRY_MAX_MS);
        return;
      }
      this.#copyRetryMs = COPY_RETRY_MIN_MS;
    }
  }

  /** Writes what holds now. A change that came in meanwhile keeps the row, and the next round copies it. */
  async #copyOne(host: string, change: number): Promise<boolean> {
    try {
      await this.#writeCopy(host);
    } catch {
      return false;
    }
    this.#sql.exec("DELETE FROM pending_copies WHERE host = ? AND change = ?", host, change);
    return true;
  }

  async #writeCopy(host: string): Promise<void> {
    const { DIRECTORY_COPY: copy } = this.env;
    if (host === NOTICES) {
      return await copy.put(noticesCopyKey(this.ctx.id.name ?? ""), JSON.stringify([...this.#notices.values()]));
    }
    const row = this.#row(host);
    if (row === null) await copy.delete(directoryCopyKey(host));
    else await copy.put(directoryCopyKey(host), row.record);
  }

  async #setNextAlarm(): Promise<void> {
    const pending = this.#sql.exec("SELECT 1 FROM pending_copies LIMIT 1").toArray().length > 0;
    if (pending) return await this.ctx.storage.setAlarm(Date.now() + this.#copyRetryMs);
    const [oldest] = this.#sql.exec<{ at_ms: number | null }>("SELECT min(at_ms) AS at_ms FROM tombstones").toArray();
    const at = oldest?.at_ms ?? null;
    if (at === null) await this.ctx.storage.deleteAlarm();
    else await this.ctx.storage.setAlarm(at + TOMBSTONE_LIFETIME_MS + 1);
  }
}
