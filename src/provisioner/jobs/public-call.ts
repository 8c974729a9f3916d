import { destinationOf, mayCall } from "../../policy/public-address.ts";
import { readCallAnswer } from "../../protocol/call-answer.ts";
import type { CallAnswer } from "../../protocol/jobs.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import type { DnsLookup } from "../dns-over-https.ts";
import type { PublicCall } from "./call-item.ts";

/**
 * A call to an address that a tenant's operator named. Its name is resolved first, and nothing is sent unless all of its addresses are public
 * (or allowed by the platform's operator). Redirects are not followed: they could lead anywhere.
 */
export function createPublicCall(
  dns: DnsLookup,
  fetcher: (url: string, init: RequestInit) => Promise<Response>,
  allowed: readonly string[],
): (call: PublicCall) => Promise<Result<CallAnswer, string>> {
  return async ({ url, method, headers, body, timeoutMs }) => {
    const destination = destinationOf(url, allowed);
    if (destination.kind === "refused") return err(`the address may not be called: ${destination.reason}`);
    if (destination.kind === "resolve") {
      const [v4, v6] = await Promise.all([dns(destination.name, "A"), dns(destination.name, "AAAA")]);
      if (!v4.ok) return err(`the address can't be checked: ${v4.error}`);
      if (!v6.ok) return err(`the address can't be checked: ${v6.error}`);
      const addresses = [...v4.value.addresses, ...v6.value.addresses];
      if (addresses.length === 0) return err(`${destination.name} has no address`);
      if (!mayCall(addresses, allowed))
        return err("the address may not be called: its name leads to an address that is not public");
    }
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const response = await fetcher(url, { method, headers: headers.map(pair), body, redirect: "manual", signal });
      return ok(await readCallAnswer(response));
    } catch (error) {
      const late = error instanceof Error && error.name === "TimeoutError";
      return err(late ? `no answer within ${timeoutMs / 1_000} s` : "it can't be reached");
    }
  };
}

const pair = ([name, value]: readonly [string, string]): [string, string] => [name, value];
