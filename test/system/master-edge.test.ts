import { join } from "node:path";
import { Client, credentials, Metadata, status, type MethodDefinition, type ServiceError } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TenantRoute } from "../../src/policy/record.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey, type ProofKey } from "../support/envoy.ts";
import { METHODS } from "../support/grpc.ts";
import { openTenant, startMasterWorld, type MasterWorld } from "../support/master.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import { until } from "../support/until.ts";
import { tenantRecord, toService } from "./edge/records.ts";
import { startEdgeStack, type EdgeStack } from "./edge/stack.ts";

// A real master before a real node and the real edge: who answers what, what each learns of the visitor, and gRPC.
let key: ProofKey;
let host: ChannelHost;
let stack: EdgeStack;
let world: MasterWorld;
const ACME = "acme.causeway.localhost";
const VISITOR = "127.0.0.2";
const SCRIPT = join(process.cwd(), "test/system/fixtures/grpc-service.ts");

const GRPC: NodeTenant["services"][number] = {
  name: "grpc",
  workspace: "main",
  driver: { kind: "process", command: "grpc" },
  protocol: "h2c",
  healthPath: METHODS.health.path,
  secrets: {},
};

beforeAll(async () => {
  key = await newProofKey("edge-1");
  const proofKey = { private: JSON.stringify(key.private), public: key.public };
  [host, stack] = await Promise.all([
    startChannelHost([key.public]),
    startEdgeStack(
      "postgres://nobody:nothing@127.0.0.1:1/none",
      {
        CLIENT_ADDRESS_HEADER: "causeway-client-address",
        SCHEME_HEADER: "causeway-client-scheme",
        PUBLIC_SCHEME: "https",
        PUBLIC_PORT: "",
      },
      {},
      proofKey,
    ),
  ]);
  world = await startMasterWorld(host, key, {
    edgeUrl: `http://127.0.0.1:${stack.port}`,
    commands: { grpc: { argv: [join(process.cwd(), "node_modules/.bin/node"), SCRIPT] } },
  });
  const [{ node }] = world.nodes;
  const tenant = openTenant("ten_acme", 1, ["/app"]);
  const services = [...tenant.services, GRPC];
  const routes = [
    ...tenant.routes,
    { prefix: "/demo.Echo", service: "grpc", open: true },
    { prefix: "/demo.Closed", service: "grpc", rewrite: { prefix: "/demo.Echo" } },
  ];
  await world.put(
    world.nodes[0],
    { ...tenant, services, routes },
    {
      routes: [
        { prefix: "/app", to: "node" },
        { prefix: "/demo.Echo", to: "node", h2c: true },
      ],
      mqtt: false,
    },
  );
  const limited: TenantRoute = { ...toService("/connectors"), network: { deny: ["127.0.0.3"] } };
  const closed: TenantRoute = {
    prefix: "/demo.Closed",
    access: "public",
    to: { kind: "service", service: "grpc" },
    rewrite: { prefix: "/demo.Echo" },
    limits: { requestsPerSecond: 100 },
  };
  await stack.publish(
    tenantRecord(
      "acme",
      { id: node.nodeId, url: node.url },
      { routes: [toService("/app"), limited, toService("/manager", "member"), closed] },
    ),
  );
});
afterAll(async () => {
  await world.stop();
  await Promise.all([host.close(), stack.stop()]);
  await stopChildren();
});

