import {
  connectorGrant,
  tenantSettings,
  type ConnectorGrant,
  type PairingRequest,
  type TenantSettings,
} from "../../protocol/lane.ts";
import { PAIRING_REQUESTS_MAX, TOMBSTONE_MS, USED_ASSERTIONS_MAX } from "../limits.ts";

interface Applied {
  readonly applied: boolean;
  readonly revision: number;
}

/** What a lane keeps in its SQLite (docs/storage.md, "Lane"), except presence (presence.ts). */
export interface LaneStore {
  /** Grants that are not removed, by connector id. Read from memory; storage is the truth after a restart. */
  readonly grants: ReadonlyMap<string, ConnectorGrant>;
  readonly settings: TenantSettings;
  /** A lower revision than the one held, or than a removal, is not applied; an equal one is a repeated message. */
  put(grant: ConnectorGrant): Applied;
  remove(connectorId: string, revision: number): Applied;
  putSettings(settings: TenantSettings): Applied;
  /** Notes that an assertion was used. "used": it was before. "full": too many are remembered to take another. */
  use(assertion: string, untilMs: number): "first" | "used" | "full";
  /** Those who ask to be let in, oldest first; nobody any more when the pairing window is over. */
  pairing(): PairingRequest[];
  /** Asks. The same key again replaces its request. "closed": there is no window, or too many ask. */
  askToPair(request: PairingRequest): "asked" | "closed";
  settlePairing(id: string): void;
}

interface ConnectorRow extends Record<string, SqlStorageValue> {
  connector_id: string;
  revision: number;
  grant_json: string | null;
}

export function createLaneStore(sql: SqlStorage, tenantId: string, now: () => number): LaneStore {
  sql.exec(`
    CREATE TABLE IF NOT EXISTS connectors (
      connector_id TEXT PRIMARY KEY, revision INTEGER NOT NULL, grant_json TEXT, removed_at_ms INTEGER
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS used_assertions (assertion TEXT PRIMARY KEY, until_ms INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS settings (one INTEGER PRIMARY KEY CHECK (one = 1), settings_json TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS pairing (key_id TEXT PRIMARY KEY, id TEXT NOT NULL, request_json TEXT NOT NULL) WITHOUT ROWID;
  `);
  const grants = new Map<string, ConnectorGrant>();
  for (const row of sql.exec<ConnectorRow>("SELECT connector_id, revision, grant_json FROM connectors")) {
    if (row.grant_json !== null) grants.set(row.connector_id, connectorGrant.parse(JSON.parse(row.grant_json)));
  }
  const [kept] = sql.exec<{ settings_json: string }>("SELECT settings_json FROM settings").toArray();
  // -1: whatever is published first is newer.
  let settings =
    kept === undefined
      ? { ...tenantSettings.parse({ tenantId, revision: 0 }), revision: -1 }
      : tenantSettings.parse(JSON.parse(kept.settings_json));

  const revisionOf = (connectorId: string): { revision: number; removed: boolean } | null => {
    const row = sql
      .exec<ConnectorRow>(
        "SELECT connector_id, revision, grant_json FROM connectors WHERE connector_id = ?",
        connectorId,
      )
      .toArray()[0];
    return row === undefined ? null : { revision: row.revision, removed: row.grant_json === null };
  };
  const isWindowOpen = (): boolean => (settings.pairingUntilMs ?? 0) > now();

  return {
    grants,
    get settings() {
      return settings;
    },
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
    putSettings(next) {
      if (next.revision < settings.revision) return { applied: false, revision: settings.revision };
      sql.exec("INSERT OR REPLACE INTO settings (one, settings_json) VALUES (1, ?)", JSON.stringify(next));
      settings = next;
      if (!isWindowOpen()) sql.exec("DELETE FROM pairing");
      return { applied: true, revision: next.revision };
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
    pairing() {
      if (!isWindowOpen()) return [];
      const rows = sql.exec<{ request_json: string }>("SELECT request_json FROM pairing").toArray();
      return rows
        .map(({ request_json }): PairingRequest => JSON.parse(request_json))
        .sort((one, other) => one.atMs - other.atMs);
    },
    askToPair(request) {
      if (!isWindowOpen()) return "closed";
      const { count } = sql
        .exec<{ count: number }>("SELECT count(*) AS count FROM pairing WHERE key_id <> ?", request.key.kid)
        .one();
      if (count >= PAIRING_REQUESTS_MAX) return "closed";
      sql.exec(
        "INSERT OR REPLACE INTO pairing (key_id, id, request_json) VALUES (?, ?, ?)",
        request.key.kid,
        request.id,
        JSON.stringify(request),
      );
      return "asked";
    },
    settlePairing(id) {
      sql.exec("DELETE FROM pairing WHERE id = ?", id);
    },
  };
}
