import { err, ok, type Result } from "../shared/result.ts";
import type { HeaderList, Refusal, RequestHead } from "./types.ts";

export type RefusalCause = Pick<Refusal, "status" | "reason" | "detail">;

export interface CheckedRequest {
  readonly head: RequestHead;
  /** `expect: 100-continue` of an HTTP/1.1 client. */
  readonly expectsContinue: boolean;
  readonly keepAlive: boolean;
}

/** What the parser leaves to us (RFC 9112): one host, one length, a target that means one thing. */
export function checkRequest(parsed: {
  readonly method: string;
  readonly target: string;
  readonly version: "1.0" | "1.1";
  readonly headers: HeaderList;
  readonly keepAlive: boolean;
  readonly upgrade: boolean;
}): Result<CheckedRequest, RefusalCause> {
  const { method, target, version, headers } = parsed;
  let host: string | null = null;
  let length: string | null = null;
  let coding: string | null = null;
  let expect: string | null = null;
  let upgrade = "";
  for (const [name, value] of headers) {
    switch (name.length) {
      case 4:
        if (name.toLowerCase() !== "host") break;
        if (host !== null) return refuse(400, "host", "The Host field was sent more than once.");
        host = value;
        break;
      case 6:
        if (name.toLowerCase() === "expect") expect = value.toLowerCase();
        break;
      case 7:
        if (name.toLowerCase() === "upgrade") upgrade += value.toLowerCase();
        break;
      case 14:
        if (name.toLowerCase() !== "content-length") break;
        if (length !== null) return refuse(400, "ambiguous-length", "Content-Length was sent more than once.");
        length = value;
        break;
      case 17:
        if (name.toLowerCase() !== "transfer-encoding") break;
        if (coding !== null) return refuse(400, "transfer-encoding", "Transfer-Encoding was sent more than once.");
        coding = value.toLowerCase();
        break;
    }
  }
  if (coding !== null) {
    if (length !== null) return refuse(400, "ambiguous-length", "Both Content-Length and Transfer-Encoding were sent.");
    if (version === "1.0") return refuse(400, "transfer-encoding", "HTTP/1.0 has no Transfer-Encoding.");
    if (coding !== "chunked")
      return refuse(501, "transfer-encoding", 'Only Transfer-Encoding "chunked" is understood.');
  }
  if (length !== null && !/^[0-9]{1,15}$/.test(length)) {
    return refuse(400, "ambiguous-length", "Content-Length is no number.");
  }
  if (method === "CONNECT") return refuse(405, "target-form", "This is no tunnel for CONNECT.");
  if (host === null && version === "1.1") return refuse(400, "host", "The Host field is missing.");
  if (host !== null && !HOST.test(host)) return refuse(400, "host", "The Host field is not a host and port.");
  if (expect !== null && expect !== "100-continue" && version === "1.1") {
    return refuse(417, "expectation", 'Only "100-continue" can be expected.');
  }

  let form: RequestHead["form"] = "origin";
  let path = target;
  if (target.charCodeAt(0) !== SLASH) {
    const absolute = ABSOLUTE.exec(target);
    if (absolute === null) return refuse(400, "target-form", "The request's target is neither a path nor an http URL.");
    const authority = absolute[1] ?? "";
    if (!HOST.test(authority) || (host !== null && authority.toLowerCase() !== host.toLowerCase())) {
      return refuse(400, "host", "The target's authority is not the Host field's.");
    }
    form = "absolute";
    host = authority;
    const rest = absolute[2] ?? "";
    path = rest.charCodeAt(0) === SLASH ? rest : `/${rest}`;
  }
  if (!PATH.test(path)) return refuse(400, "target-form", "The path contains characters that it can't have.");

  const bodyBytes = length === null ? null : Number(length);
  const body = coding !== null || (bodyBytes !== null && bodyBytes > 0) ? "stream" : "none";
  const websocket =
    parsed.upgrade && upgrade === "websocket" && version === "1.1" && method === "GET" && body === "none";
  return ok({
    head: {
      method,
      target,
      form,
      path,
      host: host ?? "",
      version,
      headers,
      body,
      bodyBytes,
      upgrade: websocket ? "websocket" : null,
    },
    expectsContinue: expect !== null && version === "1.1" && body === "stream",
    keepAlive: parsed.keepAlive,
  });
}

const SLASH = 47;
/** A name, an IPv4 address or a bracketed IPv6 address, and a port. No user information, no empty host, no percent codes. */
const HOST = /^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i;
const ABSOLUTE = /^https?:\/\/([^/?#]*)(.*)$/i;
/** Visible US-ASCII without "#", which no request-target has. */
const PATH = /^\/[\x21\x22\x24-\x7e]*$/;

const refuse = (status: Refusal["status"], reason: Refusal["reason"], detail: string) =>
  err<RefusalCause>({ status, reason, detail });
