import { connectorGrant, type ConnectorGrant } from "../protocol/lane.ts";
import { TOMBSTONE_MS, USED_ASSERTIONS_MAX } from "./limits.ts";

/** What a lane keeps in its SQLite (docs/storage.md, "Lane"): grants, tombstones of removed connectors, used assertions. */
export interface LaneStore {
  /** Grants that are not removed, by connector id. Read from memory; storage is the truth after a restart. */
  readonly grants: ReadonlyMap<string, ConnectorGrant>;
  /** A lower revision than the one held, or than a removal, is not applied; an equal one is a repeated message. */
  put(grant: ConnectorGrant): { applied: boolean; revision: number };
  remove(connectorId: string, revision: number): { applied: boolean; revision: number };
  /** Notes that an assertion was used. "used": it was before. "full": too many are remembered to take another. */
  use(assertion: string, untilMs: number): "first" | "used" | "full";
}

interface ConnectorRow extends Record<string, SqlStorageValue> {
  connector_id: string;
  revision: number;
  grant_json: string | null;
}

export function createLaneStore(sql: SqlStorage, now: () => number): LaneStore {
  sql.exec(`
    CREATE TABLE IF NOT EXISTS connectors (
      connector_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, grant_json TEXT, removed_at_ms INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS used_assertions (assertion TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID;
  `);
  const grants = new Map<string, ConnectorGrant>();
  for (const row of sql.exec<ConnectorRow>("SELECT connector_id, revision, grant_json FROM connectors")) {
    if (row.grant_json !== null) grants.set(row.connector_id, connectorGrant.parse(JSON.parse(row.grant_json)));
  }
  const revisionOf = (connectorId: string): { revision: number; removed: boolean } | null => {
    const row = sql
      .exec<ConnectorRow>(
        "SELECT connector_id, revision, grant_json FROM connectors WHERE connector_id = ?",
        connectorId,
      )
      .toArray()[0];
    return row === undefined ? null : { revision: row.revision, removed: row.grant_json === null };
  };

  return {
    grants,
    put(grant) {
      const held = revisionOf(grant.connectorId);
      if (held !== null && (held.revision > grant.revision || (held.removed && held.revision === grant.revision))) {
        return { applied: false, revision: held.revision };
      }
      sql.exec(
        "INSERT OR REPLACE INTO connectors (connector_id, revision, grant_json, removed_at_ms) VALUES (?, ?, ?, NULL)",
        grant.connectorId,
        grant.revision,
        JSON.stringify(grant),
      );
      grants.set(grant.connectorId, grant);
      return { applied: true, revision: grant.revision };
    },
    remove(connectorId, revision) {
      const held = revisionOf(connectorId);
      if (held !== null && held.revision > revision) return { applied: false, revision: held.revision };
      sql.exec(
        "INSERT OR REPLACE INTO connectors (connector_id, revision, grant_json, removed_at_ms) VALUES (?, ?, NULL, ?)",
        connectorId,
        revision,
        now(),
      );
      sql.exec("DELETE FROM connectors WHERE grant_json IS NULL AND removed_at_ms < ?", now() - TOMBSTONE_MS);
      grants.delete(connectorId);
      return { applied: true, revision };
    },
    use(assertion, untilMs) {
      sql.exec("DELETE FROM used_assertions WHERE until_ms < ?", now());
      const [known] = sql.exec("SELECT 1 FROM used_assertions WHERE assertion = ?", assertion);
      if (known !== undefined) return "used";
      const { count } = sql.exec<{ count: number }>("SELECT count(*) AS count FROM used_assertions").one();
      if (count >= USED_ASSERTIONS_MAX) return "full";
      sql.exec("INSERT INTO used_assertions (assertion, until_ms) VALUES (?, ?)", assertion, untilMs);
      return "first";
    },
  };
}
