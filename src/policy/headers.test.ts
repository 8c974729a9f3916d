import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  continueTrace,
  cookieNames,
  forwardedFields,
  forwardingOf,
  forwardHeaders,
  isWebSocketUpgrade,
  readCookie,
  returnedFields,
  returnHeaders,
  type Forwarding,
  type Returning,
} from "./headers.ts";
import type { LaneVisit } from "../protocol/visit.ts";

const forwarding: Forwarding = {
  hostWithPort: "acme.example.com:8787",
  scheme: "http",
  clientAddress: "192.0.2.7",
  requestId: "req_1",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
  webSocket: false,
};
const forwardedHeaders = (inbound: Headers, over: Forwarding): Headers => {
  forwardHeaders(inbound, over);
  return inbound;
};
const returnedHeaders = (upstream: Headers, returning: Returning): Headers => {
  returnHeaders(upstream, returning);
  return upstream;
};
const forwarded = (inbound: Record<string, string> | [string, string][], over: Partial<Forwarding> = {}) =>
  forwardedHeaders(new Headers(inbound), { ...forwarding, ...over });

describe("request headers for the next hop", () => {
  test("an application's own headers go through", () => {
    const headers = forwarded({ accept: "text/html", authorization: "Bearer x", range: "bytes=0-1", "x-custom": "1" });
    expect(Object.fromEntries(headers)).toMatchObject({
      accept: "text/html",
      authorization: "Bearer x",
      range: "bytes=0-1",
      "x-custom": "1",
    });
  });

  test.each([
    "causeway-proof",
    "causeway-anything",
    "x-causeway-host",
    "x-edge-scope",
    "x-edge-probe",
    "x-envoy-original-path",
    "x-tenant-id",
    "x-tenant",
    "tenant-id",
    "x-real-ip",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-prefix",
    "x-forwarded-user",
    "cf-connecting-ip",
    "true-client-ip",
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-client-ip",
    "client-ip",
    "fastly-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "proxy",
    "x_causeway_host",
    "causeway_tenant",
    "X_Forwarded_For",
    "x_tenant-id",
    "tenant_id",
    "true_client_ip",
    "proxy_authorization",
    "content_length",
    "x.forwarded.for",
    "x~envoy~original~path",
  ])("%s from outside is dropped (H10)", (name) => {
    expect(forwarded({ [name]: "spoofed" }).has(name)).toBe(false);
  });

  test("other names with an underscore are an application's own", () => {
    expect(forwarded({ api_key: "k", soap_action: "s" }).get("api_key")).toBe("k");
    expect(forwarded({ connection: "x-private", x_private: "1" }).has("x_private")).toBe(false);
  });

  test("forwarding headers say what we know, not what was sent (H09, P15)", () => {
    const headers = forwarded({
      "x-forwarded-for": "6.6.6.6",
      "x-forwarded-host": "evil.example",
      "x-forwarded-proto": "https",
      "x-forwarded-port": "1",
      forwarded: "for=6.6.6.6;host=evil.example",
    });
    expect(headers.get("x-forwarded-for")).toBe("192.0.2.7");
    expect(headers.get("x-forwarded-host")).toBe("acme.example.com:8787");
    expect(headers.get("x-forwarded-proto")).toBe("http");
    expect(headers.get("x-forwarded-port")).toBe("8787");
    expect(headers.get("forwarded")).toBe('for=192.0.2.7;host="acme.example.com:8787";proto=http');
    expect(headers.get("causeway-request-id")).toBe("req_1");
  });

  test("the port follows from the scheme when none is typed; addresses of version 6 are quoted (RFC 7239)", () => {
    const headers = forwarded({}, { hostWithPort: "acme.example.com", scheme: "https", clientAddress: "2001:db8::1" });
    expect(headers.get("x-forwarded-port")).toBe("443");
    expect(headers.get("forwarded")).toBe('for="[2001:db8::1]";host="acme.example.com";proto=https');
    expect(forwarded({}, { clientAddress: null }).get("forwarded")).toMatch(/^for=unknown;/);
    expect(forwarded({ "x-forwarded-for": "6.6.6.6" }, { clientAddress: null }).has("x-forwarded-for")).toBe(false);
  });

  test("hop-by-hop headers end here, those that Connection lists included (T14)", () => {
    const headers = forwarded({
      connection: "keep-alive, X-Private , close",
      "keep-alive": "timeout=5",
      "x-private": "1",
      te: "trailers",
      trailer: "x-sum",
      "transfer-encoding": "chunked",
      upgrade: "h2c",
      "proxy-connection": "keep-alive",
      "proxy-authorization": "Basic x",
      expect: "100-continue",
      "x-kept": "1",
    });
    expect(
      [...headers.keys()].filter(
        (name) => !/^(x-forwarded-|causeway-|forwarded|traceparent|accept-encoding)/.test(name),
      ),
    ).toEqual(["x-kept"]);
  });

  test("a visitor who names no encoding gets none", () => {
    expect(forwarded({}).get("accept-encoding")).toBe("identity");
    expect(forwarded({ "accept-encoding": "br" }).get("accept-encoding")).toBe("br");
  });

  test("a WebSocket's handshake is kept (H12)", () => {
    const headers = forwarded(
      {
        connection: "keep-alive, Upgrade",
        upgrade: "WebSocket",
        "sec-websocket-key": "k",
        "sec-websocket-version": "13",
        "sec-websocket-protocol": "rpc",
      },
      { webSocket: true },
    );
    expect(headers.get("upgrade")).toBe("websocket");
    expect(headers.get("connection")).toBe("Upgrade");
    expect(headers.get("sec-websocket-key")).toBe("k");
    expect(headers.get("sec-websocket-protocol")).toBe("rpc");
  });

  test("services see their own cookies and not the session", () => {
    const cookie = "a=1; __Host-causeway=token; causeway=token; causeway-state-abc=x; b=2; causeways=3";
    expect(forwarded({ cookie }).get("cookie")).toBe("a=1; b=2; causeways=3");
    expect(forwarded({ cookie: "__Host-causeway=token" }).has("cookie")).toBe(false);
  });

  test("trace state goes only with the trace that it came with", () => {
    const { traceparent } = forwarding;
    expect(forwarded({ traceparent, tracestate: "a=b" }).get("tracestate")).toBe("a=b");
    expect(forwarded({ traceparent: "nonsense", tracestate: "a=b" }).has("tracestate")).toBe(false);
    expect(forwarded({ traceparent: "nonsense" }).get("traceparent")).toBe(traceparent);
  });

  test("whatever is sent, nothing that is ours gets through", () => {
    const name = fc.constantFrom(
      "Causeway-Proof",
      "CAUSEWAY-Target",
      "X-Edge-Scope",
      "X-Tenant-Id",
      "X-Envoy-Attempt-Count",
    );
    fc.assert(
      fc.property(fc.array(name), (names) => {
        const headers = forwarded(names.map((each): [string, string] => [each, "spoofed"]));
        expect([...headers.values()]).not.toContain("spoofed");
      }),
    );
  });
});