describe("visitors", () => {
  const forged = { "causeway-client-address": "192.0.2.66", "x-forwarded-for": "192.0.2.66" };
  const seen = (body: string): Record<string, string> => {
    const { headers }: { headers: Record<string, string> } = JSON.parse(body);
    return headers;
  };

  test.each([
    ["an open route, by the node", "/app", 0],
    ["a route with rules, by the edge", "/connectors", 1],
  ])("%s: the service learns the visitor's own address and scheme", async (_what, path, atEdge) => {
    const before = stack.log.length;
    const { status: code, body } = await world.visit(ACME, path, { from: VISITOR, headers: forged });
    expect(code).toBe(200);
    expect(seen(body)).toMatchObject({
      host: ACME,
      "x-forwarded-for": VISITOR,
      "x-forwarded-proto": "https",
      forwarded: expect.stringContaining(`for=${VISITOR};`),
    });
    expect(JSON.stringify(seen(body))).not.toContain("192.0.2.66");
    expect(stack.log.length - before).toBe(atEdge);
  });

  test("a rule about addresses is judged by the visitor's own, whatever they say", async () => {
    expect((await world.visit(ACME, "/connectors", { from: "127.0.0.3", headers: forged })).status).toBe(403);
    expect((await world.visit(ACME, "/connectors", { from: VISITOR, headers: forged })).status).toBe(200);
  });

  test("a protected route leads to the sign-in, at https", async () => {
    const page = { accept: "text/html", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document" };
    const answer = await world.visit(ACME, "/manager", { headers: page });
    expect(answer.status).toBe(303);
    expect(answer.headers["location"]).toMatch(/^https:\/\/causeway\.localhost\/authorize\?/);
    expect(String(answer.headers["set-cookie"])).toMatch(/^__Host-causeway/);
    const program = await world.visit(ACME, "/manager");
    expect(program).toMatchObject({ status: 401, headers: { "causeway-error": "unauthorized" } });
  });

  test("an unknown host gets the portal's page", async () => {
    const answer = await world.visit("nobody.causeway.localhost", "/", { headers: { accept: "text/html" } });
    expect(answer.status).toBe(404);
    expect(answer.headers["content-type"]).toMatch(/^text\/html/);
    expect(answer.body).toContain("nobody");
  });
});

describe("gRPC", () => {
  interface Called {
    readonly message: string | null;
    readonly error: ServiceError | null;
    readonly fields: Metadata;
    readonly trailers: Metadata;
    readonly code: number;
  }
  let client: Client;
  beforeAll(() => {
    const trusted = credentials.createSsl(Buffer.from(world.certificate));
    client = new Client(`127.0.0.1:${world.httpsPort}`, trusted, {
      "grpc.ssl_target_name_override": ACME,
      "grpc.default_authority": ACME,
    });
  });
  afterAll(() => client.close());

  const inTime = () => ({ deadline: Date.now() + 30_000 });
  const call = (
    { path, requestSerialize, responseDeserialize }: MethodDefinition<Buffer, Buffer>,
    message: string,
    metadata = new Metadata(),
  ): Promise<Called> =>
    new Promise((resolve) => {
      let answered: Pick<Called, "error" | "message"> = { error: null, message: null };
      let fields = new Metadata();
      client
        .makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          Buffer.from(message),
          metadata,
          inTime(),
          (error, answer) => (answered = { error, message: answer?.toString() ?? null }),
        )
        .on("metadata", (got) => (fields = got))
        .on("status", ({ code, metadata: trailers }) =>
          setImmediate(() => resolve({ ...answered, fields, trailers, code })),
        );
    });
  const count = (times: number) => {
    const { path, requestSerialize, responseDeserialize } = METHODS.count;
    const stream = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      Buffer.from(String(times)),
      new Metadata(),
      inTime(),
    );
    const got: string[] = [];
    stream.on("data", (message: Buffer) => got.push(message.toString()));
    stream.on("error", () => undefined);
    return { stream, got };
  };

  test("a call, with fields and trailers of 40 KiB (D11, E11)", async () => {
    const metadata = new Metadata();
    metadata.set("echo-big", "x".repeat(40 * 1024));
    const { message, fields, trailers, code } = await call(METHODS.say, "hello", metadata);
    expect([message, code]).toEqual(["hello", status.OK]);
    for (const each of [fields, trailers]) expect(String(each.get("echo-big")[0]).length).toBe(40 * 1024);
    expect(fields.get("host-seen")).toEqual([ACME]);
    expect(fields.get("causeway-request-id")[0]).toMatch(/^req_[0-9a-f]{32}$/);
  });

  test("a status that is an error, with its words and trailers", async () => {
    const { error, code, trailers } = await call(METHODS.fail, "no, because: 100 %");
    expect(code).toBe(status.ABORTED);
    expect(error?.details).toBe("no, because: 100 %");
    expect(trailers.get("why-bin")).toEqual([Buffer.from([0, 255])]);
  });

  test("messages one by one; one who stops listening is heard of at the service", async () => {
    const { stream, got } = count(3);
    const ended = await new Promise<number>((resolve) => stream.on("status", ({ code }) => resolve(code)));
    expect([got, ended]).toEqual([["1", "2", "3"], status.OK]);
    const endless = count(1_000_000);
    await until("a message", () => endless.got.length > 0);
    endless.stream.cancel();
    await until("the service knows", async () => (await call(METHODS.cancelled, "")).message === "1");
  });

  test("both talk at once", async () => {
    const { path, requestSerialize, responseDeserialize } = METHODS.chat;
    const chat = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, new Metadata(), inTime());
    chat.on("error", () => undefined);
    const got: string[] = [];
    chat.on("data", (message: Buffer) => got.push(message.toString()));
    const ended = new Promise<number>((resolve) => chat.on("status", ({ code }) => resolve(code)));
    for (const word of ["one", "two"]) {
      chat.write(Buffer.from(word));
      await until("the same again", () => got.at(-1) === word);
    }
    chat.end();
    expect([await ended, got]).toEqual([status.OK, ["one", "two"]]);
  });

  test("by the edge it is refused in gRPC's own words, before the service is asked", async () => {
    const { error, code, trailers } = await call({ ...METHODS.say, path: "/demo.Closed/Say" }, "hello");
    expect([code, error?.details]).toEqual([status.UNIMPLEMENTED, expect.stringContaining("gRPC does not pass here")]);
    expect(trailers.get("causeway-error")).toEqual(["no-grpc"]);
  });

  test("errors of the way are gRPC's: nothing at the address, a service that is switched off", async () => {
    expect(await call({ ...METHODS.say, path: "/none.None/Say" }, "")).toMatchObject({ code: status.UNIMPLEMENTED });
    const { error, code } = await call({ ...METHODS.say, path: "/manager/Say" }, "");
    expect([code, error?.details]).toEqual([status.UNAUTHENTICATED, expect.anything()]);
  });

  test("a browser's request to the same service is HTTP as ever, by the master and by the edge", async () => {
    const [{ node }] = world.nodes;
    // A gRPC server takes nothing else, and says so itself.
    const direct = await world.visit(ACME, "/demo.Echo/Say", { method: "POST", body: "{}" });
    const byEdge = await world.visit(ACME, "/demo.Closed/Say", { method: "POST", body: "{}" });
    const atNode = await node.ask("ten_acme", ACME, "/demo.Echo/Say");
    expect([direct.status, byEdge.status, atNode.status]).toEqual([415, 415, 415]);
  });
});
