import { describe, expect, test } from "vitest";
import { createHosts, hostProblem } from "./hosts.ts";

const hosts = createHosts(["example.com"], 10);
/** `authority`: what the runtime made of Host and target. */
const problem = (header: string | null, authority: string): string | null =>
  hostProblem(header, authority, hosts.read(authority));

describe("a request's host", () => {
  test.each([
    ["acme.example.com", "acme.example.com"],
    ["acme.example.com:8787", "acme.example.com:8787"],
    ["ACME.example.com", "acme.example.com"],
    ["acme.example.com:443", "acme.example.com"],
    ["192.0.2.1", "192.0.2.1"],
    ["[::1]:8787", "[::1]:8787"],
    [null, "acme.example.com"],
  ])("%s, read as %s, is fine", (header, authority) => expect(problem(header, authority)).toBeNull());

  test.each([
    ["acme.example.com", "globex.example.com", "two different hosts"],
    ["acme.example.com/app", "acme.example.com", "not a host"],
    ["acme%2eexample.com", "acme%2eexample.com", "not a host"],
    // `OPTIONS * HTTP/1.1`, as workerd reads it.
    ["acme.example.com", "acme.example.com*", "neither a path nor an address"],
    ["acme.example.com:8787", "acme.example.com:8787*", "neither a path nor an address"],
    ["acme.example.com", "192.0.2.1", "neither a path nor an address"],
  ])("%s, read as %s, is refused", (header, authority, why) => expect(problem(header, authority)).toContain(why));
});