describe("response headers for the visitor", () => {
  test("hop-by-hop, Envoy's and our own names are dropped", () => {
    const upstream = new Headers({
      connection: "close, x-private",
      "x-private": "1",
      "keep-alive": "timeout=5",
      "x-envoy-upstream-service-time": "3",
      "alt-svc": 'h3=":443"',
      "causeway-error": "node-timeout",
      "causeway-refused": "1",
      "causeway-request-id": "theirs",
      "content-type": "text/plain",
      etag: '"x"',
    });
    expect(Object.fromEntries(returnedHeaders(upstream, { requestId: "req_1" }))).toEqual({
      "causeway-request-id": "req_1",
      "content-type": "text/plain",
      etag: '"x"',
    });
  });

  test("cookies stay apart, and nobody sets ours", () => {
    const upstream = new Headers();
    upstream.append("set-cookie", "a=1; Path=/, /x");
    upstream.append("set-cookie", "__Host-causeway=fixed; Path=/; Secure");
    upstream.append("set-cookie", "causeway=fixed");
    upstream.append("set-cookie", "=causeway=nameless");
    upstream.append("set-cookie", " = __Host-causeway-x=nameless; Path=/");
    upstream.append("set-cookie", "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT");
    expect(returnedHeaders(upstream, { requestId: "req_1" }).getSetCookie()).toEqual([
      "a=1; Path=/, /x",
      "b=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
    ]);
  });

  test("a doubled CORS header becomes one (H17)", () => {
    const upstream = new Headers();
    upstream.append("access-control-allow-origin", "https://a.example");
    upstream.append("access-control-allow-origin", "https://a.example");
    upstream.append("access-control-allow-methods", "GET, POST");
    const headers = returnedHeaders(upstream, { requestId: "req_1" });
    expect(headers.get("access-control-allow-origin")).toBe("https://a.example");
    expect(headers.get("access-control-allow-methods")).toBe("GET, POST");
  });
});

