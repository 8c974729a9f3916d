import { Agent, request } from "node:https";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { forwardedFields } from "../../src/policy/headers.ts";
import { tenantRoute } from "../../src/policy/record.ts";
import { matchRoute } from "../../src/policy/route.ts";
import type { NodeTenant } from "../../src/protocol/node-channel.ts";
import { stopChildren } from "../support/children.ts";
import { newProofKey } from "../support/envoy.ts";
import { openTenant, startMasterWorld, type MasterWorld } from "../support/master.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";
import type { Answer } from "../support/node.ts";

// A real Envoy as master before two real nodes; what it does not send to them is asked of an origin in the edge router's place.
let host: ChannelHost;
let world: MasterWorld;
const ACME = "acme.causeway.localhost";
const GLOBEX = "globex.causeway.localhost";

beforeAll(async () => {
  const key = await newProofKey("edge-1");
  host = await startChannelHost([key.public]);
  world = await startMasterWorld(host, key);
  const [first, second] = world.nodes;
  await world.put(first, acme(1), {
    routes: [
      { prefix: "/app", to: "node" },
      { prefix: "/app/admin", to: "edge" },
    ],
    mqtt: false,
  });
  const globex = openTenant("ten_globex", 1, ["/app"]);
  await world.put(second, globex, { routes: [{ prefix: "/app", to: "node" }], mqtt: false });
});
afterAll(async () => {
  await world.stop();
  await host.close();
  await stopChildren();
});

/** `/app` says what it gets; open but for `/app/admin`. */
function acme(revision: number, change: Partial<NodeTenant> = {}): NodeTenant {
  const tenant = openTenant("ten_acme", revision, ["/app"]);
  const services = tenant.services.map((service) =>
    service.name === "app"
      ? { ...service, driver: { kind: "process" as const, command: "loud" }, healthPath: null }
      : service,
  );
  const routes = [...tenant.routes, { prefix: "/app/admin", service: "app" }];
  return { ...tenant, services, routes, ...change };
}

const seenBy = ({ body }: Answer): string => {
  const said: { edge?: boolean; node?: string } = JSON.parse(body);
  return said.edge === true ? "edge" : (said.node ?? "nobody");
};

describe("who answers", () => {
  test("an open route's node; of another tenant its own", async () => {
    expect(seenBy(await world.visit(ACME, "/app/x?q=%2f..%2f"))).toBe("walter-white");
    expect(seenBy(await world.visit(`ACME.Causeway.localhost.:${world.httpsPort}`, "/app"))).toBe("walter-white");
    expect(seenBy(await world.visit(GLOBEX, "/app"))).toBe("hank-schrader");
  });

  test.each([
    ["a closed route", ACME, "/manager"],
    ["a closed route below an open one", ACME, "/app/admin/x"],
    ["no route", ACME, "/apples"],
    ["the platform's own paths", ACME, "/.causeway/jwks.json"],
    ["a target's host", "demo--acme.causeway.localhost", "/app"],
    ["the relay's host", "relay.causeway.localhost", "/connect/a"],
    ["the base domain", "causeway.localhost", "/"],
    ["an unknown host", "nobody.example.com", "/app"],
    ["an address", "127.0.0.1", "/app"],
    ["a host that is none", "acme%2ecauseway.localhost", "/app"],
  ])("%s: the edge, with the Host as it came", async (_what, name, path) => {
    const answer = await world.visit(name, path);
    expect(JSON.parse(answer.body)).toMatchObject({ edge: true, host: name, path });
    expect(answer.headers["causeway-request-id"]).toBe("req_edge");
  });

  test("a path that could be read in two ways goes to the edge; what a node gets is what the edge would have sent it", async () => {
    const routes = [
      ["/app", "public"],
      ["/app/admin", "member"],
      ["/manager", "member"],
    ].map(([prefix, access]) => tenantRoute.parse({ prefix, access, to: { kind: "service", service: "app" } }));
    const agent = new Agent({ keepAlive: true, maxSockets: 4, rejectUnauthorized: false });
    const ask = (path: string): Promise<string> =>
      new Promise((resolve, reject) => {
        const headers = { host: ACME };
        request({ host: "127.0.0.1", port: world.httpsPort, servername: ACME, agent, path, headers }, (response) => {
          let body = "";
          response.on("data", (part: Buffer) => (body += part.toString()));
          response.on("end", () => resolve(body));
        })
          .on("error", reject)
          .end();
      });
    const piece = fc.constantFrom(
      "app",
      "admin",
      "manager",
      "APP",
      "x",
      "/",
      "//",
      "/./",
      "/../",
      "..",
      ".",
      ";",
      "..;",
      "%2f",
      "%2F",
      "%2e",
      "%2e%2e",
      "%5c",
      "\\\\",
      "%61",
      "%00",
      "%25",
      "%",
      "~",
      "@",
      ":",
      "+",
      "%2fadmin",
      "/admin",
    );
    let atNode = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 5 }), async (pieces) => {
        const path = `/${pieces.join("")}`;
        const body = await ask(path);
        if (!body.includes('"node"')) {
          expect(body).toMatch(/"edge":true|"code":"bad-request"/);
          return;
        }
        atNode++;
        const match = matchRoute(routes, path);
        expect([path, match.kind === "route" && match.route.prefix]).toEqual([path, "/app"]);
      }),
      { numRuns: 400, examples: [[["app", "/", "x"]], [["app", "/../", "manager"]], [["app", "%2f", "admin"]]] },
    );
    agent.destroy();
    expect(atNode).toBeGreaterThan(0);
  });
});

