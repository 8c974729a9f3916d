import { relayIssuersOf, publishedSettingsOf } from "../../db/relay-settings.ts";
import { relaySubject } from "../../db/operations.ts";
import { refreshIssuers } from "../issuer-keys.ts";
import { publishSettings } from "../lanes.ts";
import { DONE } from "../step.ts";
import type { Step } from "../step.ts";

/** Both lanes of the tenant know its relay settings, and the keys of the issuers that it trusts. */
export const publishSettingsStep: Step = async ({ ports, operation, commit }) => {
  const tenantId = relaySubject.tenantOf(operation.subjectId);
  // First what is known: limits must not wait for somebody else's server.
  const known = await commit((tx) => publishedSettingsOf(tx, tenantId));
  if (known === null) return DONE;
  await publishSettings(ports, known);
  const unread = (await relayIssuersOf(ports.db, tenantId)).filter(({ fetchedAt }) => fetchedAt === null);
  if (unread.length === 0) return DONE;
  const problems = await refreshIssuers(ports, unread, commit);
  const settings = await commit((tx) => publishedSettingsOf(tx, tenantId));
  if (settings !== null) await publishSettings(ports, settings);
  return problems.length === 0 ? DONE : { kind: "error", reason: problems.join("; ") };
};
