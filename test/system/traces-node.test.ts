import { createServer } from "node:http";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startOtlpReceiver, type OtlpReceiver } from "../support/otlp.ts";
import { until } from "../support/until.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { createSite, type Site, type SiteProcess } from "./connector/site.ts";
import { acme, startRelayHost, type RelayHost } from "./relay-node/host.ts";

// `causeway relay` and `causeway connect` as processes, and a collector (P24).
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const VISITOR = "00f067aa0ba902b7";
const FAST = { OTEL_BSP_SCHEDULE_DELAY: "50" };

let collector: OtlpReceiver;
let site: Site;
let host: RelayHost;
let connector: SiteProcess;
/** What the target was sent. */
const seen: { path: string; traceparent: string; tracestate: string }[] = [];
const target = createServer((request, response) => {
  const { traceparent = "", tracestate = "" } = request.headers;
  seen.push({ path: request.url ?? "", traceparent: String(traceparent), tracestate: String(tracestate) });
  const status = request.url?.startsWith("/broken") === true ? 500 : 200;
  response.writeHead(status).end("ok");
});
let targetUrl = "";

beforeAll(async () => {
  targetUrl = `http://127.0.0.1:${await listenOnLoopback(target)}`;
});
afterAll(() => target.close());

afterEach(async () => {
  seen.length = 0;
  await site.close();
  await host.stop();
  collector.close();
});

async function start(env: NodeJS.ProcessEnv): Promise<void> {
  collector = await startOtlpReceiver();
  site = createSite();
  const all = Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, value?.replace("COLLECTOR", collector.url)]),
  );
  host = await startRelayHost(
    { tenants: { acme: acme(site.publicKey, { routes: [{ prefix: "/", target: "web" }] }) } },
    { env: all },
  );
  connector = site.process(host.url, ["--target", `web=${targetUrl}`, "--instance", "one"], all);
  await host.online();
}

const visitWith = (traceparent: string, path = "/deep/page?token=secret") =>
  host.ask("acme", path, { headers: { traceparent, tracestate: "vendor=1" } });

