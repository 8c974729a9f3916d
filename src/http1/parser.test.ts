import { array, assert, constantFrom, nat, oneof, property } from "fast-check";
import { expect, test } from "vitest";
import { createRequestParser, createResponseParser, type ParsedHead, type ParseFault, type Parser } from "./parser.ts";
import type { HeaderList } from "./types.ts";

const LIMITS = { headBytes: 2048, fields: 20, targetBytes: 200, trailerBytes: 200 };

interface Message {
  readonly head: ParsedHead;
  body: string;
  trailers: HeaderList | null;
}
interface Parsed {
  readonly messages: Message[];
  fault: ParseFault | null;
  /** What `finish` said, when nothing was wrong before. */
  ended: boolean | null;
}

/** Everything that a parser finds in `pieces`, one after the other. */
function parse(parser: Parser, pieces: readonly Buffer[]): Parsed {
  const parsed: Parsed = { messages: [], fault: null, ended: null };
  for (const piece of pieces) {
    // A copy, overwritten afterwards: nothing may point into memory that was fed.
    const chunk = Buffer.from(piece);
    let at = 0;
    while (at < chunk.length && parsed.fault === null) {
      at = parser.feed(chunk, at);
      if (parser.head !== null) parsed.messages.push({ head: parser.head, body: "", trailers: null });
      const message = parsed.messages.at(-1);
      for (let i = 0; i < parser.body.length; i += 2) {
        if (message !== undefined) message.body += chunk.toString("latin1", parser.body[i], parser.body[i + 1]);
      }
      if (parser.complete && message !== undefined) message.trailers = parser.trailers;
      parsed.fault = parser.fault;
    }
    chunk.fill(0x2a);
    if (parsed.fault !== null) break;
  }
  if (parsed.fault === null) {
    parsed.ended = parser.finish();
    const message = parsed.messages.at(-1);
    if (parser.complete && message !== undefined) message.trailers = parser.trailers;
  }
  parser.free();
  return parsed;
}

const request = (text: string): Parsed => parse(createRequestParser(LIMITS), [Buffer.from(text, "latin1")]);
const response = (text: string): Parsed => parse(createResponseParser(LIMITS), [Buffer.from(text, "latin1")]);

const REQUESTS = [
  "GET /a?b=c HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Space:  b c \t \r\nx-twice: 1\r\nX-Twice: 2\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nhello world",
  "\r\nPUT /u HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nT: 1\r\nU:\r\n\r\n",
  "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
  "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
];
const RESPONSES = [
  "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
  "HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 3\r\n\r\nabc",
  "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nT: 1\r\n\r\n",
  "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
  "HTTP/1.1 204 No Content\r\n\r\n",
];
const BROKEN = [
  "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
  "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
];

test("any fragmentation gives the same messages", () => {
  const several = (texts: readonly string[], type: string) =>
    array(constantFrom(...texts), { minLength: 1, maxLength: 4 }).map((all) => ({ text: all.join(""), type }));
  const texts = oneof(
    several(REQUESTS, "request"),
    several(RESPONSES, "response"),
    constantFrom(...BROKEN).map((text) => ({ text: (REQUESTS[0] ?? "") + text, type: "request" })),
  );
  assert(
    property(texts, array(nat(600), { maxLength: 12 }), ({ text, type }, cuts) => {
      const create = type === "request" ? createRequestParser : createResponseParser;
      const whole = Buffer.from(text, "latin1");
      const at = [0, ...cuts.map((cut) => cut % whole.length).sort((a, b) => a - b), whole.length];
      const pieces = at.slice(1).map((end, i) => whole.subarray(at[i], end));
      expect(parse(create(LIMITS), pieces)).toEqual(parse(create(LIMITS), [whole]));
    }),
    { numRuns: 400 },
  );
});

