import type { z } from "zod";
import { CATCH_ALL, NAME_PROBLEM_TEXT, parseTarget as parseTargetName } from "../../policy/names.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { placedWords } from "../../shared/input-words.ts";
import { readTargetFiles } from "./target-files.ts";
import {
  parsePushedSettings,
  parseSiteSettings,
  type HeaderRules,
  type HealthSettings,
  type TlsSettings,
  type WebSettings,
} from "./target-settings.ts";

/** An in-process target: gets a request, gives a response; bodies stream both ways. The signal fires when the visitor is gone. */
export type TargetFunction = (request: Request, signal: AbortSignal) => Promise<Response> | Response;

export type TargetConfig =
  | WebTargetConfig
  /** Debug targets: `echo` sends back what it gets (bodies, WebSocket messages), `ping` answers PONG. */
  | { readonly kind: "echo" | "ping"; readonly name: string }
  | { readonly kind: "function"; readonly name: string; readonly handle: TargetFunction };

export interface WebTargetConfig {
  readonly kind: "web";
  /** Or CATCH_ALL. */
  readonly name: string;
  /** http or https; its path is put in front of every request's. */
  readonly url: URL;
  /** Until the response head; a shorter deadline of the request wins. */
  readonly timeoutMs: number;
  /** TCP and TLS. */
  readonly connectTimeoutMs: number;
  /** Without a byte of an answer that has begun; null: for ever. */
  readonly idleTimeoutMs: number | null;
  /** Of the Host field: "target" is the URL's own, "preserve" the visitor's, else that name. */
  readonly host: string;
  /**
   * Of the Origin field of the visitor's own pages: "preserve" leaves it, "target" makes it the target's own address, "auto" does that only
   * to WebSockets that the target refuses otherwise.
   */
  readonly origin: "auto" | "preserve" | "target";
  /** Cut off a request's path where it is its beginning. */
  readonly stripPrefix: string | null;
  /** Requests and WebSockets at once; null: as many as come. */
  readonly maxConcurrent: number | null;
  readonly readOnly: boolean;
  /** How many redirects within the target are followed. */
  readonly followRedirects: number;
  readonly rewriteLocations: "off" | "origin" | "all";
  readonly requestHeaders: HeaderRules;
  readonly responseHeaders: HeaderRules;
  readonly health: HealthSettings | null;
  readonly tls: TlsSettings;
  /** File with `user:password`. */
  readonly basicAuth: string | null;
}

/** A target as somebody wrote it: `name=url#options`, or as settings of a file, whose paths are relative to `folder`. */
export type TargetSource = string | { readonly name: string; readonly settings: unknown; readonly folder: string };

/** Checked, its files too; null: it is disabled. Errors name settings, never their values. */
export function parseTarget(source: TargetSource): Result<TargetConfig | null, string> {
  const split = typeof source === "string" ? splitOption(source) : ok(source);
  if (!split.ok) return split;
  const { name, settings, folder } = split.value;
  const target = targetOf(name, settings, (input) => parseSiteSettings(input, folder));
  if (!target.ok || target.value?.kind !== "web") return target;
  const files = readTargetFiles(target.value);
  return files.ok ? target : err(`target "${name}": ${files.error}`);
}

/** What the console pushed: JSON, names to an URL or to settings. No files, no switched-off checks. Disabled ones are left out. */
export function parsePushedTargets(json: string): Result<TargetConfig[], string> {
  let document: unknown;
  try {
    document = JSON.parse(json);
  } catch {
    return err("the pushed targets are not JSON");
  }
  if (typeof document !== "object" || document === null || Array.isArray(document))
    return err("the pushed targets must be an object of names");
  const targets: TargetConfig[] = [];
  for (const [name, settings] of Object.entries(document)) {
    const target = targetOf(name, settings, parsePushedSettings);
    if (!target.ok) return target;
    if (target.value !== null) targets.push(target.value);
  }
  return ok(targets);
}

