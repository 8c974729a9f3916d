import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { bundleCli } from "../../src/cli/build/bundle-cli.ts";
import { freePort } from "../core/children.ts";
import { keepChild } from "../core/kept-child.ts";
import { newKey } from "../scenarios/keys.ts";
import type { Tunnel } from "./tunnel.ts";

const BASE_DOMAIN = "bench.localhost";
const TENANT = "bench";
const CONNECTOR = "plant";
const TARGET = "target";

/** Ours on Node: `causeway relay` with both lanes in one process, and the connector, both from the bundle that users install. */
export const nodeRelay: Tunnel = {
  key: "relay-node",
  title: "Causeway on Node: causeway relay → connector → origin",
  async start({ folder, origin, dial }) {
    const program = join(folder, "cli");
    await bundleCli(program);
    const [visitors, connectors] = [await freePort(), await freePort()];
    const dialled = await dial(connectors);
    const key = await newKey("bench-connector");
    const relayFile = join(folder, "relay.json"); // JSON is YAML
    const configuration = {
      listen: { visitors: `127.0.0.1:${visitors}`, connectors: `127.0.0.1:${connectors}` },
      baseDomains: [BASE_DOMAIN],
      // The peers write no access log either.
      accessLog: false,
      tenants: {
        [TENANT]: {
          routes: [{ prefix: "/", target: TARGET }],
          connectors: { [CONNECTOR]: { keys: [key.public], targets: [TARGET] } },
        },
      },
    };
    await writeFile(relayFile, JSON.stringify(configuration));
    const credentialsFile = join(folder, "connector.json");
    const credentials = {
      relayUrl: `http://relay.${BASE_DOMAIN}:${dialled}`,
      tenant: TENANT,
      connector: CONNECTOR,
      keyId: key.public.kid,
      privateKey: key.private,
    };
    await writeFile(credentialsFile, JSON.stringify(credentials), { mode: 0o600 });
    const start = (column: string, args: readonly string[]) =>
      keepChild(column, {
        name: column,
        folder,
        command: process.execPath,
        args: [join(program, "causeway.js"), ...args],
      });
    const relay = await start("relay", ["relay", "--config", relayFile]);
    const connector = await start("connector", [
      "connect",
      "--credentials",
      credentialsFile,
      "--target",
      `${TARGET}=${origin.url}`,
      // Nor a line for each request.
      "--audit",
      "none",
    ]);
    const headers = async () => ({ host: `${TENANT}.${BASE_DOMAIN}` });
    const url = `http://127.0.0.1:${visitors}/`;
    const stop = async (): Promise<void> => {
      await connector.stop();
      await relay.stop();
    };
    return {
      path: {
        key: this.key,
        title: this.title,
        kind: "subject",
        url,
        headers,
        processes: [relay.counted, connector.counted, origin.counted],
        originUrl: origin.url,
        bulkPaceBytesPerSecond: 100e6,
        parts: { server: relay, client: connector },
      },
      stop,
    };
  },
};
