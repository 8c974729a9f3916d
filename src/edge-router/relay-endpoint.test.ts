import { describe, expect, test } from "vitest";
import { askRelayEndpoint, isRelayEndpoint } from "./relay-endpoint.ts";
import type { Fetch } from "./ports.ts";

const away: Fetch = () => Promise.reject(new Error("gone"));
const says =
  (status: number, text: string): Fetch =>
  async (request) =>
    new Response(`${text} ${await request.text()}`.trim(), { status });
const post = (path: string, body: string, headers: Record<string, string> = {}): Request =>
  new Request(`http://relay.causeway.localhost${path}`, { method: "POST", body, headers });
const token = (): Request => post("/token", "grant_type=x", { "content-length": "12" });

async function told(response: Promise<Response>): Promise<[number, string]> {
  const { status, body } = await response;
  return [status, body === null ? "" : await new Response(body).text()];
}

describe("a token, a pairing or the discovery document", () => {
  test("comes from lane a, and from b with the same body when a is away or fails", async () => {
    const b = says(200, "b");
    expect(await told(askRelayEndpoint(token(), { a: says(200, "a"), b }))).toEqual([200, "a grant_type=x"]);
    expect(await told(askRelayEndpoint(token(), { a: away, b }))).toEqual([200, "b grant_type=x"]);
    expect(await told(askRelayEndpoint(token(), { a: says(503, "a"), b }))).toEqual([200, "b grant_type=x"]);
  });

  test("is refused by a as by both: another lane's word is asked for only where it may be another", async () => {
    const b = says(200, "b");
    expect(await told(askRelayEndpoint(token(), { a: says(401, "a"), b }))).toEqual([401, "a grant_type=x"]);
    const unknown = new Request("http://relay.causeway.localhost/pair/par_1?tenant=acme");
    expect(await told(askRelayEndpoint(unknown, { a: says(404, "a"), b }))).toEqual([200, "b"]);
  });

  test("tells what a said when b is no better, and rejects when neither is there", async () => {
    expect((await askRelayEndpoint(token(), { a: says(503, "a"), b: away })).status).toBe(503);
    expect(await told(askRelayEndpoint(token(), { a: says(503, "a"), b: says(500, "b") }))).toEqual([
      503,
      "a grant_type=x",
    ]);
    await expect(askRelayEndpoint(token(), { a: away, b: away })).rejects.toThrow("neither");
  });

  test("with a body that can't be kept is sent once", async () => {
    let asked = 0;
    const b: Fetch = () => {
      asked += 1;
      return Promise.resolve(new Response(null));
    };
    await expect(askRelayEndpoint(post("/token", "unknown length"), { a: away, b })).rejects.toThrow("gone");
    expect(asked).toBe(0);
  });

  test("is known by its path", () => {
    const paths = ["/token", "/pair", "/pair/par_1", "/.well-known/relayserver-configuration", "/tokens", "/connect/a"];
    expect(paths.map(isRelayEndpoint)).toEqual([true, true, true, true, false, false]);
  });
});