function targetOf(
  name: string,
  settings: unknown,
  parse: (input: unknown) => Result<WebSettings, readonly z.core.$ZodIssue[]>,
): Result<TargetConfig | null, string> {
  const valid = name === CATCH_ALL ? ok(name) : parseTargetName(name);
  if (!valid.ok) return err(`target "${name}": ${NAME_PROBLEM_TEXT[valid.error]}`);
  const withOptions = typeof settings === "string" ? splitUrl(settings) : settings;
  const checked = parse(withOptions);
  if (!checked.ok) {
    const words = checked.error.map((issue) => placedWords(issue));
    return err(`target "${name}": ${[...new Set(words)].join("; ")}`);
  }
  if (checked.value.disabled) return ok(null);
  const { url: address } = checked.value;
  if (address === "debug:echo") return ok({ kind: "echo", name });
  if (address === "debug:ping") return ok({ kind: "ping", name });
  const url = parseAddress(address);
  return url.ok ? ok(webTarget(name, url.value, checked.value)) : err(`target "${name}": ${url.error}`);
}

function webTarget(name: string, url: URL, settings: WebSettings): WebTargetConfig {
  const { host, stripPrefix, maxConcurrent, readOnly, followRedirects, rewriteLocations, health, basicAuth } = settings;
  return {
    kind: "web",
    name,
    url,
    timeoutMs: settings.timeout,
    connectTimeoutMs: settings.connectTimeout,
    idleTimeoutMs: settings.idleTimeout,
    host,
    origin: settings.origin,
    stripPrefix,
    maxConcurrent,
    readOnly,
    followRedirects,
    rewriteLocations: rewriteLocations === "off" || rewriteLocations === "all" ? rewriteLocations : "origin",
    requestHeaders: settings.requestHeaders,
    responseHeaders: settings.responseHeaders,
    health,
    tls: settings.tls,
    basicAuth,
  };
}

/**
 * `name=url`: an http or https URL, or `debug:echo`, `debug:ping`. `echo` and `ping` alone are short for those. A fragment carries the
 * settings, since it is never sent to a server: `demo=http://127.0.0.1:3000/base#timeout=30&tls.ca=site.pem`.
 */
function splitOption(text: string): Result<{ name: string; settings: unknown; folder: string }, string> {
  const at = text.indexOf("=");
  const name = at === -1 ? text : text.slice(0, at);
  const folder = process.cwd();
  // An address alone, which other tunnels take, has a "=" in its query at most.
  if (/^[a-z]+:\/\//i.test(text)) return err("a target needs a name before its address: web=http://127.0.0.1:3000");
  if (at !== -1) return ok({ name, settings: text.slice(at + 1), folder });
  if (name === "echo" || name === "ping") return ok({ name, settings: `debug:${name}`, folder });
  const valid = parseTargetName(name);
  if (!valid.ok) return err(`target "${name}": ${NAME_PROBLEM_TEXT[valid.error]}`);
  return err(`target "${name}" needs an address: ${name}=http://127.0.0.1:3000`);
}

interface Tree {
  [name: string]: string | Tree;
}
/** Without a prototype: names come from outside. */
const tree = (): Tree => {
  const empty: Tree = {};
  Object.setPrototypeOf(empty, null);
  return empty;
};

function splitUrl(text: string): Tree {
  const at = text.indexOf("#");
  if (at === -1) return { url: text };
  const settings = tree();
  settings["url"] = text.slice(0, at);
  for (const [option, value] of new URLSearchParams(text.slice(at + 1))) {
    const path = option.split(".");
    const last = path.pop() ?? "";
    let branch = settings;
    for (const part of path) {
      const next = Object.hasOwn(branch, part) ? branch[part] : undefined;
      branch = typeof next === "object" ? next : (branch[part] = tree());
    }
    branch[last] = value;
  }
  return settings;
}

function parseAddress(address: string): Result<URL, string> {
  if (!URL.canParse(address))
    return err("its address is not a URL: write it with scheme and port, as http://127.0.0.1:3000");
  const url = new URL(address);
  if (url.protocol !== "http:" && url.protocol !== "https:")
    return err("its address must be an http or https URL, as http://127.0.0.1:3000, or debug:echo, debug:ping");
  if (url.username !== "" || url.password !== "")
    return err("a password does not belong in the address: name a file with user:password in basicAuth");
  if (url.search !== "") return err("its address must not have a query");
  if (url.hash !== "") return err("its address must not have a fragment beside settings");
  return ok(url);
}
