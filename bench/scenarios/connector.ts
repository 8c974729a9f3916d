import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../src/cli/local/paths.ts";
import { connectorGrant } from "../../src/protocol/lane.ts";
import { startChild } from "../core/children.ts";
import { newKey } from "./keys.ts";
import { BASE_DOMAIN, type ObjectCall, type Product } from "./product.ts";
import { TENANT } from "./tenant.ts";
import type { Hop } from "./yardsticks.ts";

const CONNECTOR = { id: "con_bench", name: "plant" };
export const TARGET = "target";
const LANES = ["LANE_A", "LANE_B"] as const;

const onBothLanes = (method: string, args: readonly unknown[]): ObjectCall[] =>
  LANES.map((namespace) => ({ namespace, name: TENANT.id, method, args }));

/**
 * The real connector process with a key of its own, connected to both lanes of the product. It serves one target. Its sockets pass the
 * edge, as in the local stack; on Cloudflare they go straight to the relay's Workers.
 */
export async function startConnector(
  folder: string,
  product: Product,
  targetUrl: string,
  /** Port that it dials, where a longer way leads to the product. */
  relayPort = Number(new URL(product.url).port),
): Promise<Hop> {
  const key = await newKey("bench-connector");
  const grant = connectorGrant.parse({
    tenantId: TENANT.id,
    tenant: TENANT.slug,
    connectorId: CONNECTOR.id,
    name: CONNECTOR.name,
    revision: 1,
    disabled: false,
    keys: [key.public],
    targets: [TARGET],
  });
  await product.call(onBothLanes("putConnector", [grant]));
  const credentials = {
    relayUrl: `http://relay.${BASE_DOMAIN}:${relayPort}`,
    tenant: TENANT.slug,
    connector: CONNECTOR.name,
    keyId: key.public.kid,
    privateKey: key.private,
  };
  const file = join(folder, "connector.json");
  await writeFile(file, JSON.stringify(credentials), { mode: 0o600 });
  const child = await startChild({
    name: "connector",
    folder,
    command: process.execPath,
    args: [
      join(PACKAGE_ROOT, "src/cli/main.ts"),
      "connect",
      "--credentials",
      file,
      "--target",
      `${TARGET}=${targetUrl}`,
    ],
  });
  try {
    await child.until(async () => {
      const sessions = await product.call(onBothLanes("sessions", []));
      return sessions.every((onLane) => Array.isArray(onLane) && onLane.length === 1) ? true : null;
    });
  } catch (error) {
    await child.stop();
    throw error;
  }
  return { child, counted: { name: "connector", pid: child.pid }, url: targetUrl };
}
