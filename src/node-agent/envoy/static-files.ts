import { join } from "node:path";
import type { PublicJwks } from "../../protocol/jwk.ts";
import type { NodeCredentials } from "../config.ts";
import type { AgentPaths } from "../paths.ts";
import type { Role } from "../role.ts";
import { replaceIfChanged } from "./files.ts";
import { LISTENERS_FILE, PROOF_FILTER_FILE, renderProofFilter } from "./static.ts";

/** The files that Envoy watches, but for its secrets. */
export const writeListeners = (role: Role, { envoyPaths }: AgentPaths): Promise<boolean> =>
  replaceIfChanged(join(envoyPaths.listenersDir, LISTENERS_FILE), JSON.stringify(role.listeners()), 0o600);

export const writeProofFilter = (
  { nodeId }: NodeCredentials,
  { envoyPaths }: AgentPaths,
  { keys }: PublicJwks,
): Promise<boolean> =>
  replaceIfChanged(
    join(envoyPaths.filtersDir, PROOF_FILTER_FILE),
    JSON.stringify(renderProofFilter(nodeId, keys, keys.map(({ kid }) => kid).join(","))),
    0o600,
  );
