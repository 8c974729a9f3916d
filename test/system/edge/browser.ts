import { request as httpRequest, type IncomingHttpHeaders } from "node:http";

/** A request over a socket of its own, with exactly this Host and path: what a URL-based client would tidy up arrives as it is. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

export interface Send {
  readonly host: string;
  readonly path?: string;
  readonly method?: string;
  readonly headers?: Record<string, string | string[]>;
  readonly body?: string | Buffer;
}

export function send(port: number, { host, path = "/", method = "GET", headers = {}, body }: Send): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      { host: "127.0.0.1", port, path, method, headers: { host, ...headers }, agent: false },
      (incoming) => {
        const chunks: Buffer[] = [];
        incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
        incoming.on("error", reject);
        incoming.on("end", () =>
          resolve({
            status: incoming.statusCode ?? 0,
            headers: incoming.headers,
            body: Buffer.concat(chunks).toString("utf8"),
          }),
        );
      },
    );
    outgoing.on("error", reject);
    outgoing.end(body);
  });
}

export const HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

/** As much of a browser as sign-in needs: a cookie jar by host (RFC 6265: host-only, Max-Age=0 deletes), forms, redirects one by one. */
export function createBrowser(port: number) {
  const jar = new Map<string, Map<string, string>>();

  async function visit(
    url: string,
    form?: Record<string, string>,
    extra: Record<string, string> = {},
  ): Promise<Answer> {
    const { host, hostname, pathname, search, origin } = new URL(url);
    const cookies = jar.get(hostname) ?? new Map<string, string>();
    jar.set(hostname, cookies);
    const headers: Record<string, string> = { accept: HTML, ...extra };
    if (cookies.size > 0) headers["cookie"] = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    if (form !== undefined) {
      headers["content-type"] = "application/x-www-form-urlencoded";
      headers["origin"] ??= origin;
    }
    const answer = await send(port, {
      host,
      path: pathname + search,
      method: form === undefined ? "GET" : "POST",
      headers,
      ...(form === undefined ? {} : { body: new URLSearchParams(form).toString() }),
    });
    for (const line of answer.headers["set-cookie"] ?? []) {
      const [, name = "", value = ""] = /^([^=]+)=([^;]*)/.exec(line) ?? [];
      if (/;\s*max-age=0\b/i.test(line)) cookies.delete(name);
      else cookies.set(name, value);
    }
    return answer;
  }

  return {
    visit,
    cookies: (hostname: string): ReadonlyMap<string, string> => jar.get(hostname) ?? new Map(),
    setCookie: (hostname: string, name: string, value: string) => {
      jar.set(hostname, new Map([...(jar.get(hostname) ?? []), [name, value]]));
    },
    /** Follows redirects; answers the last answer and every URL on the way. */
    async follow(url: string, form?: Record<string, string>): Promise<{ answer: Answer; urls: string[] }> {
      const urls = [url];
      let answer = await visit(url, form);
      for (let hops = 0; answer.headers.location !== undefined && hops < 10; hops++) {
        const next = new URL(answer.headers.location, urls.at(-1)).toString();
        urls.push(next);
        answer = await visit(next);
      }
      return { answer, urls };
    },
  };
}

/** Value of a hidden field of a form. */
export function hiddenField(html: string, name: string): string {
  const [, value = ""] = new RegExp(`name="${name}" value="([^"]*)"`).exec(html) ?? [];
  return value.replaceAll("&amp;", "&");
}
