import { cloudflareTest } from "@cloudflare/vitest-plugin";
import { defineProject } from "vitest/config";

/** Stands for the portal: the console needs its entrypoint only. */
const portal = `
  import { WorkerEntrypoint } from "cloudflare:workers";
  export class Members extends WorkerEntrypoint {
    async ensureMember({ email, tenantId }) {
      if (email.startsWith("broken")) throw new Error("no database");
      return { accountId: "account-of-" + email, created: true };
    }
    async listMembers() {
      return {
        members: [{ accountId: "usr_ann", email: "ann@acme.example", role: "owner", sinceMs: 0 }],
        invitations: [{ invitationId: "inv_1", email: "bob@acme.example", role: "viewer", expiresAtMs: 86400000 }],
      };
    }
    async invite({ email }) {
      if (email.startsWith("ann")) return { kind: "already-member" };
      return { kind: "invited", invitationId: "inv_1", expiresAtMs: 86400000 };
    }
    async resend(tenantId, id) {
      return id === "inv_1" ? { kind: "invited", invitationId: "inv_2", expiresAtMs: 86400000 } : { kind: "not-found" };
    }
    async revokeInvitation(tenantId, id) { return id === "inv_1"; }
    async setRole(tenantId, id) { return id === "usr_ann" ? "last-owner" : id === "usr_bob" ? "done" : "not-found"; }
    async removeMember(tenantId, id) { return id === "usr_ann" ? "last-owner" : id === "usr_bob" ? "done" : "not-found"; }
  }
  export default { fetch: () => new Response(null, { status: 404 }) };
`;

/** Stands for a lane: remembers who asks to be let in and whose sockets it was told to have. */
const lane = (name: string) => `
  import { DurableObject } from "cloudflare:workers";
  export class Lane extends DurableObject {
    requests = [];
    live = [];
    async ask(request) { this.requests.push(request); }
    async plug(connectorId, configured) {
      this.live.push({ connectorId, connector: "x", instanceId: "i-" + this.live.length, lane: "${name}", configured });
    }
    async pairingRequests() { return this.requests; }
    async settlePairing(id) { this.requests = this.requests.filter((one) => one.id !== id); }
    async sessions() { return this.live; }
    async kick(connectorId, instanceId) {
      const before = this.live.length;
      this.live = this.live.filter((one) => one.connectorId !== connectorId || (instanceId ?? one.instanceId) !== one.instanceId);
      return before - this.live.length;
    }
  }
  export default { fetch: () => new Response(null, { status: 404 }) };
`;
/** Stands for the workers of jobs: remembers what it was asked. */
const provisioner = `
  import { DurableObject } from "cloudflare:workers";
  export class JobWorker extends DurableObject {
    runs = new Map();
    sealed = [];
    async seal(context, secret) {
      this.sealed.push([context, secret]);
      return "v1." + context;
    }
    async sealedSoFar() { return this.sealed; }
    async run(jobId) {
      if (this.runs.has(jobId)) return { kind: "busy", runId: this.runs.get(jobId) };
      const runId = "run_" + jobId.slice(4);
      this.runs.set(jobId, runId);
      return { kind: "queued", runId };
    }
    async stop(jobId) {
      const runId = this.runs.get(jobId);
      this.runs.delete(jobId);
      return runId === undefined ? { kind: "idle" } : { kind: "stopping", runId };
    }
    async status() {
      const [first] = this.runs;
      return {
        running: first === undefined ? null : { jobId: first[0], runId: first[1], item: 1, stopping: false },
        queued: [],
        nextDueMs: { later: 2000, never: null, soon: 1000 },
      };
    }
  }
  export default { fetch: () => new Response(null, { status: 404 }) };
`;
const laneWorker = (name: string) => ({
  name: `causeway-relay-${name}`,
  modules: true,
  script: lane(name),
  compatibilityDate: "2026-11-01",
  durableObjects: { LANE: "Lane" },
});

// wrangler wants an address before it reads ours below.
process.env["CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_CONTROL_DB"] ??= "postgres://127.0.0.1:1/none";

export default defineProject({
  plugins: [
    cloudflareTest(({ inject }) => ({
      wrangler: { configPath: "../../../src/console/wrangler.toml" },
      miniflare: {
        hyperdrives: { CONTROL_DB: inject("database").consoleUrl },
        workers: [
          { name: "causeway-portal", modules: true, script: portal, compatibilityDate: "2026-11-01" },
          {
            name: "causeway-provisioner",
            modules: true,
            script: provisioner,
            compatibilityDate: "2026-11-01",
            durableObjects: { JOB_WORKER: "JobWorker" },
          },
          laneWorker("a"),
          laneWorker("b"),
        ],
      },
    })),
  ],
  test: {
    name: "workerd-console",
    include: ["**/*.test.ts"],
    globalSetup: ["../../support/postgres-setup.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