test("every split position of every message, and byte by byte", () => {
  for (const [texts, create] of [
    [REQUESTS, createRequestParser],
    [RESPONSES, createResponseParser],
  ] as const) {
    const whole = Buffer.from(texts.join(""), "latin1");
    const expected = parse(create(LIMITS), [whole]);
    expect(expected.fault).toBeNull();
    expect(expected.messages.length).toBe(texts.length);
    for (let cut = 1; cut < whole.length; cut += 1) {
      expect(parse(create(LIMITS), [whole.subarray(0, cut), whole.subarray(cut)])).toEqual(expected);
    }
    expect(
      parse(
        create(LIMITS),
        Array.from(whole, (_, i) => whole.subarray(i, i + 1)),
      ),
    ).toEqual(expected);
  }
});

test("names, values, order and duplicates are as they came, without the white space around", () => {
  expect(request(REQUESTS[0] ?? "").messages[0]?.head.headers).toEqual([
    ["Host", "a"],
    ["X-Empty", ""],
    ["X-Space", "b c"],
    ["x-twice", "1"],
    ["X-Twice", "2"],
  ]);
});

test("bodies, chunks and trailers", () => {
  const [message] = request(REQUESTS[2] ?? "").messages;
  expect(message).toMatchObject({
    body: "hello world",
    trailers: [
      ["T", "1"],
      ["U", ""],
    ],
  });
  expect(response("HTTP/1.1 200 OK\r\n\r\nuntil the end")).toMatchObject({
    messages: [{ body: "until the end", trailers: [] }],
    ended: true,
  });
});

test.each(Array.from({ length: 256 }, (_, byte) => byte))("byte %i in a value", (byte) => {
  const text = String.fromCharCode(byte);
  const { fault, messages } = request(`GET / HTTP/1.1\r\nHost: a\r\nX: b${text}c\r\n\r\n`);
  const allowed = byte === 9 || (byte >= 32 && byte !== 127);
  expect(fault === null).toBe(allowed);
  if (allowed) expect(messages[0]?.head.headers[1]).toEqual(["X", `b${text}c`]);
});

