import type { FrontRoute } from "../protocol/node-channel.ts";
import type { EdgePolicy } from "./edge-policy.ts";
import { isOpen, requirementOf } from "./access.ts";
import type { TenantRoute } from "./record.ts";
import { isUnderPrefix } from "./route.ts";

/**
 * What a master may send to a node without asking the edge. A master decides nothing: who may come in, how often and what is said about it is
 * the edge's business, so every route with any rule goes there.
 */

/** Whether the edge would let everybody through to the service, and add nothing. */
export function isOpenRoute(route: TenantRoute): boolean {
  return (
    route.to.kind === "service" &&
    isOpen(requirementOf(route)) &&
    isAbsent(route.roles) &&
    isAbsent(route.network) &&
    isAbsent(route.limits) &&
    isAbsent(route.cors)
  );
}

/**
 * The routes that a master is told of; none when the tenant has rules for all of its visitors. A route that is not open is named only where an
 * open one would catch its paths; all other paths go to the edge anyway. `http2`: names of services that speak it; default: none.
 */
export function frontRoutes(
  routes: readonly TenantRoute[],
  policy: EdgePolicy | undefined,
  http2: ReadonlySet<string> = new Set(),
): FrontRoute[] {
  if (policy !== undefined && hasRulesForAll(policy)) return [];
  const open = routes.filter(isOpenRoute);
  const isBelowOpen = ({ prefix }: TenantRoute): boolean => open.some((one) => isUnderPrefix(prefix, one.prefix));
  return routes.flatMap((route): FrontRoute[] => {
    const { prefix, to } = route;
    if (!isOpenRoute(route)) return isBelowOpen(route) ? [{ prefix, to: "edge" }] : [];
    const firstByteMs = route.timeouts?.firstByteMs ?? null;
    const isCutOff = route.rewrite?.prefix !== undefined && prefix !== "/";
    return [
      {
        prefix,
        to: "node",
        ...(firstByteMs !== null && { firstByteMs }),
        ...(to.kind === "service" && http2.has(to.service) && { h2c: true }),
        ...(isCutOff && { forwardedPrefix: prefix }),
      },
    ];
  });
}

/** Passwords and tokens say something about protected routes only. What is not known here counts as a rule. */
const hasRulesForAll = ({ password: _password, tokens: _tokens, ...rules }: EdgePolicy): boolean =>
  Object.values(rules).some((rule) => rule !== null && rule !== undefined && rule !== false);

const isAbsent = (rule: unknown): boolean => rule === null || rule === undefined;
