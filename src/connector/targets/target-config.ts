import { NAME_PROBLEM_TEXT, parseTarget } from "../../policy/names.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { TARGET_ANSWER_TIMEOUT_MS } from "../limits.ts";

/** An in-process target: gets a request, gives a response; bodies stream both ways. The signal fires when the visitor is gone. */
export type TargetFunction = (request: Request, signal: AbortSignal) => Promise<Response> | Response;

export type TargetConfig =
  | WebTargetConfig
  /** Debug targets: `echo` sends back what it gets (bodies, WebSocket messages), `ping` answers PONG. */
  | { readonly kind: "echo" | "ping"; readonly name: string }
  | { readonly kind: "function"; readonly name: string; readonly handle: TargetFunction };

export interface WebTargetConfig {
  readonly kind: "web";
  readonly name: string;
  /** http or https; its path is put in front of every request's. */
  readonly url: URL;
  /** Until the response head, in milliseconds; a shorter deadline of the request wins. */
  readonly timeoutMs: number;
}

/**
 * `name=url`: an http or https URL, or `debug:echo`, `debug:ping`. `echo` and `ping` alone are short for those. A fragment carries options
 * of ours, since it is never sent to a server: `demo=http://127.0.0.1:3000/base#timeout=30` (seconds).
 */
export function parseTargetOption(text: string): Result<TargetConfig, string> {
  const at = text.indexOf("=");
  const name = at === -1 ? text : text.slice(0, at);
  const valid = parseTarget(name);
  if (!valid.ok) return err(`target "${name}": ${NAME_PROBLEM_TEXT[valid.error]}`);
  if (at === -1) {
    if (name === "echo" || name === "ping") return ok({ kind: name, name });
    return err(`target "${name}" needs an address: ${name}=http://127.0.0.1:3000`);
  }
  const address = text.slice(at + 1);
  if (address === "debug:echo") return ok({ kind: "echo", name });
  if (address === "debug:ping") return ok({ kind: "ping", name });
  return parseWebTarget(name, address);
}

function parseWebTarget(name: string, address: string): Result<TargetConfig, string> {
  if (!URL.canParse(address)) return err(`target "${name}": its address is not a URL`);
  const url = new URL(address);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return err(`target "${name}": its address must be an http or https URL, debug:echo or debug:ping`);
  }
  if (url.username !== "" || url.password !== "")
    return err(`target "${name}": a URL with a password is not supported`);
  if (url.search !== "") return err(`target "${name}": its address must not have a query`);
  const options = new URLSearchParams(url.hash.slice(1));
  url.hash = "";
  let timeoutMs = TARGET_ANSWER_TIMEOUT_MS;
  for (const [option, value] of options) {
    const seconds = Number(value);
    if (option !== "timeout") return err(`target "${name}": unknown option "${option}"`);
    if (!(seconds > 0 && seconds <= 86_400)) return err(`target "${name}": timeout is in seconds, up to 86400`);
    timeoutMs = Math.ceil(seconds * 1000);
  }
  return ok({ kind: "web", name, url, timeoutMs });
}
