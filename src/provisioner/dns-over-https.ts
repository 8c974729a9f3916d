import { decode, encode, RECURSION_DESIRED } from "@dnsquery/dns-packet";
import { isFetchableUrl } from "../policy/issuer-url.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { DNS_ANSWER_BYTES, DNS_TIMEOUT_MS } from "./limits.ts";

/** What a name has of a type. An empty list is an answer too: there is no such record. Names are lower case without the root's dot. */
export interface DnsAnswer {
  /** Strings of one TXT record joined, as RFC 7208, section 3.3, does it. */
  readonly txt: readonly string[];
  /** Name → what it is another name for. */
  readonly cnames: ReadonlyMap<string, string>;
  /** Of A and AAAA records, also of those that the name is another name for. */
  readonly addresses: readonly string[];
}

/** Asks a resolver. An error is its reason: nothing is known then. */
export type DnsLookup = (name: string, type: "TXT" | "CNAME" | "A" | "AAAA") => Promise<Result<DnsAnswer, string>>;

type Fetcher = (url: string, init: RequestInit) => Promise<Response>;

const MEDIA_TYPE = "application/dns-message";
const NO_ERROR = "NOERROR";
const NO_SUCH_NAME = "NXDOMAIN";

/**
 * DNS over HTTPS (RFC 8484), wire format by POST: nothing between here and the resolver caches it. `resolverUrl`: https, or http to this
 * machine; empty: there is none.
 */
export function createDnsLookup(resolverUrl: string, fetcher: Fetcher): DnsLookup {
  if (resolverUrl === "")
    return async () => err("no DNS resolver is set (DNS_RESOLVER_URL; in the local stack CAUSEWAY_DNS_RESOLVER_URL)");
  if (!isFetchableUrl(resolverUrl)) return async () => err("the address of the DNS resolver must be https");
  return async (name, type) => {
    // RFC 8484, section 4.1: an id of 0.
    const question = encode({ type: "query", id: 0, flags: RECURSION_DESIRED, questions: [{ type, name }] });
    try {
      const response = await fetcher(resolverUrl, {
        method: "POST",
        headers: { accept: MEDIA_TYPE, "content-type": MEDIA_TYPE },
        body: Uint8Array.from(question),
        redirect: "manual",
        signal: AbortSignal.timeout(DNS_TIMEOUT_MS),
      });
      if (response.status !== 200) {
        await response.body?.cancel();
        return err(`the DNS resolver answered with status ${response.status}`);
      }
      const bytes = await boundedBytes(response);
      return bytes === null ? err("the DNS resolver's answer is too long") : readAnswer(bytes, name, type);
    } catch (error) {
      const late = error instanceof Error && error.name === "TimeoutError";
      return err(late ? "the DNS resolver did not answer in time" : "the DNS resolver can't be reached");
    }
  };
}

function readAnswer(bytes: Uint8Array, name: string, type: string): Result<DnsAnswer, string> {
  try {
    const { rcode, answers, questions, flag_qr: isResponse } = decode(bytes);
    const [asked] = questions ?? [];
    if (isResponse !== true || asked?.type !== type || canonical(asked.name) !== canonical(name))
      return err("the DNS resolver answered another question");
    // SERVFAIL, REFUSED and the like: broken DNSSEC, servers of the domain that are away. None of them says that there is no record.
    if (rcode !== NO_ERROR && rcode !== NO_SUCH_NAME)
      return err(`the DNS resolver answered ${String(rcode)} for ${name}`);
    const txt: string[] = [];
    const cnames = new Map<string, string>();
    const addresses: string[] = [];
    for (const answer of answers ?? []) {
      if (answer.type === "TXT") txt.push(textOf(answer.data));
      else if (answer.type === "CNAME") cnames.set(canonical(answer.name), canonical(answer.data));
      else if (answer.type === "A" || answer.type === "AAAA") addresses.push(answer.data);
    }
    return ok({ txt, cnames, addresses });
  } catch {
    return err("the DNS resolver's answer is no DNS message");
  }
}

const canonical = (name: string): string => name.toLowerCase().replace(/\.$/, "");

function textOf(data: string | Uint8Array | readonly (string | Uint8Array)[]): string {
  const parts = Array.isArray(data) ? data : [data];
  return parts.map((part) => (typeof part === "string" ? part : new TextDecoder().decode(part))).join("");
}

async function boundedBytes(response: Response): Promise<Uint8Array | null> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.byteLength;
    if (length > DNS_ANSWER_BYTES) return null;
    chunks.push(chunk);
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
