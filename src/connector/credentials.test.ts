import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { exposureOf, parseCredentials, readCredentials } from "./credentials.ts";

const secret = "d".repeat(43);
const good = {
  relayUrl: "https://relay.example.com",
  tenant: "acme",
  connector: "plant-1",
  keyId: "key_1",
  privateKey: { kty: "OKP", crv: "Ed25519", x: "x".repeat(43), d: secret },
};

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), "causeway-credentials-"))));
afterEach(() => rmSync(folder, { recursive: true }));

function written(content: string, mode: number): string {
  const path = join(folder, "credentials.json");
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

test("a private file is read", () => {
  expect(readCredentials(written(JSON.stringify(good), 0o600))).toEqual({
    ok: true,
    value: { credentials: good, warning: null },
  });
});

test("a file that the group can read warns, one that others can read or change is refused", () => {
  expect(readCredentials(written(JSON.stringify(good), 0o640))).toMatchObject({
    ok: true,
    value: { warning: expect.stringContaining("chmod 600") },
  });
  for (const mode of [0o604, 0o644, 0o620, 0o666]) {
    expect(readCredentials(written(JSON.stringify(good), mode))).toMatchObject({
      ok: false,
      error: expect.stringContaining("chmod 600"),
    });
  }
  expect(exposureOf(0o100600)).toBe("private");
});

test("errors name what is wrong and never a value", () => {
  expect(parseCredentials("{")).toEqual({ ok: false, error: "it is not JSON" });
  const broken = parseCredentials(
    JSON.stringify({ ...good, keyId: "", privateKey: { ...good.privateKey, x: secret + "1" } }),
  );
  expect(broken).toEqual({ ok: false, error: "check keyId, privateKey.x" });
  expect(readCredentials(join(folder, "absent"))).toMatchObject({
    ok: false,
    error: expect.stringContaining("ENOENT"),
  });
});