/** The fields that the service got, as pairs. */
const fieldsAtService = ({ body }: Answer): [string, string][] => {
  const { fields }: { fields: string[] } = JSON.parse(body);
  return fields.flatMap((name, index): [string, string][] =>
    index % 2 === 0 ? [[name.toLowerCase(), fields[index + 1] ?? ""]] : [],
  );
};

describe("header hygiene", () => {
  const TRACE = `00-${"ab".repeat(16)}-${"cd".repeat(8)}-01`;
  const sent: [string, string][] = [
    ["Accept", "*/*"],
    ["Accept-Encoding", "br"],
    ["Cookie", "a=1; __Host-causeway=stolen; causeway-x=1; causewayish=2;b=3"],
    ["Authorization", "Bearer of-the-service"],
    ["X-Request-Id", "the visitor's"],
    ["Traceparent", TRACE],
    ["Tracestate", "vendor=1"],
    ["api_key", "kept"],
    ...[
      "X-Forwarded-For",
      "X-Forwarded-Host",
      "x_forwarded_proto",
      "X-Forwarded-Prefix",
      "X.Forwarded.Port",
      "Forwarded",
      "X-Real-IP",
      "True-Client-Ip",
      "X-Original-URL",
      "X-HTTP-Method-Override",
      "X-Tenant-Id",
      "Causeway-Account",
      "causeway_role",
      "Causeway-Proof",
      "Causeway-Client-Address",
      "X-Causeway-Host",
      "X-Edge-Scope",
      "X-Edge-Tenant",
      "X-Edge-Via",
      "X-Edge-Probe",
      "X-Envoy-Original-Path",
      "CF-Connecting-IP",
      "Proxy",
      "Content_Length",
    ].map((name): [string, string] => [name, "spoofed"]),
  ];

  test("a service gets just what the edge would have sent it", async () => {
    const answer = await world.visit(ACME, "/app", { headers: Object.fromEntries(sent) });
    const got = fieldsAtService(answer);
    const requestId = got.find(([name]) => name === "causeway-request-id")?.[1] ?? "";
    expect(requestId).toMatch(/^req_[0-9a-f]{32}$/);
    expect(answer.headers["causeway-request-id"]).toBe(requestId);
    const expected = forwardedFields(sent, {
      hostWithPort: ACME,
      scheme: "https",
      clientAddress: "127.0.0.1",
      requestId,
      traceparent: TRACE,
      webSocket: false,
    });
    // The node adds Host, and the host that its proof or its master said.
    const added = [
      ["host", ACME],
      ["x-causeway-host", ACME],
    ];
    const sorted = (fields: readonly (readonly string[])[]): string[] =>
      fields.map(([name, value]) => `${name?.toLowerCase()}: ${value}`).toSorted();
    expect(sorted(got)).toEqual(sorted([...expected, ...added]));
  });

  test("the edge learns the connection's address and scheme, and judges the rest by itself", async () => {
    const { body } = await world.visit(ACME, "/manager", { headers: Object.fromEntries(sent) });
    const { headers }: { headers: Record<string, string> } = JSON.parse(body);
    expect(headers).toMatchObject({
      "causeway-client-address": "127.0.0.1",
      "causeway-client-scheme": "https",
      cookie: sent[2]?.[1],
      "x-request-id": "the visitor's",
    });
  });

  test.each([
    ["a service token", { authorization: "Bearer cst_secret" }],
    ["a GET with a body", { "content-length": "2" }],
  ])("%s is the edge's to judge", async (_what, headers) => {
    const body = "content-length" in headers ? "{}" : "";
    expect(seenBy(await world.visit(ACME, "/app", { headers: { ...headers }, body }))).toBe("edge");
  });

  test("what Connection names ends here", async () => {
    const answer = await world.visit(ACME, "/app", { headers: { connection: "close, x-hop", "x-hop": "1" } });
    expect(answer.body).toContain('"node"');
    expect(answer.body).not.toContain("x-hop");
  });

  test("of an answer only the service's own passes", async () => {
    const said = [
      ["set-cookie", "own=1; Path=/"],
      ["set-cookie", "__Host-causeway=forged; Path=/; Secure"],
      ["set-cookie", "=causeway=forged"],
      ["set-cookie", "second=2"],
      ["causeway-error", "forged"],
      ["causeway-request-id", "forged"],
      ["causeway-anything", "forged"],
      ["x-envoy-upstream-service-time", "1"],
      ["alt-svc", 'h3=":443"'],
      ["access-control-allow-origin", "https://a.example"],
      ["access-control-allow-origin", "https://b.example"],
      ["x-own", "yes"],
    ];
    const { headers } = await world.visit(ACME, `/app?answer=${encodeURIComponent(JSON.stringify(said))}`);
    expect(headers).toMatchObject({
      "set-cookie": ["own=1; Path=/", "second=2"],
      "access-control-allow-origin": "https://a.example",
      "x-own": "yes",
      "causeway-request-id": expect.stringMatching(/^req_[0-9a-f]{32}$/),
    });
    for (const name of ["causeway-error", "causeway-anything", "x-envoy-upstream-service-time", "alt-svc"])
      expect(headers[name]).toBeUndefined();
  });
});
