import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { newId } from "../../src/shared/ids.ts";
import { freePorts } from "../support/ports.ts";
import { startChannelHost, type ChannelHost } from "../support/node-channel.ts";

// `causeway node enroll|run` as people type it: what it does, and its exit codes.
let host: ChannelHost;
let dir: string;

beforeAll(async () => {
  host = await startChannelHost([]);
  dir = mkdtempSync(join(tmpdir(), "cw-node-cli-"));
});
afterAll(() => host.close());

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}
async function causeway(...args: string[]): Promise<Outcome> {
  const argv = [join(process.cwd(), "src/cli/main.ts"), "node", ...args];
  try {
    return { code: 0, ...(await promisify(execFile)(join(process.cwd(), "node_modules/.bin/node"), argv)) };
  } catch (error) {
    if (!(error instanceof Error) || !("code" in error) || !("stderr" in error) || !("stdout" in error)) throw error;
    return { code: Number(error.code), stdout: String(error.stdout), stderr: String(error.stderr) };
  }
}
const tokenFile = (text: string): string => {
  const path = join(dir, newId("tok"));
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  return path;
};

test("enroll saves who the node is, with its key readable by its owner only, and prints no secret", async () => {
  const nodeId = newId("nod");
  const token = await host.newNode(nodeId, "hank-schrader");
  const out = join(dir, "made", "node.json");
  const done = await causeway(
    "enroll",
    "--url",
    host.relayUrl,
    "--token-file",
    tokenFile(token),
    "--out",
    out,
    "--json",
  );
  expect(done.code).toBe(0);
  expect(JSON.parse(done.stdout)).toEqual({ nodeId, node: "hank-schrader", credentialsFile: out });
  expect(statSync(out).mode & 0o777).toBe(0o600);
  const saved = JSON.parse(readFileSync(out, "utf8"));
  expect(saved).toMatchObject({ nodeId, node: "hank-schrader", relayUrl: host.relayUrl });
  expect(`${done.stdout}${done.stderr}`).not.toContain(saved.key.d);
  expect(existsSync(`${out}.key`)).toBe(false);
  expect(await host.channel(nodeId).presence()).toMatchObject({ enrolled: true });
});

test("enroll can be repeated after a lost answer, but the token is good for one key only", async () => {
  const nodeId = newId("nod");
  const file = tokenFile(await host.newNode(nodeId, "hank-schrader"));
  const out = join(dir, "repeated.json");
  await host.gate.shut();
  expect((await causeway("enroll", "--url", host.relayUrl, "--token-file", file, "--out", out)).code).toBe(4);
  expect(existsSync(out)).toBe(false);
  await host.gate.open();
  expect((await causeway("enroll", "--url", host.relayUrl, "--token-file", file, "--out", out)).code).toBe(0);
  const second = await causeway(
    "enroll",
    "--url",
    host.relayUrl,
    "--token-file",
    file,
    "--out",
    join(dir, "thief.json"),
  );
  expect(second.code).toBe(5);
  expect(second.stderr).toContain("used already");
});

test("what is wrong is said with its own exit code", async () => {
  const token = tokenFile(`${newId("nod")}.secret`);
  expect((await causeway("enroll", "--url", "ftp://x", "--token-file", token)).code).toBe(2);
  expect((await causeway("enroll", "--url", host.relayUrl)).code).toBe(2);
  expect((await causeway("enroll", "--url", host.relayUrl, "--token-file", join(dir, "none"))).code).toBe(2);
  expect((await causeway("enroll", "--url", host.relayUrl, "--token-file", tokenFile("nonsense"))).code).toBe(2);
  expect(
    (await causeway("enroll", "--url", host.relayUrl, "--token-file", token, "--out", join(dir, "x.json"))).code,
  ).toBe(5);
  const [port = 0] = await freePorts(1);
  const unreachable = await causeway(
    "enroll",
    "--url",
    `http://127.0.0.1:${port}`,
    "--token-file",
    token,
    "--out",
    join(dir, "y.json"),
  );
  expect([unreachable.code, unreachable.stderr]).toEqual([4, expect.stringContaining("can't be reached")]);
  expect((await causeway("run", "--config", join(dir, "none.json"))).code).toBe(2);
  expect((await causeway("run")).code).toBe(2);
});

test("both have help", async () => {
  expect((await causeway("enroll", "--help")).stdout).toContain("--token-file");
  expect((await causeway("run", "--help")).stdout).toContain("--config");
});
