import type { LookupAddress } from "node:dns";
import { expect, test } from "vitest";
import { isLoopbackHost, localhostLookup } from "./localhost-lookup.node.ts";

const resolve = (hostname: string, options: Parameters<typeof localhostLookup>[1]) =>
  new Promise<{ error: string | null; address: string | LookupAddress[]; family: number | undefined }>((done) =>
    localhostLookup(hostname, options, (error, address, family) =>
      done({ error: error?.code ?? null, address, family }),
    ),
  );

test("names under localhost are loopback without asking DNS", async () => {
  expect(await resolve("relay.causeway.localhost", {})).toEqual({ error: null, address: "127.0.0.1", family: 4 });
  expect(await resolve("A.LOCALHOST.", { family: 6 })).toEqual({ error: null, address: "::1", family: 6 });
  expect((await resolve("x.localhost", { all: true })).address).toEqual([
    { address: "127.0.0.1", family: 4 },
    { address: "::1", family: 6 },
  ]);
});

test("other names are the system's", async () => {
  expect((await resolve("127.0.0.1", {})).address).toBe("127.0.0.1");
});

test("loopback hosts are known by name and by address", () => {
  for (const host of ["localhost", "a.localhost", "127.0.0.1", "127.8.9.1", "[::1]"])
    expect(isLoopbackHost(host)).toBe(true);
  for (const host of ["localhost.example.com", "notlocalhost", "128.0.0.1", "127.0.0.1.example.com"]) {
    expect(isLoopbackHost(host)).toBe(false);
  }
});
