import { Agent, request } from "node:http";
import { beforeAll, expect, test } from "vitest";
import { WebSocket } from "ws";
import { z } from "zod";
import { operation } from "../../src/cli/api/types.ts";
import { startLoad } from "../support/load.ts";
import { type TestStack, sharedStack } from "../support/stack.ts";
import { until } from "../support/until.ts";

/** Each takes 10 s until every edge has followed, the drain time, and the queue's seconds. By hand: CAUSEWAY_TEST_MOVES=100. */
const MOVES = Number(process.env["CAUSEWAY_TEST_MOVES"] ?? 2);
const MOVE_MS = 90_000;
const CONNECTIONS = 32;
const DRAIN_SECONDS = 2;
/** Between two requests of a connection: a steady load that leaves a small machine something for the rest. */
const PAUSE_MS = 100;
const SLUG = "dinesh";
const NODES = ["walter-white", "hank-schrader"] as const;

let stack: TestStack;
beforeAll(async () => {
  stack = await sharedStack();
});

async function causeway(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await stack.cli(...args);
  expect(code, stderr).toBe(0);
  return stdout;
}

/** One request on one of the kept connections. */
function ask(agent: Agent): Promise<{ status: number; headers: Record<string, never>; body: string }> {
  const headers = { host: `${SLUG}.${stack.baseDomain}:${stack.edgePort}` };
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port: stack.edgePort, path: "/app", agent, headers, timeout: 20_000 });
    asked.once("response", (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.once("error", reject);
      response.once("end", () => {
        const answer = { status: response.statusCode ?? 0, headers: {}, body: Buffer.concat(chunks).toString("utf8") };
        setTimeout(() => resolve(answer), PAUSE_MS);
      });
    });
    asked.once("timeout", () => asked.destroy(new Error("no answer within 20 s")));
    asked.once("error", reject);
    asked.end();
  });
}

interface Ending {
  readonly code: number;
  readonly atMs: number;
}

async function openSocket(): Promise<{ socket: WebSocket; ended: Promise<Ending> }> {
  const headers = { host: `${SLUG}.${stack.baseDomain}:${stack.edgePort}` };
  const socket = new WebSocket(`ws://127.0.0.1:${stack.edgePort}/app/ws`, { headers });
  const ended = new Promise<Ending>((resolve) => {
    socket.once("close", (code: number) => resolve({ code, atMs: Date.now() }));
  });
  await new Promise((resolve, reject) => {
    socket.once("open", resolve);
    socket.once("error", reject);
  });
  return { socket, ended };
}

const echo = (socket: WebSocket, text: string): Promise<string> =>
  new Promise((resolve) => {
    socket.once("message", (data) => resolve(Buffer.isBuffer(data) ? data.toString("utf8") : ""));
    socket.send(text);
  });

const started = z.object({ operation });
const stepsOf = async (id: string) => {
  const shown = await stack.api.get(
    `/operations/${id}`,
    z.looseObject({
      state: z.string(),
      reason: z.string().nullable(),
      steps: z.array(z.looseObject({ name: z.string(), state: z.string(), finishedAt: z.string().nullable() })),
    }),
  );
  return shown;
};

test(
  `a tenant moves ${MOVES} times under the load of ${CONNECTIONS} connections without a failed request; its WebSockets end with the drain time (D3, H19)`,
  { timeout: 60_000 + MOVES * MOVE_MS },
  async () => {
    await causeway("tenant", "create", SLUG, "--node", NODES[0], "--wait");
    const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
    const nodesSeen = new Set<string>();
    const isGood = (body: string): boolean => {
      const { tenant, node } = z.object({ tenant: z.string(), node: z.string() }).parse(JSON.parse(body));
      nodesSeen.add(node);
      return tenant === SLUG;
    };
    await until("the tenant to answer", async () => (await stack.request(SLUG, "/app")).status === 200);
    const load = startLoad(() => ask(agent), isGood, CONNECTIONS);
    try {
      for (let move = 1; move <= MOVES; move += 1) {
        const to = NODES[move % 2] ?? NODES[0];
        const { socket, ended } = await openSocket();
        const before = load.requests();
        const body = { node: to, drainSeconds: DRAIN_SECONDS };
        const { operation: begun } = await stack.api.post(`/tenants/${SLUG}/move`, body, started);
        const options = { timeoutMs: MOVE_MS, intervalMs: 250 };
        const isPublished = async () =>
          (await stepsOf(begun.id)).steps.some(({ name, state }) => name === "publish" && state === "done");
        await until("the new node to be published", isPublished, options);
        // The old node has its time to end.
        expect(await echo(socket, `move ${move}`)).toBe(`move ${move}`);
        await until(
          "the move to end",
          async () => ["succeeded", "failed"].includes((await stepsOf(begun.id)).state),
          options,
        );
        const { state, reason, steps } = await stepsOf(begun.id);
        expect([state, reason]).toEqual(["succeeded", null]);
        const { code, atMs } = await ended;
        expect([1001, 1012]).toContain(code);
        const drained = steps.find(({ name }) => name === "drain-old-node");
        expect(atMs).toBeGreaterThanOrEqual(Date.parse(drained?.finishedAt ?? ""));
        const answer = await stack.request(SLUG, "/app");
        expect(answer.json()).toMatchObject({ tenant: SLUG, node: to });
        expect(load.requests() - before).toBeGreaterThan(CONNECTIONS);
      }
    } finally {
      const { requests, failures } = await load.stop();
      agent.destroy();
      console.log(`${MOVES} moves, ${requests} requests, ${failures.length} failed`);
      expect(failures).toEqual([]);
    }
    expect([...nodesSeen].toSorted()).toEqual([...NODES].toSorted());
    const shown = await causeway("tenant", "show", SLUG);
    expect(shown).toContain(NODES[MOVES % 2] ?? "");
    await causeway("tenant", "delete", SLUG, "--force", "--wait");
  },
);

test("by the command line: a move to where it is already is refused, and so is a drain without room elsewhere", async () => {
  const here = await stack.cli("tenant", "move", "acme", "--node", NODES[0]);
  expect([here.code, here.stderr]).toEqual([1, expect.stringContaining("conflict")]);
  const bad = await stack.cli("tenant", "move", "acme", "--drain", "soon");
  expect([bad.code, bad.stderr]).toEqual([2, expect.stringContaining("--drain")]);
  expect(await causeway("nodes", "list")).toMatch(/walter-white +\S+ +node +active +online +\d+\/\d+/);
});
