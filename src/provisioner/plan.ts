import type { StepName } from "../db/operations.ts";
import type { Step } from "./step.ts";
import { activate } from "./steps/activate.ts";
import { chooseNextNode, chooseNode } from "./steps/choose-node.ts";
import { checkHost } from "./steps/check-host.ts";
import { credentials, publishConnector, removeConnector, removeConnectors } from "./steps/connectors.ts";
import { dropSchema, forget, removeFromNode, removeMembers, withdrawHost } from "./steps/delete-tenant.ts";
import { drainLane } from "./steps/drain-lane.ts";
import { drainNode } from "./steps/drain-node.ts";
import { fillMasters } from "./steps/fill-masters.ts";
import { frontHosts, removeFronts } from "./steps/fronts.ts";
import { drainOldNode, leaveNode, switchNode } from "./steps/move-tenant.ts";
import { publishJobs, removeJobs } from "./steps/publish-jobs.ts";
import { publishMaintenance } from "./steps/publish-maintenance.ts";
import { publishNode } from "./steps/publish-node.ts";
import { publishSettingsStep } from "./steps/publish-settings.ts";
import { publish } from "./steps/publish.ts";
import { push, pushNext, settleNode } from "./steps/push.ts";
import { removeNode } from "./steps/remove-node.ts";
import { reserveHost } from "./steps/reserve-host.ts";
import { dropNextLogin, newLogin, retireLogin, switchLogin } from "./steps/rotate-login.ts";
import { schema } from "./steps/schema.ts";
import { settleDomains } from "./steps/settle-domains.ts";
import { settleLanes } from "./steps/settle-lanes.ts";
import { settleServices } from "./steps/settle-services.ts";
import { settleHosts, withdrawOldHosts } from "./steps/tenant-hosts.ts";

/** What does each step of src/db/operations.ts, PLANS. */
const STEPS: Readonly<Record<StepName, Step>> = {
  "reserve-host": reserveHost,
  schema,
  "choose-node": chooseNode,
  push,
  credentials,
  publish,
  activate,
  "withdraw-host": withdrawHost,
  "remove-from-node": removeFromNode,
  "remove-fronts": removeFronts,
  "remove-connectors": removeConnectors,
  "remove-members": removeMembers,
  "drop-schema": dropSchema,
  forget,
  "publish-connector": publishConnector,
  "remove-connector": removeConnector,
  "publish-settings": publishSettingsStep,
  "publish-node": publishNode,
  "remove-node": removeNode,
  "publish-maintenance": publishMaintenance,
  "publish-jobs": publishJobs,
  "remove-jobs": removeJobs,
  "drain-lane": drainLane,
  "withdraw-old-hosts": withdrawOldHosts,
  "front-hosts": frontHosts,
  "settle-hosts": settleHosts,
  "check-host": checkHost,
  "settle-domains": settleDomains,
  "settle-lanes": settleLanes,
  "settle-node": settleNode,
  "settle-services": settleServices,
  "new-login": newLogin,
  "switch-login": switchLogin,
  "retire-login": retireLogin,
  "drop-next-login": dropNextLogin,
  "choose-next-node": chooseNextNode,
  "push-next": pushNext,
  "switch-node": switchNode,
  "drain-old-node": drainOldNode,
  "leave-node": leaveNode,
  "drain-node": drainNode,
  "fill-masters": fillMasters,
};

const steps: ReadonlyMap<string, Step> = new Map(Object.entries(STEPS));

/** Null for a name that this version does not know: written by a newer one. */
export const stepByName = (name: string): Step | null => steps.get(name) ?? null;
