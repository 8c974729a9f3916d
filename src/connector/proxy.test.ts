import { expect, test } from "vitest";
import { proxyFor } from "./proxy.ts";

const relay = new URL("https://relay.example.com");
const proxy = (env: Record<string, string>, url = relay) => {
  const found = proxyFor(url, env);
  return found.ok ? (found.value?.url.href ?? null) : found.error;
};

test("HTTPS_PROXY is used for a secure relay, small letters first", () => {
  expect(proxy({ HTTPS_PROXY: "http://proxy:3128" })).toBe("http://proxy:3128/");
  expect(proxy({ HTTPS_PROXY: "http://big", https_proxy: "small:3128" })).toBe("http://small:3128/");
  expect(proxy({ ALL_PROXY: "http://all:1" })).toBe("http://all:1/");
  expect(proxy({ HTTP_PROXY: "http://plain:1" })).toBe(null);
  expect(proxy({ HTTPS_PROXY: " " })).toBe(null);
});

test("what can't be used is an error that says what to write, never with the password", () => {
  expect(proxy({ HTTPS_PROXY: "socks5://user:secret@x:1" })).toMatch(/^HTTPS_PROXY names a socks5 proxy.*http:/);
  expect(proxy({ all_proxy: "http://user:secret@x:99999" })).toMatch(/^all_proxy is not the address of a proxy.*http:/);
  expect(proxy({ https_proxy: "http://user:secret%@x:1" })).toMatch(/^https_proxy: .*%25/);
  expect(proxy({ HTTPS_PROXY: "socks5://x:1" }, new URL("https://127.0.0.1"))).toBe(null);
  for (const bad of ["socks5://u:secret@x", "http://u:secret@x:99999", "http://u:secret%@x"])
    expect(proxy({ HTTPS_PROXY: bad })).not.toContain("secret");
});

test("NO_PROXY takes names, suffixes, ports and everything", () => {
  const off = (list: string, url = relay) => proxy({ HTTPS_PROXY: "http://p:1", NO_PROXY: list }, url) === null;
  expect(off("*")).toBe(true);
  expect(off("other.org, example.com")).toBe(true);
  expect(off(".example.com")).toBe(true);
  expect(off("*.example.com")).toBe(true);
  expect(off("relay.example.com:443")).toBe(true);
  expect(off("relay.example.com:8443")).toBe(false);
  expect(off("ample.com")).toBe(false);
  expect(off("")).toBe(false);
  expect(off("[2001:db8::1]", new URL("https://[2001:db8::1]/"))).toBe(true);
});

test("loopback never goes through a proxy", () => {
  const env = { HTTPS_PROXY: "http://p:1", http_proxy: "http://p:1" };
  expect(proxy(env, new URL("http://relay.causeway.localhost:8787"))).toBe(null);
  expect(proxy(env, new URL("https://127.0.0.1"))).toBe(null);
});
