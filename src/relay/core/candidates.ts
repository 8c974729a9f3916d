import type { ConnectorGrant } from "../../protocol/lane.ts";
import { CATCH_ALL } from "../../policy/names.ts";
import { finalRefusal, refusal, type LaneFailure } from "./failures.ts";
import type { Links, LiveLink } from "./links.ts";
import { pick } from "./pick.ts";
import { changesNothing, isEntitled } from "./rights.ts";
import type { BrokerPorts, BrokerRequest } from "./types.ts";

type Wanted = Pick<BrokerRequest, "target" | "method" | "body">;

/** Who may be asked for a target. Rights are looked at here, for every request, not only when the connector dialled (T15). */
export interface Candidates {
  /** The one to ask next, or why there is none. */
  choose(request: Wanted, tried: readonly LiveLink[]): LiveLink | LaneFailure;
  /** Whether a request for the target would be started now. */
  anyFor(target: string): boolean;
}

export function createCandidates(links: Links, ports: Pick<BrokerPorts, "grants" | "wallNow" | "random">): Candidates {
  const { grants, wallNow: now, random } = ports;
  /** The name under which connectors announce the target: its own, or the catch-all where none of them does. */
  const announcedAs = (target: string): string => {
    for (const link of links.all()) if (link.serving && link.targets.has(target)) return target;
    return CATCH_ALL;
  };
  /** A right is one to the name that was asked for, also where the catch-all serves it. */
  const serves = (link: LiveLink, target: string, announced: string, nowMs: number): ConnectorGrant | null => {
    if (!link.targets.has(announced) || !link.serving) return null;
    const grant = grants.get(link.connectorId);
    return grant !== undefined && isEntitled(grant, target, nowMs) ? grant : null;
  };
  const isReady = (link: LiveLink, announced: string): boolean => !link.unhealthy.has(announced) && hasRoom(link);

  /** Why nobody can take it, from the most telling reason to the least. */
  const absence = ({ target, method, body }: Wanted): LaneFailure => {
    const nowMs = now();
    const announced = announcedAs(target);
    let greeted = false;
    let readOnly = false;
    let healthy = false;
    let serving = false;
    for (const link of links.all()) {
      if (link.serving) greeted = true;
      const grant = serves(link, target, announced, nowMs);
      if (grant === null) continue;
      if (grant.readOnly && !changesNothing(method, body)) {
        readOnly = true;
        continue;
      }
      serving = true;
      if (!link.unhealthy.has(announced)) healthy = true;
    }
    if (healthy) return refusal("over-capacity", `The connectors of "${target}" are at their limits.`);
    if (serving) return refusal("no-connector", `The target "${target}" fails its health check.`);
    if (readOnly)
      return finalRefusal("forbidden", `The connector of "${target}" is read-only: nothing may be changed.`);
    const expected = [...grants.values()].some(
      (grant) => grant.targets?.includes(target) && isEntitled(grant, target, nowMs),
    );
    return greeted && !expected
      ? refusal("unknown-target", `No connector of this tenant serves the target "${target}".`)
      : refusal("no-connector", `No connector that serves "${target}" is online.`);
  };

  return {
    choose(request, tried) {
      const { target, method, body } = request;
      const nowMs = now();
      const announced = announcedAs(target);
      const found: LiveLink[] = [];
      for (const link of links.all()) {
        if (tried.includes(link) || !isReady(link, announced)) continue;
        const grant = serves(link, target, announced, nowMs);
        if (grant !== null && (!grant.readOnly || changesNothing(method, body))) found.push(link);
      }
      const awake = found.every(({ answering }) => answering) ? found : found.filter(({ answering }) => answering);
      return pick(awake.length > 0 ? awake : found, random) ?? absence(request);
    },
    anyFor(target) {
      const nowMs = now();
      const announced = announcedAs(target);
      for (const link of links.all()) {
        if (isReady(link, announced) && serves(link, target, announced, nowMs) !== null) return true;
      }
      return false;
    },
  };
}

const hasRoom = (link: LiveLink): boolean => link.inFlight < (link.session.peer?.limits.streams ?? 0);
