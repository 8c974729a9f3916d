import { exports } from "cloudflare:workers";
import { inject } from "vitest";
import type { ConsolePorts } from "../../../src/console/ports.ts";
import { connect } from "../../../src/db/client.ts";
import { catalogue, clusters } from "../../../src/db/schema.ts";
import { newId } from "../../../src/shared/ids.ts";

/** A portal that nobody asks. */
const unasked = () => Promise.reject(new Error("nobody asks for members here"));
export const noMembers: ConsolePorts["members"] = {
  ensureMember: unasked,
  invite: unasked,
  resend: unasked,
  revokeInvitation: unasked,
  listMembers: unasked,
  setRole: unasked,
  removeMember: unasked,
};

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  // oxlint-disable-next-line typescript/no-explicit-any -- tests read many shapes of JSON
  readonly body: any;
}

/** An item of a list. */
export type Item = Reply["body"];

/** One request to the console Worker. `as`: whose token (a name or the token itself); null for none. */
export async function call(
  method: string,
  path: string,
  options: { as?: string | null; body?: unknown; headers?: Record<string, string> } = {},
): Promise<Reply> {
  const { as = "admin", body, headers = {} } = options;
  const { adminToken, readToken } = inject("database");
  const token = as === "admin" ? adminToken : as === "read" ? readToken : as;
  const response = await exports.default.fetch(`http://console.test${path}`, {
    method,
    headers: {
      ...(token !== null && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "content-type": "application/json" }),
      ...headers,
    },
    ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = /json/.test(response.headers.get("content-type") ?? "");
  return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
}

/** A name that no other test uses. */
export const unique = (prefix: string): string => `${prefix}-${newId("req").slice(4, 14)}`;

/** A cluster of its own with one service; answers its name. Its domain is `<name>.localhost`. */
export async function makeCluster(): Promise<string> {
  const { db } = connect(inject("database").adminUrl, 1);
  const name = unique("c");
  const id = newId("clu");
  await db.insert(clusters).values({
    id,
    name,
    baseDomains: [`${name}.localhost`],
    databaseBinding: "CLUSTER_DB_DEFAULT",
    databaseAddress: "postgres://127.0.0.1:1/none",
  });
  await db.insert(catalogue).values({
    clusterId: id,
    name: "app",
    driver: { kind: "process", command: "demo-service" },
    routes: [
      { prefix: "/app", access: "public" },
      { prefix: "/private", access: "member" },
    ],
  });
  return name;
}

/** A node by the API; answers its name. */
export async function makeNode(cluster: string, capacity: number): Promise<string> {
  const name = unique("n");
  const reply = await call("POST", "/api/v1/nodes", {
    body: { name, cluster, envoyUrl: "http://127.0.0.1:10000", capacity },
  });
  if (reply.status !== 202) throw new Error(JSON.stringify(reply.body));
  return name;
}
