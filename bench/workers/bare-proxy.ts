/**
 * The bare proxy: what a Worker costs that fetches its origin and does nothing else. It takes the place of the edge router, so its
 * origin is what the edge would fetch, with the same path and the request's own headers.
 */
interface Env {
  readonly ORIGIN_URL: string;
}

export default {
  fetch(request: Request, env: Env): Promise<Response> {
    const path = request.url.slice(request.url.indexOf("/", "http://".length));
    return fetch(new Request(env.ORIGIN_URL + path, request));
  },
};
