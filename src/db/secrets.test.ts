import { expect, test } from "vitest";
import { deriveSealingKey, importSealingKey, macOf, newSecret, open, seal, sha256Hex } from "./secrets.ts";

const KEY = btoa("0123456789abcdef0123456789abcdef");

test("what is sealed opens under the same key and context only", async () => {
  const key = await importSealingKey(KEY);
  const sealed = await seal(key, "pä$$word", "ten_1/database");
  expect(sealed).toMatch(/^v1\.[\w-]{16}\.[\w-]+$/);
  expect(sealed).not.toContain("word");
  expect(await open(key, sealed, "ten_1/database")).toBe("pä$$word");
  expect(await open(key, sealed, "ten_2/database")).toBeNull();
  expect(await open(await deriveSealingKey("another", "purpose"), sealed, "ten_1/database")).toBeNull();
  expect(await open(key, `${sealed.slice(0, -2)}AA`, "ten_1/database")).toBeNull();
  for (const damaged of ["", "v1", "v1.a.b", "v2.a.b", "nonsense"])
    expect(await open(key, damaged, "ten_1/database")).toBeNull();
});

test("the same plaintext is sealed differently every time", async () => {
  const key = await importSealingKey(KEY);
  expect(await seal(key, "x", "c")).not.toBe(await seal(key, "x", "c"));
});

test("keys derived for different purposes are different", async () => {
  const sealed = await seal(await deriveSealingKey("secret", "a"), "x", "c");
  expect(await open(await deriveSealingKey("secret", "a"), sealed, "c")).toBe("x");
  expect(await open(await deriveSealingKey("secret", "b"), sealed, "c")).toBeNull();
});

test("a key of another length is refused", async () => {
  await expect(importSealingKey(btoa("short"))).rejects.toThrow("32 bytes");
});

test("hashes and macs are what others compute", async () => {
  expect(await sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  // RFC 4231, test case 2
  expect(await macOf("Jefe", "what do ya want for nothing?")).toBe("W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM");
  expect(newSecret()).toMatch(/^[\w-]{43}$/);
});
