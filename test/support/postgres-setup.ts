import { fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { TestProject } from "vitest/node";

export interface ProvidedDatabase {
  /** As the superuser, for looking behind the scenes. */
  readonly adminUrl: string;
  readonly consoleUrl: string;
  readonly provisionerUrl: string;
  readonly portalUrl: string;
  readonly adminToken: string;
  readonly readToken: string;
}

declare module "vitest" {
  export interface ProvidedContext {
    database: ProvidedDatabase;
  }
}

/** vitest's global set-up of a workerd project: one server, one migrated database with the default cluster and two tokens of the API. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const server = fork(join(import.meta.dirname, "postgres-process.ts"));
  const exited = once(server, "exit");
  const provided = await new Promise<ProvidedDatabase>((resolve, reject) => {
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- postgres-process.ts sends this one message
    server.once("message", (message) => resolve(message as ProvidedDatabase));
    void exited.then(([code]) => reject(new Error(`the test database ended with code ${code}`)));
  });
  project.provide("database", provided);
  return async () => {
    server.kill("SIGTERM");
    await exited;
  };
}
