import { relayEvent, type RelayEvent } from "../../protocol/queue-messages.ts";
import type { Logger } from "../../shared/log.ts";
import type { Credential } from "../core/types.ts";
import { PRESENCE_EVENTS_MAX, PRESENCE_RETRY_MAX_MS, PRESENCE_RETRY_MS } from "../limits.ts";

/** A connector's socket, as events name it. */
export interface PresentSession {
  readonly sessionId: string;
  readonly connectorId: string;
  readonly instanceId: string;
  /** By which it was proved. Of one that was lost in a restart nobody knows any more. */
  readonly credential?: Credential;
}

/**
 * Who is online, told to the control plane without losing anything: an event is in storage before it is sent and until the queue has it
 * (R12), and sessions that were here when the object died are reported as gone when it wakes (R03).
 */
export interface Presence {
  online(session: PresentSession): void;
  offline(session: PresentSession, reason: string): void;
  /** Sends what waits, in order. Never rejects; what could not be sent stays, and `dueMs` says when to come back. */
  send(): Promise<void>;
  /** When `send` should be called again; null: nothing waits. */
  readonly dueMs: number | null;
}

export interface PresencePorts {
  readonly sql: SqlStorage;
  readonly queue: { send(event: RelayEvent): Promise<unknown> };
  readonly now: () => number;
  readonly log: Logger;
  readonly tenantId: string;
  readonly lane: "a" | "b";
}

interface PresentRow extends Record<string, SqlStorageValue> {
  session_id: string;
  connector_id: string;
  instance_id: string;
}

/** `here`: ids of the sessions that survived the object's sleep. */
export function createPresence(ports: PresencePorts, here: ReadonlySet<string>): Presence {
  const { sql, queue, now, log, tenantId, lane } = ports;
  sql.exec(`
    CREATE TABLE IF NOT EXISTS present (
      session_id TEXT PRIMARY KEY, connector_id TEXT NOT NULL, instance_id TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, event_json TEXT NOT NULL);
  `);
  let sending: Promise<void> | null = null;
  let failures = 0;
  let dueMs: number | null = null;

  const note = (kind: "connector-online" | "connector-offline", session: PresentSession, reason: string | null) => {
    const { sessionId, connectorId, instanceId, credential } = session;
    log.info(kind, { connector: connectorId, instance: instanceId, session: sessionId, reason });
    const event: RelayEvent = {
      kind,
      tenantId,
      connectorId,
      instanceId,
      lane,
      sessionId,
      reason,
      secretId: credential?.kind === "secret" ? credential.id : null,
      atMs: now(),
    };
    sql.exec("INSERT INTO outbox (event_json) VALUES (?)", JSON.stringify(event));
    // The newest say how it is; only a queue that is away for days lets so many wait.
    sql.exec("DELETE FROM outbox WHERE id <= (SELECT max(id) FROM outbox) - ?", PRESENCE_EVENTS_MAX);
    dueMs ??= now();
  };
  const forget = (sessionId: string): void => void sql.exec("DELETE FROM present WHERE session_id = ?", sessionId);

  const drain = async (): Promise<void> => {
    for (;;) {
      const [row] = sql
        .exec<{ id: number; event_json: string }>("SELECT id, event_json FROM outbox ORDER BY id LIMIT 1")
        .toArray();
      if (row === undefined) {
        failures = 0;
        dueMs = null;
        return;
      }
      try {
        await queue.send(relayEvent.parse(JSON.parse(row.event_json)));
      } catch (error) {
        const waitMs = Math.min(PRESENCE_RETRY_MAX_MS, PRESENCE_RETRY_MS * 2 ** failures);
        failures += 1;
        dueMs = now() + waitMs;
        log.warn("an event waits for the queue", { retryInMs: waitMs, error: String(error) });
        return;
      }
      sql.exec("DELETE FROM outbox WHERE id = ?", row.id);
    }
  };

  for (const row of sql.exec<PresentRow>("SELECT session_id, connector_id, instance_id FROM present").toArray()) {
    if (here.has(row.session_id)) continue;
    forget(row.session_id);
    const session = { sessionId: row.session_id, connectorId: row.connector_id, instanceId: row.instance_id };
    note("connector-offline", session, "the lane was restarted");
  }
  const [waiting] = sql.exec("SELECT 1 FROM outbox LIMIT 1").toArray();
  if (waiting !== undefined) dueMs = now();

  return {
    online(session) {
      const { sessionId, connectorId, instanceId } = session;
      sql.exec(
        "INSERT OR REPLACE INTO present (session_id, connector_id, instance_id) VALUES (?, ?, ?)",
        sessionId,
        connectorId,
        instanceId,
      );
      note("connector-online", session, null);
    },
    offline(session, reason) {
      forget(session.sessionId);
      note("connector-offline", session, reason);
    },
    async send() {
      sending ??= drain().finally(() => {
        sending = null;
      });
      await sending;
    },
    get dueMs() {
      return dueMs;
    },
  };
}
