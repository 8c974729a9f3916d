import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort } from "../core/children.ts";
import { keepChild } from "../core/kept-child.ts";
import type { Tunnel } from "./tunnel.ts";

interface Ports {
  /** Where visitors come in. */
  readonly visitors: number;
  /** Where the server takes its client. */
  readonly control: number;
  /** What the client dials for that. */
  readonly dialled: number;
  readonly spare: number;
  readonly spare2: number;
  readonly origin: number;
}

interface Peer {
  readonly key: string;
  readonly title: string;
  readonly files: (ports: Ports) => Readonly<Record<string, string>>;
  readonly server: (ports: Ports, folder: string) => readonly [program: string, ...args: string[]];
  readonly client: (ports: Ports, folder: string) => readonly [program: string, ...args: string[]];
  /** Fixed by the program. */
  readonly controlPort?: number;
}

const HOST = "bench.local";

/** What users could pick instead, as far as it is on PATH. rathole and bore are byte pipes: they neither parse nor route HTTP. */
const PEERS: readonly Peer[] = [
  {
    key: "rathole",
    title: "rathole (byte pipe)",
    files: (ports) => ({
      "server.toml": `[server]\nbind_addr="127.0.0.1:${ports.control}"\ndefault_token="bench"\n[server.services.bench]\nbind_addr="127.0.0.1:${ports.visitors}"\n`,
      "client.toml": `[client]\nremote_addr="127.0.0.1:${ports.dialled}"\ndefault_token="bench"\n[client.services.bench]\nlocal_addr="127.0.0.1:${ports.origin}"\n`,
    }),
    server: (_ports, folder) => ["rathole", "--server", join(folder, "server.toml")],
    client: (_ports, folder) => ["rathole", "--client", join(folder, "client.toml")],
  },
  {
    key: "bore",
    title: "bore (byte pipe)",
    controlPort: 7835,
    files: () => ({}),
    server: () => ["bore", "server", "--bind-addr", "127.0.0.1", "--bind-tunnels", "127.0.0.1"],
    client: ({ origin, visitors }) => [
      "bore",
      "local",
      String(origin),
      "-l",
      "127.0.0.1",
      "--to",
      "127.0.0.1",
      "-p",
      String(visitors),
    ],
  },
  {
    key: "frp",
    title: "frp (HTTP tunnel, yamux and TLS)",
    files: (ports) => ({
      "frps.toml": `bindAddr="127.0.0.1"\nproxyBindAddr="127.0.0.1"\nbindPort=${ports.control}\nvhostHTTPPort=${ports.visitors}\nlog.level="error"\n`,
      "frpc.toml": `serverAddr="127.0.0.1"\nserverPort=${ports.dialled}\nlog.level="error"\nloginFailExit=false\n[[proxies]]\nname="b"\ntype="http"\nlocalIP="127.0.0.1"\nlocalPort=${ports.origin}\ncustomDomains=["${HOST}"]\n`,
    }),
    server: (_ports, folder) => ["frps", "-c", join(folder, "frps.toml")],
    client: (_ports, folder) => ["frpc", "-c", join(folder, "frpc.toml")],
  },
  {
    key: "piko",
    title: "piko (HTTP tunnel, yamux on WebSocket)",
    files: () => ({}),
    server: (ports) => [
      "piko",
      "server",
      `--proxy.bind-addr=127.0.0.1:${ports.visitors}`,
      `--upstream.bind-addr=127.0.0.1:${ports.control}`,
      `--admin.bind-addr=127.0.0.1:${ports.spare}`,
      `--gossip.bind-addr=127.0.0.1:${ports.spare2}`,
    ],
    client: (ports) => [
      "piko",
      "agent",
      "http",
      "bench",
      String(ports.origin),
      `--connect.url=http://127.0.0.1:${ports.dialled}`,
    ],
  },
];

const isInstalled = (program: string): boolean =>
  spawnSync("sh", ["-c", `command -v "$1"`, "sh", program], { stdio: "ignore" }).status === 0;

function tunnelOf(peer: Peer): Tunnel {
  return {
    key: peer.key,
    title: peer.title,
    async start({ folder, origin, dial }) {
      const control = peer.controlPort ?? (await freePort());
      const [visitors, spare, spare2] = [await freePort(), await freePort(), await freePort()];
      const before = { visitors, control, dialled: control, spare, spare2, origin: Number(new URL(origin.url).port) };
      if (!isInstalled(peer.server(before, folder)[0])) return null;
      const ports = { ...before, dialled: await dial(control) };
      for (const [name, text] of Object.entries(peer.files(ports))) await writeFile(join(folder, name), text);
      const start = async (column: "server" | "client") => {
        const [command, ...args] = peer[column](ports, folder);
        return await keepChild(column, { name: `${peer.key}-${column}`, folder, command, args });
      };
      const server = await start("server");
      const client = await start("client");
      return {
        path: {
          key: peer.key,
          title: peer.title,
          kind: "yardstick",
          url: `http://127.0.0.1:${visitors}/`,
          headers: async () => ({ host: peer.key === "piko" ? "bench" : HOST }),
          processes: [server.counted, client.counted, origin.counted],
          originUrl: origin.url,
          bulkPaceBytesPerSecond: 100e6,
          parts: { server, client },
        },
        async stop() {
          await client.stop();
          await server.stop();
        },
      };
    },
  };
}

export const peers: readonly Tunnel[] = PEERS.map(tunnelOf);