test("P24 one trace goes through edge, lane and connector to the target, each hop the parent of the next", async () => {
  await start({
    ...FAST,
    OTEL_EXPORTER_OTLP_ENDPOINT: "COLLECTOR/",
    OTEL_EXPORTER_OTLP_HEADERS: "authorization=Bearer%20x",
  });
  const answer = await visitWith(`00-${TRACE}-${VISITOR}-00`);
  expect(answer.status).toBe(200);
  const spans = await until("three spans", () =>
    collector.ofTrace(TRACE).length === 3 ? collector.ofTrace(TRACE) : null,
  );
  expect(collector.faults).toEqual([]);
  const edge = spans.find(({ parentSpanId }) => parentSpanId === VISITOR);
  const lane = spans.find(({ parentSpanId }) => parentSpanId === edge?.spanId);
  const leg = spans.find(({ parentSpanId }) => parentSpanId === lane?.spanId);
  expect([edge?.kind, lane?.kind, leg?.kind]).toEqual([2, 3, 3]);
  expect([edge?.service, lane?.service, leg?.service]).toEqual([
    "causeway-relay",
    "causeway-relay",
    "causeway-connector",
  ]);
  expect(seen).toEqual([
    { path: "/deep/page?token=secret", traceparent: `00-${TRACE}-${leg?.spanId}-01`, tracestate: "vendor=1" },
  ]);

  const requestId = answer.headers["causeway-request-id"];
  for (const span of spans) {
    expect(span.attributes).toMatchObject({
      "http.request.method": "GET",
      "http.response.status_code": "200",
      "url.path": "/deep/page",
      "causeway.tenant": "acme",
      "causeway.target": "web",
      "causeway.lane": expect.stringMatching(/^[ab]$/),
      "causeway.request_id": requestId,
    });
    expect(JSON.stringify(span)).not.toContain("secret");
    expect(span.isError).toBe(false);
  }
  expect(lane?.attributes).toMatchObject({
    "causeway.connector.name": "plant-1",
    "causeway.connector.instance": "one",
  });
  expect(lane?.attributes["causeway.connector.id"]).toBeTruthy();
  expect(leg?.attributes).toMatchObject({ "server.address": "127.0.0.1", "server.port": new URL(targetUrl).port });
  expect(edge?.durationMs).toBeGreaterThan(0);
  expect(collector.requests[0]).toMatchObject({ path: "/v1/traces", headers: { authorization: "Bearer x" } });

  expect((await visitWith(`00-${TRACE}-${VISITOR}-00`, "/broken")).status).toBe(500);
  const broken = await until("three more", () =>
    collector.ofTrace(TRACE).length === 6 ? collector.ofTrace(TRACE).slice(3) : null,
  );
  expect(broken.map(({ isError, attributes }) => [isError, attributes["error.type"]])).toEqual(
    Array.from({ length: 3 }, () => [true, "500"]),
  );

  await until("the relay's count of its four spans", async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${host.adminPort}/metrics`)).text();
    return metrics.includes('causeway_trace_spans_total{outcome="exported"} 4');
  });
});

test("P24 what waits is sent when relay and connector stop", async () => {
  await start({ OTEL_BSP_SCHEDULE_DELAY: "600000", OTEL_EXPORTER_OTLP_ENDPOINT: "COLLECTOR" });
  await visitWith(`00-${TRACE}-${VISITOR}-00`);
  expect(collector.spans).toEqual([]);
  connector.child.kill("SIGTERM");
  expect(await connector.exit).toBe(0);
  expect(collector.ofTrace(TRACE).map(({ part }) => part)).toEqual(["connector"]);
  host.child.kill("SIGTERM");
  expect(await host.exit).toBe(0);
  expect(collector.ofTrace(TRACE).map(({ part }) => part)).toEqual(["connector", "relay", "relay"]);
});

test("P24 a trace that is not sampled records nothing anywhere, and the visitor's word on it counts only where it is trusted", async () => {
  const never = { OTEL_TRACES_SAMPLER: "parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG: "0" };
  await start({ ...FAST, ...never, OTEL_EXPORTER_OTLP_ENDPOINT: "COLLECTOR" });
  await visitWith(`00-${TRACE}-${VISITOR}-01`);
  // Not recorded here, so the next hop must not think it is: another parent, and the flag gone.
  expect(seen[0]?.traceparent).toMatch(new RegExp(`^00-${TRACE}-(?!${VISITOR})[0-9a-f]{16}-00$`));
  await site.close();
  await host.stop();
  expect(collector.requests).toEqual([]);
  collector.close();

  await start({ ...FAST, ...never, CAUSEWAY_TRACES_TRUST_VISITORS: "1", OTEL_EXPORTER_OTLP_ENDPOINT: "COLLECTOR" });
  await visitWith(`00-${TRACE}-${VISITOR}-01`);
  await visitWith(`00-${VISITOR}${VISITOR}-${VISITOR}-00`);
  await until("three spans", () => collector.ofTrace(TRACE).length === 3);
  expect(collector.spans).toHaveLength(3);
  expect(seen.at(-1)?.traceparent).toBe(`00-${VISITOR}${VISITOR}-${VISITOR}-00`);
});

test("P24 without an endpoint nothing is exported, and the visitor's traceparent goes on as it came", async () => {
  await start({ ...FAST, OTEL_TRACES_SAMPLER: "always_on" });
  await visitWith(`00-${TRACE}-${VISITOR}-01`);
  expect(seen[0]).toMatchObject({ traceparent: `00-${TRACE}-${VISITOR}-01`, tracestate: "vendor=1" });
  host.child.kill("SIGTERM");
  expect(await host.exit).toBe(0);
  expect(collector.requests).toEqual([]);
  expect(host.output()).not.toContain("OTEL");
});

test(
  "SIGHUP and a second SIGTERM while the last spans are sent don't change how it ends",
  { timeout: 60_000 },
  async () => {
    let letGo = (): void => undefined;
    let asked = 0;
    const slow = createServer((request, response) => {
      asked += 1;
      request.resume();
      letGo = () => void response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
    const url = `http://127.0.0.1:${await listenOnLoopback(slow)}`;
    await start({ OTEL_BSP_SCHEDULE_DELAY: "600000", OTEL_EXPORTER_OTLP_ENDPOINT: url });
    try {
      expect((await visitWith(`00-${TRACE}-${VISITOR}-01`)).status).toBe(200);
      // Without a configuration file SIGHUP tells the connector that its terminal is gone.
      for (const [{ child, exit }, signals] of [
        [connector, ["SIGTERM"]],
        [host, ["SIGHUP", "SIGHUP", "SIGTERM"]],
      ] as const) {
        const before = asked;
        child.kill("SIGTERM");
        await until("its last spans", () => asked > before);
        for (const signal of signals) child.kill(signal);
        letGo();
        expect(await exit).toBe(0);
      }
    } finally {
      slow.closeAllConnections();
      slow.close();
    }
  },
);
