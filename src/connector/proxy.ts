import { isLoopbackHost } from "../shared/localhost-lookup.node.ts";
import { err, ok, type Result } from "../shared/result.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export interface Proxy {
  readonly url: URL;
  /** That named it. */
  readonly variable: string;
}

/**
 * The HTTP proxy for the relay's URL by HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, small letters first, as curl has them; null for a
 * direct connection. Loopback never goes through a proxy. Upper-case HTTP_PROXY is ignored like everywhere (a CGI header could set it).
 * One that can't be used is an error: a connection around it would fail for reasons that nobody finds.
 */
export function proxyFor(relay: URL, env: Environment): Result<Proxy | null, string> {
  if (isLoopbackHost(relay.hostname) || bypassed(relay, env["no_proxy"] ?? env["NO_PROXY"] ?? "")) return ok(null);
  const secure = relay.protocol === "https:" || relay.protocol === "wss:";
  const variable = [...(secure ? ["https_proxy", "HTTPS_PROXY"] : ["http_proxy"]), "all_proxy", "ALL_PROXY"].find(
    (name) => env[name] !== undefined,
  );
  const text = variable === undefined ? "" : (env[variable] ?? "").trim();
  if (variable === undefined || text === "") return ok(null);
  const withScheme = text.includes("://") ? text : `http://${text}`;
  const form = "write it as http://proxy.example:3128, or http://user:password@proxy.example:3128";
  if (!URL.canParse(withScheme)) return err(`${variable} is not the address of a proxy: ${form}`);
  const url = new URL(withScheme);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    return err(`${variable} names a ${url.protocol.slice(0, -1)} proxy, which is not known here: ${form}`);
  const readable = [url.username, url.password].every((part) => !/%(?![0-9A-Fa-f]{2})/.test(part));
  return readable ? ok({ url, variable }) : err(`${variable}: write the character % in user and password as %25`);
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