describe("fields as a list", () => {
  const anyCase = (name: string) =>
    fc
      .array(fc.boolean(), { minLength: name.length, maxLength: name.length })
      .map((upper) => Array.from(name, (letter, at) => (upper[at] === true ? letter.toUpperCase() : letter)).join(""));
  const separator = fc.constantFrom("-", "_", ".", "~");
  const name = fc
    .oneof(
      fc.constantFrom("accept", "connection", "te", "x-kept", "x-private", "set-cookie", "cookie", "content-length"),
      fc.constantFrom(
        "causeway-error",
        "causeway-visit",
        "causeway-refused",
        "x-forwarded-for",
        "x-envoy-x",
        "forwarded",
      ),
      fc.constantFrom("access-control-allow-origin", "alt-svc", "tracestate", "traceparent", "sec-websocket-key"),
    )
    .chain((lower) => separator.map((mark) => (mark === "-" ? lower : lower.replaceAll("-", mark))))
    .chain(anyCase);
  const value = fc.constantFrom(
    "1",
    "a=1; causeway=x",
    "causeway=x; Path=/",
    "x-private, close",
    "X-Kept",
    "a, b",
    "close",
  );
  const fields = fc.uniqueArray(fc.tuple(name, value), { maxLength: 12, selector: ([each]) => each.toLowerCase() });
  const asObject = (list: [string, string][]) =>
    Object.fromEntries(list.map(([each, text]) => [each.toLowerCase(), text]));

  test("comes to the same as Headers, whatever the case (H10, T14)", () => {
    fc.assert(
      fc.property(fields, fc.boolean(), fc.boolean(), (list, webSocket, withoutCookies) => {
        const over = { ...forwarding, webSocket, withoutCookies, prefix: "/relay/acme/x" };
        expect(asObject(forwardedFields(list, over))).toEqual(
          Object.fromEntries(forwardedHeaders(new Headers(list), over)),
        );
        const returning = { requestId: "req_1", webSocket, withoutCookies };
        expect(asObject(returnedFields(list, returning))).toEqual(
          Object.fromEntries(returnedHeaders(new Headers(list), returning)),
        );
      }),
    );
  });

  test("nothing internal and nothing of one hop passes, however it is written and repeated", () => {
    const known = new Set(forwardedFields([], forwarding).map(([each]) => each));
    const internal =
      /^(?:causeway-|x-causeway-|x-edge-|x-envoy-|x-forwarded-|x-tenant|cf-|forwarded$|proxy-|te$|host$)/;
    const repeated = fc.array(fc.tuple(name, fc.constant("spoofed")), { maxLength: 20 });
    fc.assert(
      fc.property(repeated, (list) => {
        const out = forwardedFields(list, forwarding).filter(([each, text]) => !known.has(each) || text === "spoofed");
        for (const [each] of out) expect(each.toLowerCase().replaceAll(/[^a-z0-9]/g, "-")).not.toMatch(internal);
        const back = returnedFields(list, { requestId: "req_1" }).slice(0, -1);
        for (const [each] of back) expect(each).not.toMatch(/^(?:causeway-|x-envoy-|alt-svc|te$|connection$)/i);
      }),
    );
  });

  test("keeps order, case and repetitions of what passes", () => {
    const list: [string, string][] = [
      ["X-B", "1"],
      ["Cookie", "a=1; causeway=x"],
      ["x-a", "2"],
      ["X-B", "3"],
    ];
    expect(forwardedFields(list, forwarding).slice(0, 4)).toEqual([
      ["X-B", "1"],
      ["Cookie", "a=1"],
      ["x-a", "2"],
      ["X-B", "3"],
    ]);
    const answer: [string, string][] = [
      ["Set-Cookie", "a=1"],
      ["Access-Control-Allow-Origin", "*"],
      ["Set-Cookie", "b=2"],
      ["access-control-allow-origin", "*"],
    ];
    expect(returnedFields(answer, { requestId: "req_1" })).toEqual([
      ...answer.slice(0, 3),
      ["causeway-request-id", "req_1"],
    ]);
    expect(returnedFields(answer, { requestId: "req_1", withoutCookies: true })).toHaveLength(2);
  });

  test("names that nobody uses are not kept in memory for ever, and are judged all the same", () => {
    for (let n = 0; n < 3_000; n++) {
      expect(forwardedFields([[`causeway-${n}`, "x"]], forwarding)).toHaveLength(7 + 1);
      expect(forwardedFields([[`x-${n}`, "x"]], forwarding)[0]).toEqual([`x-${n}`, "x"]);
    }
  });

  test("a lane forwards what the edge says", () => {
    const visit: LaneVisit = {
      requestId: "req_1",
      target: "wiki",
      prefix: "/docs",
      path: "/x",
      host: "acme.example.com",
      scheme: "https",
      clientAddress: null,
      traceparent: forwarding.traceparent,
      withoutCookies: true,
      urgency: 3,
      firstByteMs: null,
      idleMs: null,
      totalMs: null,
      trace: false,
    };
    const sent: [string, string][] = [
      ["cookie", "a=1"],
      ["upgrade", "websocket"],
      ["sec-websocket-key", "k"],
      ["sec-websocket-protocol", "rpc"],
      ["causeway-visit", "forged"],
    ];
    expect(asObject(forwardedFields(sent, forwardingOf(visit)))).toEqual({
      "sec-websocket-protocol": "rpc",
      "accept-encoding": "identity",
      "x-forwarded-host": "acme.example.com",
      "x-forwarded-proto": "https",
      "x-forwarded-port": "443",
      "x-forwarded-prefix": "/docs",
      forwarded: 'for=unknown;host="acme.example.com";proto=https',
      "causeway-request-id": "req_1",
      traceparent: forwarding.traceparent,
    });
  });
});