test.each(Array.from({ length: 256 }, (_, byte) => byte))("byte %i in a name", (byte) => {
  const text = String.fromCharCode(byte);
  if (text === ":") return;
  const { fault } = request(`GET / HTTP/1.1\r\nHost: a\r\nX${text}Y: b\r\n\r\n`);
  expect(fault === null).toBe(/[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(text));
});

test.each<[string, string, ParseFault]>([
  ["obs-fold", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", "malformed"],
  ["bare LF after a field", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "malformed"],
  ["bare CR after a field", "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", "malformed"],
  ["bare LF after the request line", "GET / HTTP/1.1\nHost: a\r\n\r\n", "version"],
  ["space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "malformed"],
  ["space before the first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n", "malformed"],
  ["no colon", "GET / HTTP/1.1\r\nHost\r\n\r\n", "malformed"],
  ["empty name", "GET / HTTP/1.1\r\n: a\r\n\r\n", "malformed"],
  ["HTTP/0.9", "GET /\r\n\r\n", "version"],
  ["HTTP/1.2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", "version"],
  ["HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", "version"],
  ["HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "version"],
  ["unknown method", "FOO / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"],
  ["lower-case method", "get / HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"],
  ["two spaces", "GET / x HTTP/1.1\r\nHost: a\r\n\r\n", "malformed"],
  ["TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "malformed"],
  ["Content-Length twice", "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "content-length"],
  [
    "Content-Length twice, equal",
    "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
    "content-length",
  ],
  ["Content-Length list", "POST / HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\na", "content-length"],
  ["Content-Length signed", "POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", "content-length"],
  ["Content-Length negative", "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\na", "content-length"],
  ["Content-Length hexadecimal", "POST / HTTP/1.1\r\nContent-Length: 0x1\r\n\r\na", "content-length"],
  ["Content-Length overflow", "POST / HTTP/1.1\r\nContent-Length: 18446744073709551617\r\n\r\na", "content-length"],
  [
    "CL.TE",
    "POST / HTTP/1.1\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    "transfer-encoding",
  ],
  ["TE.CL", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n", "content-length"],
  [
    "TE.TE, unknown last",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "transfer-encoding",
  ],
  ["TE vertical tab", "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", "malformed"],
  ["TE not chunked last", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "transfer-encoding"],
  ["TE xchunked", "POST / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "transfer-encoding"],
  [
    "chunk size with a sign",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n0\r\n\r\n",
    "malformed",
  ],
  ["chunk size with 0x", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "malformed"],
  [
    "chunk size with a space",
    "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    "malformed",
  ],
  ["chunk size overflow", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\na", "malformed"],
  ["chunk size bare LF", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "malformed"],
  ["chunk too long", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n", "malformed"],
  ["chunk without its line end", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc0\r\n\r\n", "malformed"],
  ["long target", `GET /${"a".repeat(300)} HTTP/1.1\r\nHost: a\r\n\r\n`, "target-too-long"],
  ["long field", `GET / HTTP/1.1\r\nX: ${"a".repeat(3000)}\r\n\r\n`, "head-too-large"],
  ["many fields", `GET / HTTP/1.1\r\n${"X: a\r\n".repeat(30)}\r\n`, "head-too-large"],
  ["endless white space", `GET / HTTP/1.1\r\nX: ${" ".repeat(5000)}`, "head-too-large"],
  [
    "large trailers",
    `POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: ${"a".repeat(300)}\r\n\r\n`,
    "trailers-too-large",
  ],
  [
    "endless chunk extension",
    `POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;${"a".repeat(40_000)}`,
    "chunk-overhead",
  ],
])("%s is a fault", (_name, text, fault) => {
  expect(request(text).fault).toBe(fault);
  expect(
    parse(
      createRequestParser(LIMITS),
      Array.from(Buffer.from(text, "latin1"), (b) => Buffer.of(b)),
    ).fault,
  ).toBe(fault);
});

test.each<[string, string]>([
  ["both lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"],
  ["bytes after a complete answer", "HTTP/1.1 304 Not Modified\r\n\r\ngarbage"],
  ["bare LF", "HTTP/1.1 200 OK\nA: b\r\n\r\n"],
  ["obs-fold", "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"],
  ["two-digit status", "HTTP/1.1 20 OK\r\n\r\n"],
  ["not HTTP", "SSH-2.0-OpenSSH_9.2\r\n"],
])("a response with %s is a fault", (_name, text) => {
  expect(response(text).fault).not.toBeNull();
});

test("a message that breaks off did not end", () => {
  expect(request("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").ended).toBe(false);
  expect(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab").ended).toBe(false);
  expect(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n").ended).toBe(false);
});

test("HEAD answers have no body, whatever their length", () => {
  const parser = createResponseParser(LIMITS);
  parser.expectNoBody(true);
  const text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  const { messages } = parse(parser, [Buffer.from(text)]);
  expect(messages.map(({ body, trailers }) => ({ body, trailers }))).toEqual([
    { body: "", trailers: [] },
    { body: "", trailers: [] },
  ]);
});

test("two parsers that take turns do not mix", () => {
  const [a, b] = [createRequestParser(LIMITS), createRequestParser(LIMITS)];
  const one = Buffer.from("GET /one HTTP/1.1\r\nHost: a\r\n\r\n");
  const two = Buffer.from("GET /two HTTP/1.1\r\nHost: b\r\n\r\n");
  for (let i = 0; i < one.length - 1; i += 1) {
    a.feed(one.subarray(i, i + 1), 0);
    b.feed(two.subarray(i, i + 1), 0);
  }
  a.feed(one.subarray(-1), 0);
  b.feed(two.subarray(-1), 0);
  expect([a.head?.target, b.head?.target]).toEqual(["/one", "/two"]);
  a.free();
  b.free();
});

test("a chunk that is longer than llhttp's window", () => {
  const body = "x".repeat(200_000);
  expect(request(`POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n${body}`).messages[0]?.body).toBe(body);
});
