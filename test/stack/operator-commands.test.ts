import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { importJWK, SignJWT } from "jose";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { node, tenant } from "../../src/cli/api/types.ts";
import { PROOF_ISSUER } from "../../src/protocol/proof.ts";
import { startChild, stopChildren } from "../support/children.ts";
import { METHODS } from "../support/grpc.ts";
import { freePorts } from "../support/ports.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";

// What an operator does for a tenant by commands alone, from a cluster's catalogue to a real gRPC server behind a real node.
const TENANT = "endframe";
let stack: TestStack;
let folder: string;
let port = 0;
beforeAll(async () => {
  stack = await sharedStack();
  folder = mkdtempSync(join(tmpdir(), "causeway-commands-"));
  [port = 0] = await freePorts(1);
  const script = join(process.cwd(), "test/system/fixtures/grpc-service.ts");
  startChild([process.execPath, script], join(folder, "grpc.log"), { ...process.env, PORT: String(port) });
});
afterAll(async () => {
  await stack.cli("cluster", "services", "default", "--remove", "echo");
  await stopChildren();
  rmSync(folder, { recursive: true, force: true });
});

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

test("a gRPC service of the catalogue is a new tenant's: from the API to the node, a call is answered with its trailers (D11, H105)", async () => {
  const driver = { kind: "external", address: "127.0.0.1", port };
  const entry = join(folder, "echo.json");
  const what = { driver, protocol: "h2c", healthPath: METHODS.health.path, routes: [{ prefix: "/demo.Echo" }] };
  writeFileSync(entry, JSON.stringify({ ...what, name: "whatever --json printed" }));
  const offered = await causeway("cluster", "services", "default", "--set", "echo", "--file", entry);
  expect(offered).toMatch(new RegExp(`echo +external 127.0.0.1:${port} +h2c +/demo.Echo`));
  expect(offered).toMatch(/manager +process/);

  await causeway("tenant", "create", TENANT, "--services", "echo", "--wait");
  expect(await causeway("tenant", "services", TENANT)).toMatch(/^SERVICE.*\necho +default +external +h2c +RUNNING\s*$/);

  // The edge says that gRPC enters elsewhere; the node has it, for whoever has the edge's proof.
  const refused = await stack.request(TENANT, METHODS.say.path, {
    method: "POST",
    headers: { "content-type": "application/grpc", te: "trailers" },
  });
  expect(refused.headers["causeway-error"]).toBe("no-grpc");
  const { id, node: nodeName, hosts } = await stack.api.get(`/tenants/${TENANT}`, tenant);
  const at = await stack.api.get(`/nodes/${nodeName ?? ""}`, node);
  const metadata = new Metadata();
  metadata.set("causeway-proof", await proofFor(id, hosts[0] ?? "", at.id));
  metadata.set("echo-word", "trailing");
  const client = new Client(new URL(at.envoyUrl).host, credentials.createInsecure());
  const { path, requestSerialize, responseDeserialize } = METHODS.say;
  const answer = await new Promise<{ said: string; trailers: Metadata }>((resolve, reject) => {
    let said = "";
    client
      .makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        Buffer.from("hello"),
        metadata,
        { deadline: Date.now() + 30_000 },
        (error, bytes) => (error === null ? (said = bytes?.toString() ?? "") : reject(error)),
      )
      .on("status", (status) => setImmediate(() => resolve({ said, trailers: status.metadata })));
  }).finally(() => client.close());
  expect([answer.said, answer.trailers.get("echo-word")]).toEqual(["hello", ["trailing"]]);
});

test("what a catalogue's commands can't do at once they refuse; an entry that is gone stays with who has it (H105)", async () => {
  const both = await stack.cli("cluster", "services", "default", "--set", "echo", "--remove", "echo");
  expect([both.code, both.stderr]).toEqual([2, expect.stringContaining("--set SERVICE --file FILE")]);
  expect(await causeway("cluster", "services", "default", "--remove", "echo")).not.toMatch(/^echo/m);
  expect(await causeway("tenant", "services", TENANT)).toMatch(/^echo .* RUNNING/m);
});

test("a tenant may have several workspaces once somebody says so", async () => {
  const early = await stack.cli("tenant", "workspaces", TENANT, "--add", "night-shift");
  expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("multipleWorkspaces")]);
  const listed = await causeway("tenant", "workspaces", TENANT, "--multiple", "--add", "night-shift");
  expect(listed).toMatch(/^default +yes +wks_/m);
  expect(listed).toMatch(/^night-shift +wks_/m);
});

test("everybody's sessions on a tenant's hosts are ended by a command", async () => {
  expect(await causeway("tenant", "revoke-sessions", TENANT, "--wait")).toContain("everybody");
  expect(await causeway("operation", "list", "--tenant", TENANT)).toMatch(/tenant-revoke-sessions .* succeeded/);
  await causeway("tenant", "delete", TENANT, "--force", "--wait");
});

/** As the edge signs them. */
async function proofFor(tenantId: string, host: string, nodeId: string): Promise<string> {
  const { proofKey } = z
    .object({ proofKey: z.looseObject({ kid: z.string() }) })
    .parse(JSON.parse(readFileSync(join(stack.stateDir, "secrets.json"), "utf8")));
  return await new SignJWT({ tenant: tenantId, host })
    .setProtectedHeader({ alg: "EdDSA", kid: proofKey.kid })
    .setIssuer(PROOF_ISSUER)
    .setAudience(nodeId)
    .setIssuedAt()
    .setExpirationTime("5m")
    .sign(await importJWK(proofKey, "EdDSA"));
}
