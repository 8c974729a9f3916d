import { readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import postgres from "postgres";
import { sendJson } from "../shared/streams.ts";

/** Few: a tenant's role has 20 connections in all, and three services. */
const CONNECTIONS = 3;

/** A tenant's own database, by the login that the node agent has put into a file for this service. Connects when it is first asked. */
export function openDatabase(secretsDir: string): { answer(response: ServerResponse): Promise<void> } {
  let client: postgres.Sql | null = null;
  const connect = (): postgres.Sql =>
    postgres(readFileSync(join(secretsDir, "DATABASE_URL"), "utf8"), { max: CONNECTIONS, onnotice: () => {} });
  return {
    /** `{ login, role, documents }`: who logged in, as whom it acts, and how many rows it sees. */
    async answer(response) {
      client ??= connect();
      const [row] = await client`select session_user as login, current_user as role,
        (select count(*)::int from documents) as documents`;
      sendJson(response, 200, { ...row });
    },
  };
}
