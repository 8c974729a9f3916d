import type { HoldMemory } from "../core/drain.ts";

/** Kept over the object's sleep, but not over a deploy, which is what the lane was held for. `version`: of the code that runs. */
export function createHold(sql: SqlStorage, version: string): HoldMemory {
  sql.exec(
    "CREATE TABLE IF NOT EXISTS hold (one INTEGER PRIMARY KEY CHECK (one = 1), until_ms INTEGER NOT NULL, version TEXT NOT NULL)",
  );
  const [kept] = sql.exec<{ until_ms: number; version: string }>("SELECT until_ms, version FROM hold").toArray();
  return {
    untilMs: kept === undefined || kept.version !== version ? null : kept.until_ms,
    keep(untilMs) {
      if (untilMs === null) sql.exec("DELETE FROM hold");
      else sql.exec("INSERT OR REPLACE INTO hold (one, until_ms, version) VALUES (1, ?, ?)", untilMs, version);
    },
  };
}
