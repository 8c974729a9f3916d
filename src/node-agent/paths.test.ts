import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { agentPaths } from "./paths.ts";
import { takeSocketDir } from "./socket-dir.ts";

const folder = mkdtempSync(join(tmpdir(), "causeway-paths-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sockets = (stateDir: string): string[] => {
  const { xdsSocket, probeSocket } = agentPaths(stateDir).envoyPaths;
  return [xdsSocket, probeSocket];
};

test("sockets are beside the rest, also in a path with spaces", () => {
  expect(sockets("/srv/my node")).toEqual(["/srv/my node/run/xds.sock", "/srv/my node/run/probe.sock"]);
});

test.each([85, 88, 89, 90, 107, 108, 300, 4000])(
  "no socket's path is too long with a state directory of %i bytes",
  (bytes) => {
    const stateDir = `/${"d".repeat(bytes - 1)}`;
    for (const path of sockets(stateDir)) expect(Buffer.byteLength(path)).toBeLessThanOrEqual(103);
    expect(sockets(stateDir)).toEqual(sockets(stateDir));
    expect(sockets(stateDir)).not.toEqual(sockets(`${stateDir}e`));
  },
);

test("bytes count, not characters", () => {
  expect(sockets(`/${"ü".repeat(60)}`)[0]).not.toContain("ü");
});

test("the sockets' directory is made for its user alone, and taken again", () => {
  const dir = join(folder, "a/run");
  expect(takeSocketDir(dir)).toEqual({ ok: true, value: undefined });
  expect(statSync(dir).mode & 0o777).toBe(0o700);
  expect(takeSocketDir(dir).ok).toBe(true);
});

test("one that others own, may write to or lead elsewhere is refused", () => {
  const refusal = { ok: false, error: expect.stringContaining("shorter path") };
  const open = join(folder, "open");
  mkdirSync(open);
  chmodSync(open, 0o777);
  expect(takeSocketDir(open)).toEqual(refusal);
  const own = join(folder, "own");
  mkdirSync(own, { mode: 0o700 });
  expect(takeSocketDir(own, statSync(own).uid + 1)).toEqual(refusal);
  const link = join(folder, "link");
  symlinkSync(own, link);
  expect(takeSocketDir(link)).toEqual(refusal);
});
