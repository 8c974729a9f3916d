/**
 * The bare proxy: what a Worker costs that fetches the origin and does nothing else. It takes the place of the edge router, so it
 * calls what the edge would call, with the same path. `HEADERS` (a JSON object) is added to the request: the proof that a node wants.
 */
interface Env {
  readonly ORIGIN_URL: string;
  readonly HEADERS: Readonly<Record<string, string>>;
}

export default {
  fetch(request: Request, env: Env): Promise<Response> {
    const path = request.url.slice(request.url.indexOf("/", "http://".length));
    const outbound = new Request(env.ORIGIN_URL + path, request);
    for (const [name, value] of Object.entries(env.HEADERS)) outbound.headers.set(name, value);
    return fetch(outbound);
  },
};
