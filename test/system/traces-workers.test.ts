import { createServer } from "node:http";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startOtlpReceiver, type OtlpReceiver } from "../support/otlp.ts";
import { until } from "../support/until.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { createSite, type Site } from "./connector/site.ts";
import { ask } from "./relay-node/host.ts";
import { startWorkers, type Workers } from "./traces/workers.ts";

// Edge and lanes on workerd, `causeway connect` as a process, and a collector (P24).
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const VISITOR = "00f067aa0ba902b7";

let collector: OtlpReceiver;
let site: Site;
let workers: Workers;
const seen: string[] = [];
const target = createServer((request, response) => {
  seen.push(String(request.headers.traceparent));
  response.end("ok");
});
let targetUrl = "";

beforeAll(async () => {
  targetUrl = `http://127.0.0.1:${await listenOnLoopback(target)}`;
});
afterAll(() => target.close());
afterEach(async () => {
  seen.length = 0;
  await site.close();
  await workers.stop();
  collector.close();
});

async function start(env: Record<string, string>): Promise<void> {
  collector = await startOtlpReceiver();
  const all = Object.fromEntries(
    Object.entries(env).map(([name, value]) => [name, value.replace("COLLECTOR", collector.url)]),
  );
  site = createSite();
  workers = await startWorkers(all);
  await workers.publish(site.publicKey);
  site.process(workers.relayUrl, ["--target", `web=${targetUrl}`, "--instance", "one"], all);
  await until("the connector is online", async () => {
    const lanes = await Promise.all((["a", "b"] as const).map((lane) => workers.online(lane)));
    return lanes.every((ids) => ids.includes("one"));
  });
}

const visitWith = (traceparent: string) =>
  ask(workers.port, "acme", "/deep/page?token=secret", { headers: { traceparent } });

test("P24 one trace goes through the edge's Worker, the lane's object and the connector, each hop the parent of the next", async () => {
  await start({
    OTEL_BSP_SCHEDULE_DELAY: "50",
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "COLLECTOR/custom/path",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
  });
  const answer = await visitWith(`00-${TRACE}-${VISITOR}-00`);
  expect(answer.status).toBe(200);
  const spans = await until("three spans", () => {
    const found = collector.ofTrace(TRACE);
    return found.length === 3 ? found : null;
  });
  expect(collector.faults).toEqual([]);
  const edge = spans.find(({ parentSpanId }) => parentSpanId === VISITOR);
  const lane = spans.find(({ parentSpanId }) => parentSpanId === edge?.spanId);
  const leg = spans.find(({ parentSpanId }) => parentSpanId === lane?.spanId);
  expect([edge?.part, lane?.part, leg?.part]).toEqual(["edge", "lane", "connector"]);
  expect([edge?.kind, lane?.kind, leg?.kind]).toEqual([2, 3, 3]);
  expect(seen).toEqual([`00-${TRACE}-${leg?.spanId}-01`]);
  expect(edge?.service).toBe("causeway-edge");
  expect(lane?.service).toBe(`causeway-relay-${String(lane?.attributes["causeway.lane"])}`);
  expect(edge?.attributes).toMatchObject({ "server.address": "acme.causeway.localhost", "http.route": "/" });
  expect(lane?.attributes).toMatchObject({ "causeway.connector.id": "con_1", "causeway.connector.name": "plant-1" });
  for (const span of spans) {
    expect(span.attributes).toMatchObject({
      "http.request.method": "GET",
      "http.response.status_code": "200",
      "url.path": "/deep/page",
      "causeway.tenant": "acme",
      "causeway.target": "web",
      "causeway.request_id": answer.headers["causeway-request-id"],
    });
    expect(JSON.stringify(span)).not.toContain("secret");
  }
  expect(new Set(collector.requests.map(({ path }) => path))).toEqual(new Set(["/custom/path"]));

  // An isolate that has exported once goes on doing so: what was begun for one request must not wait for it.
  for (let n = 0; n < 5; n += 1) await visitWith(`00-${TRACE}-${VISITOR}-00`);
  await until("spans of six requests", () => collector.ofTrace(TRACE).length === 18);
});

test("P24 without an endpoint the Workers export nothing, and the visitor's traceparent goes on as it came", async () => {
  await start({ OTEL_TRACES_SAMPLER: "always_on", OTEL_BSP_SCHEDULE_DELAY: "50" });
  await visitWith(`00-${TRACE}-${VISITOR}-01`);
  expect(seen).toEqual([`00-${TRACE}-${VISITOR}-01`]);
  expect(collector.requests).toEqual([]);
});
