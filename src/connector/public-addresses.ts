import { CATCH_ALL } from "../policy/names.ts";

/** So many are named in one line of the log. */
const NAMED_MAX = 20;

/**
 * Where visitors find the targets, by the rule of hosts `<target>--<tenant>.<base>`: target to address, the first 20. Empty where the base
 * can't be told from here: a relay whose host is not `relay.<base>`, a tenant of another cluster.
 */
export function publicAddresses(relayUrl: URL, tenant: string, targets: readonly string[]): Record<string, string> {
  const base = /^relay\.(.+)$/.exec(relayUrl.host)?.[1];
  if (base === undefined || tenant.includes("@")) return {};
  const named = targets.filter((name) => name !== CATCH_ALL).slice(0, NAMED_MAX);
  return Object.fromEntries(named.map((name) => [name, `${relayUrl.protocol}//${name}--${tenant}.${base}/`]));
}
