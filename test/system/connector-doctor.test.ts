import { writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { connect, createServer, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { z } from "zod";
import { selfSigned } from "../support/certificate.ts";
import { listenOnLoopback } from "../support/listen.ts";
import { startTestRelay, type TestRelay } from "./connector/relay.ts";
import { createSite, type Site } from "./connector/site.ts";

// `causeway doctor` at a site where one thing after the other is wrong.
const finding = z.object({
  check: z.string(),
  subject: z.string(),
  result: z.enum(["ok", "failed", "skipped"]),
  detail: z.string(),
  remedy: z.string().nullable(),
});
type Finding = z.infer<typeof finding>;

let relay: TestRelay;
let site: Site;
let servers: Server[];

beforeEach(async () => {
  servers = [];
  site = createSite();
  relay = await startTestRelay({ key: site.publicKey });
});
afterEach(async () => {
  await site.close();
  await relay.stop();
  for (const server of servers) server.close();
});

async function doctor(
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
): Promise<{ code: number | string; findings: Finding[]; output: string }> {
  const running = site.command(["doctor", "--json", ...args], env);
  const code = await running.exit;
  const output = running.output();
  const findings = output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => finding.parse(JSON.parse(line)));
  return { code, findings, output };
}

const withRelay = (url: string): string[] => ["--credentials", site.credentials, "--url", url];
const brief = (findings: readonly Finding[]): string[] => findings.map(({ check, result }) => `${check} ${result}`);
const failures = (findings: readonly Finding[]): Finding[] => findings.filter(({ result }) => result === "failed");

test("all is well: every step and every target says so, nobody takes it for a connector, exit 0", async () => {
  const good = await site.target((_request, response) => void response.writeHead(204).end());
  const { code, findings, output } = await doctor([
    ...withRelay(relay.url),
    "--target",
    `web=${good}`,
    "--target",
    "ping",
  ]);
  expect(brief(findings)).toEqual([
    "proxy ok",
    "dns ok",
    "tcp ok",
    "tls skipped",
    "relay ok",
    "clock ok",
    "credentials ok",
    "credentials ok",
    "target ok",
  ]);
  expect([code, relay.links.length, relay.dials.length]).toEqual([0, 0, 2]);
  expect(output).not.toContain("Bearer");
});

test("people read lines with remedies, scripts codes: 5 for a refused credential", async () => {
  const stranger = createSite();
  try {
    const running = stranger.command(["doctor", "--credentials", stranger.credentials, "--url", relay.url]);
    expect(await running.exit).toBe(5);
    expect(running.output()).toMatch(/^ok +relay/m);
    expect(running.output()).toMatch(/^failed +credentials +lane a: .*\n +Check in the console/m);
    expect(running.output()).toContain("not everything works: credentials");
    relay.headers = { date: new Date(Date.now() - 600_000).toUTCString() };
    const late = stranger.command(["doctor", "--credentials", stranger.credentials, "--url", relay.url]);
    await late.exit;
    expect(late.output()).toMatch(/^failed +credentials +lane a: .*\n +Set the clock first/m);
  } finally {
    await stranger.close();
  }
});

test("a target that is away, unknown or not HTTP is named with what to do, exit 1", async () => {
  const mute = createServer((socket) => void socket.end("SSH-2.0-x\r\n"));
  servers.push(mute);
  const port = await listenOnLoopback(mute);
  const { code, findings } = await doctor([
    ...withRelay(relay.url),
    "--target",
    "away=http://127.0.0.1:9",
    "--target",
    `odd=http://127.0.0.1:${port}`,
    "--target",
    `plain=https://127.0.0.1:${port}`,
    "--target",
    "nowhere=http://no-such-host.invalid",
  ]);
  expect(code).toBe(1);
  expect(
    failures(findings).map(({ subject, remedy }) => [subject.split(" ")[0], remedy?.split(" ").slice(0, 3).join(" ")]),
  ).toEqual([
    ["away", "Is the service"],
    ["odd", "It closed the"],
    ["plain", "Write http instead"],
    ["nowhere", "Check the name"],
  ]);
  expect(
    failures(findings)
      .map(({ detail }) => detail)
      .join("\n"),
  ).not.toMatch(/error:|routines|getaddrinfo/);
});

test("no name, no connection, another server, a wrong clock: the step that fails says so, exit 4", async () => {
  const portal = await site.target((_request, response) => void response.end("<h1>Sign in to this network</h1>"));
  relay.headers = { date: new Date(Date.now() - 600_000).toUTCString() };
  const cases: [string, string, string][] = [
    ["https://no-such-host.invalid", "dns", "DNS"],
    ["http://127.0.0.1:9", "tcp", "port 9"],
    [portal, "relay", "sign-in page"],
    [relay.url, "clock", "NTP"],
  ];
  for (const [url, check, words] of cases) {
    const { code, findings } = await doctor(withRelay(url));
    expect([url, code, failures(findings).map((each) => each.check)]).toEqual([url, 4, [check]]);
    expect(failures(findings)[0]?.remedy).toContain(words);
  }
});

test("TLS that this machine does not trust is told with its issuer; --ca cures it", async () => {
  const named = selfSigned({ dns: ["relay.causeway.localhost"] });
  const secure = await startTestRelay({ tls: named, key: site.publicKey });
  try {
    const { code, findings } = await doctor(withRelay(secure.url));
    expect([code, failures(findings).map(({ check }) => check)]).toEqual([4, ["tls"]]);
    expect(failures(findings)[0]?.remedy).toContain('issued by "relay.causeway.localhost"');
    writeFileSync(`${site.folder}/ca.pem`, named.cert);
    const cured = await doctor([...withRelay(secure.url), "--ca", `${site.folder}/ca.pem`]);
    expect([cured.code, failures(cured.findings)]).toEqual([0, []]);
  } finally {
    await secure.stop();
  }
});

test("a proxy is named and used; one that refuses is the failed step, and its password is not told", async () => {
  let allow = true;
  let refusal = "403 Forbidden";
  const proxy = createHttpServer();
  proxy.on("connect", (_request, client: Socket) => {
    if (!allow) {
      client.end(`HTTP/1.1 ${refusal}\r\n\r\n`);
      return;
    }
    const upstream = connect(relay.port, "127.0.0.1", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      client.pipe(upstream).pipe(client);
    });
    for (const socket of [client, upstream]) socket.on("error", () => undefined);
  });
  servers.push(proxy);
  const port = await listenOnLoopback(proxy);
  const env = { http_proxy: `http://user:secret@127.0.0.1:${port}`, CAUSEWAY_ALLOW_PLAIN_HTTP: "1" };
  const url = `http://site.example:${relay.port}`;
  const through = await doctor(["--url", url], env);
  expect([through.code, brief(through.findings).slice(0, 4)]).toEqual([
    0,
    ["proxy ok", "dns ok", "tcp ok", "proxy ok"],
  ]);
  allow = false;
  const refused = await doctor(["--url", url], env);
  expect([refused.code, failures(refused.findings).map(({ check }) => check)]).toEqual([4, ["proxy"]]);
  expect(failures(refused.findings)[0]?.remedy).toContain("Allow CONNECT");
  refusal = '407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"';
  const unproved = await doctor(["--url", url], env);
  expect(failures(unproved.findings)[0]?.detail).toContain("407: it does not take this user and password");
  expect(failures(unproved.findings)[0]?.remedy).toContain("http_proxy: http://user:password@");
  expect(refused.output + through.output + unproved.output).not.toContain("secret");
  const socks = await doctor(["--url", url], { ...env, http_proxy: "socks5://user:secret@127.0.0.1:1" });
  expect([socks.code, brief(socks.findings), socks.output.includes("secret")]).toEqual([4, ["proxy failed"], false]);
});

