import { JOB_LINES_KEPT, JOB_RECORD_BATCH, JOB_RECORDS_KEPT } from "../limits.ts";
import type { Turn } from "./machine.ts";
import {
  emptyWorker,
  logLine,
  runRecord,
  workerState,
  type LogLine,
  type RunRecord,
  type WorkerState,
} from "./state.ts";

/** What a worker's object keeps in its SQLite: its state, and what the database has not been told yet. */
export interface WorkerStore {
  state(): WorkerState;
  /** In one transaction with what the turn has to say. */
  save(turn: Turn): void;
  /** The oldest that was not told yet. */
  untold(): Untold;
  /** The database has these. What has changed since stays. */
  told(untold: Untold): void;
  hasUntold(): boolean;
  /** The tenant is gone, and nobody to tell. */
  forgetUntold(): void;
}

export interface Untold {
  readonly records: readonly RunRecord[];
  readonly lines: readonly LogLine[];
}

interface JsonRow extends Record<string, SqlStorageValue> {
  json: string;
}

/** `name`: of the object. Nothing is written before the first `save`: whoever asks for an object that nobody needs makes no tables. */
export function openWorkerStore(storage: DurableObjectStorage, tenantId: string, worker: number): WorkerStore {
  const { sql } = storage;
  const isMade = (): boolean =>
    sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'state'").toArray().length > 0;
  let made = isMade();
  let held: WorkerState | null = null;

  const count = (table: "runs" | "lines"): number =>
    sql.exec<{ count: number }>(`SELECT count(*) AS count FROM ${table}`).one().count;

  /** The database has been away for long: the oldest go. */
  function bound(table: "runs" | "lines", key: string, most: number): void {
    const over = count(table) - most;
    if (over > 0)
      sql.exec(`DELETE FROM ${table} WHERE ${key} IN (SELECT ${key} FROM ${table} ORDER BY seq LIMIT ?)`, over);
  }

  return {
    state() {
      if (held !== null) return held;
      const [row] = made ? sql.exec<JsonRow>("SELECT json FROM state").toArray() : [];
      held = row === undefined ? emptyWorker(tenantId, worker) : workerState.parse(JSON.parse(row.json));
      return held;
    },
    save(turn) {
      storage.transactionSync(() => {
        if (!made) {
          sql.exec(`
            CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), json TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS runs (seq INTEGER PRIMARY KEY AUTOINCREMENT, run_id TEXT NOT NULL UNIQUE, version INTEGER NOT NULL, json TEXT NOT NULL);
            CREATE TABLE IF NOT EXISTS lines (seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, json TEXT NOT NULL);
          `);
          made = true;
        }
        sql.exec("INSERT OR REPLACE INTO state (one, json) VALUES (1, ?)", JSON.stringify(turn.state));
        for (const record of turn.records)
          sql.exec(
            "INSERT INTO runs (run_id, version, json) VALUES (?, ?, ?) ON CONFLICT (run_id) DO UPDATE SET version = excluded.version, json = excluded.json",
            record.runId,
            record.version,
            JSON.stringify(record),
          );
        for (const line of turn.lines)
          sql.exec("INSERT INTO lines (id, json) VALUES (?, ?)", line.id, JSON.stringify(line));
        if (turn.records.length > 0) bound("runs", "run_id", JOB_RECORDS_KEPT);
        if (turn.lines.length > 0) bound("lines", "id", JOB_LINES_KEPT);
      });
      held = turn.state;
    },
    untold() {
      if (!made) return { records: [], lines: [] };
      const read = (table: "runs" | "lines"): unknown[] =>
        sql
          .exec<JsonRow>(`SELECT json FROM ${table} ORDER BY seq LIMIT ?`, JOB_RECORD_BATCH)
          .toArray()
          .map(({ json }) => JSON.parse(json));
      return { records: runRecord.array().parse(read("runs")), lines: logLine.array().parse(read("lines")) };
    },
    told({ records, lines }) {
      storage.transactionSync(() => {
        for (const { runId, version } of records)
          sql.exec("DELETE FROM runs WHERE run_id = ? AND version = ?", runId, version);
        for (const { id } of lines) sql.exec("DELETE FROM lines WHERE id = ?", id);
      });
    },
    hasUntold: () => made && (count("runs") > 0 || count("lines") > 0),
    forgetUntold() {
      if (!made) return;
      sql.exec("DELETE FROM runs");
      sql.exec("DELETE FROM lines");
    },
  };
}