test("cookies are read by name", () => {
  expect(readCookie("a=1; b=x=y ;c", "b")).toBe("x=y");
  expect(readCookie("a=1; a=2", "a")).toBe("1");
  expect(readCookie(null, "a")).toBeNull();
  expect(cookieNames("a=1;b=2; c")).toEqual(["a", "b"]);
});

test("only a GET that asks for websocket is an upgrade", () => {
  const upgrade = new Headers({ upgrade: "WebSocket" });
  expect(isWebSocketUpgrade("GET", upgrade)).toBe(true);
  expect(isWebSocketUpgrade("POST", upgrade)).toBe(false);
  expect(isWebSocketUpgrade("GET", new Headers({ upgrade: "h2c" }))).toBe(false);
});

describe("a trace", () => {
  const fill = (bytes: Uint8Array) => void bytes.fill(0xab);
  test("goes on when it is valid", () => {
    expect(continueTrace(forwarding.traceparent, fill)).toBe(forwarding.traceparent);
  });
  test.each([
    null,
    "",
    "00-x",
    `00-${"0".repeat(32)}-b7ad6b7169203331-01`,
    `00-0af7651916cd43dd8448eb211c80319c-${"0".repeat(16)}-01`,
    "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
  ])("is made anew instead of %j", (inbound) => {
    expect(continueTrace(inbound, fill)).toBe(`00-${"ab".repeat(16)}-${"ab".repeat(8)}-00`);
  });
});
