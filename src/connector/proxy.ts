import { isLoopbackHost } from "../shared/localhost-lookup.node.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The HTTP proxy for the relay's URL by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, small letters first, as curl has them; null for a
 * direct connection. Loopback never goes through a proxy. Upper-case HTTP_PROXY is ignored like everywhere (a CGI header could set it).
 */
export function proxyFor(relay: URL, env: Environment): URL | null {
  if (isLoopbackHost(relay.hostname) || bypassed(relay, env["no_proxy"] ?? env["NO_PROXY"] ?? "")) return null;
  const secure = relay.protocol === "https:" || relay.protocol === "wss:";
  const all = env["all_proxy"] ?? env["ALL_PROXY"];
  const text = secure ? (env["https_proxy"] ?? env["HTTPS_PROXY"] ?? all) : (env["http_proxy"] ?? all);
  if (text === undefined || text.trim() === "") return null;
  const withScheme = text.includes("://") ? text : `http://${text}`;
  if (!URL.canParse(withScheme)) return null;
  const url = new URL(withScheme);
  return url.protocol === "http:" || url.protocol === "https:" ? url : null;
}

/** Entries: `*`, `example.com` (and everything below it), `.example.com`, each with an optional port; addresses literally. */
function bypassed(relay: URL, list: string): boolean {
  const host = relay.hostname.toLowerCase().replace(/\.$/, "");
  const port = relay.port === "" ? (/^(?:https|wss):$/.test(relay.protocol) ? "443" : "80") : relay.port;
  return list.split(/[\s,]+/).some((entry) => {
    if (entry === "*") return true;
    const [, name = "", wantedPort] = /^(\[[^\]]*\]|[^:]*)(?::([0-9]+))?$/.exec(entry.toLowerCase()) ?? [];
    const suffix = name.replace(/^\*?\./, "");
    if (suffix === "" || (wantedPort !== undefined && wantedPort !== port)) return false;
    return host === suffix || host.endsWith(`.${suffix}`);
  });
}
