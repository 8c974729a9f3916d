import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

type Role = "connector" | "node-agent";

/** What each container runs; its arguments follow. */
const COMMAND: Record<Role, readonly string[]> = {
  connector: ["connect"],
  "node-agent": ["node", "run"],
};

/** A Docker build context but for `cli/` (the bundled command line): the image has Node, that, and a user without rights. */
export function writeContainerContext(role: Role, directory: string): void {
  mkdirSync(directory, { recursive: true });
  const entry = JSON.stringify(["node", "/opt/causeway/causeway.js", ...COMMAND[role]]);
  const dockerfile = [
    "# Made by `npm run build`; the base image is an argument so that a mirror or a pinned digest can take its place.",
    "ARG NODE_IMAGE=node:24-slim",
    "FROM ${NODE_IMAGE}",
    "COPY cli/ /opt/causeway/",
    "USER node",
    "WORKDIR /home/node",
    "STOPSIGNAL SIGTERM",
    `ENTRYPOINT ${entry}`,
    "",
  ];
  writeFileSync(join(directory, "Dockerfile"), dockerfile.join("\n"));
}
