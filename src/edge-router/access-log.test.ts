import { expect, test } from "vitest";
import { createLogger } from "../shared/log.ts";
import { createAccessLog, type AccessLogMode } from "./access-log.ts";

const visit = {
  requestId: "req_1",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  method: "GET",
  parsedHost: { kind: "custom", host: "acme.example.com" },
  seen: { tenant: "acme" },
} as const;
const ours = new Response(null, { status: 404, headers: { "causeway-error": "no-route" } });
const cases = [new Response(), new Response(null, { status: 404 }), ours, new Response(null, { status: 500 })];

test.each<[AccessLogMode, (number | null)[]]>([
  ["all", [200, 404, 404, 500]],
  ["errors", [null, null, 404, 500]],
  ["off", [null, null, null, null]],
])("mode %s writes a line for %j", (mode, expected) => {
  const written = cases.map((response) => {
    const lines: string[] = [];
    createAccessLog(
      createLogger("edge", (line) => lines.push(line)),
      mode,
    )(visit, response, 3);
    expect(lines.length).toBeLessThanOrEqual(1);
    return lines.length === 0 ? null : Number(/"status":(\d+)/.exec(lines.join(""))?.[1]);
  });
  expect(written).toEqual(expected);
});

test("a line names request, trace, host, tenant and outcome", () => {
  const lines: string[] = [];
  const log = createLogger("edge", (line) => lines.push(line));
  createAccessLog(log, "all")(visit, ours, 3);
  expect(JSON.parse(lines.join(""))).toMatchObject({
    msg: "request",
    requestId: "req_1",
    trace: "0af7651916cd43dd8448eb211c80319c",
    method: "GET",
    host: "acme.example.com",
    status: 404,
    code: "no-route",
    firstByteMs: 3,
    tenant: "acme",
  });
});
