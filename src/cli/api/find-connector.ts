import type { z } from "zod";
import { CliError, EXIT } from "../frame/exit.ts";
import type { Api } from "./client.ts";
import { connector } from "./types.ts";

/** The connector with this name; a failure of the command when there is none. */
export async function findConnector(api: Api, tenant: string, name: string): Promise<z.infer<typeof connector>> {
  const path = `/connectors?tenant=${encodeURIComponent(tenant)}&q=${encodeURIComponent(name)}`;
  const found = (await api.list(path, connector)).find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new CliError(EXIT.failed, `${tenant} has no connector "${name}"`, "npx causeway connector list shows them.");
}

export const connectorPath = ({ id }: { id: string }): string => `/connectors/${encodeURIComponent(id)}`;