test("without anything to check, or with a broken file, it is a usage error", async () => {
  writeFileSync(`${site.folder}/broken.json`, "{}", { mode: 0o600 });
  const [nothing, broken] = await Promise.all([doctor([]), doctor(["--credentials", `${site.folder}/broken.json`])]);
  expect([nothing.code, broken.code]).toEqual([2, 2]);
  expect(broken.output).toContain("is not valid");
});

test("a client secret: where the token came from, or that it is refused with what to do", async () => {
  const file = `${site.folder}/secret`;
  writeFileSync(file, "s3cret-s3cret-s3cret", { mode: 0o600 });
  let wrong = false;
  relay.admits = (authorization) => authorization === "Bearer a-token-of-the-relay";
  relay.answer = (request, response) => {
    if (request.url !== "/token") return false;
    const body = wrong
      ? { error: "invalid_client" }
      : { access_token: "a-token-of-the-relay", token_type: "Bearer", expires_in: 600 };
    response.writeHead(wrong ? 401 : 200, { "content-type": "application/json" }).end(JSON.stringify(body));
    return true;
  };
  const args = ["--url", relay.url, "--tenant", "acme", "--secret-file", file];
  const well = await doctor(args);
  expect(well.code).toBe(0);
  expect(brief(well.findings)).toEqual(expect.arrayContaining(["token ok", "credentials ok"]));
  wrong = true;
  const refused = await doctor(args);
  expect(refused.code).toBe(5);
  expect(failures(refused.findings)).toMatchObject([{ check: "credentials", subject: "access token" }]);
  for (const { output } of [well, refused]) expect(output).not.toMatch(/s3cret|a-token-of/);
});
