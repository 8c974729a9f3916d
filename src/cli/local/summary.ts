import type { DemoMember } from "./demo.ts";
import type { LocalStack } from "./local-json.ts";
import type { StatePaths } from "./paths.ts";

const MARGIN = "  ";

/** What people read when the stack is up: addresses, one command a thing, and what it is not for. */
export function readySummary(
  stack: LocalStack,
  members: readonly DemoMember[],
  paths: StatePaths,
  { detached }: { readonly detached: boolean },
): string {
  const port = new URL(stack.edgeUrl).port;
  const at = (host: string, path: string) => `http://${host}:${port}${path}`;
  const host = (slug: string) =>
    stack.tenants.find((tenant) => tenant.slug === slug)?.host ?? `${slug}.${stack.baseDomain}`;
  const samples: (readonly [string, string])[] = [
    [at(host("acme"), "/"), "in a browser: what tenant acme has"],
    [`curl ${at(host("acme"), "/app")}`, "tenant acme, from node walter-white"],
    [`curl ${at(host("globex"), "/app")}`, "tenant globex, from node hank-schrader"],
    [`curl ${at(host("acme"), "/plant/")}`, "a route of acme that leads behind a firewall"],
    [`curl ${at(`demo--${host("acme")}`, "/")}`, "that web app on its own host"],
    [
      `head -c 1000000 /dev/urandom | curl --data-binary @- ${at(`demo--${host("acme")}`, "/upload")}`,
      "an upload through the tunnel",
    ],
    [`curl ${at(`nobody.${stack.baseDomain}`, "/")}`, "an unknown host: the portal"],
    [
      `curl -H "Authorization: Bearer $CAUSEWAY_API_TOKEN" ${stack.consoleUrl}/api/v1/tenants`,
      `the management API (token in ${paths.localJson})`,
    ],
    ["npx causeway tenant create initech --wait", "a new tenant; then curl its /app"],
  ];
  const width = Math.max(...samples.map(([command]) => command.length));
  return [
    "Causeway is up.",
    "",
    ...[
      ["edge", `${stack.edgeUrl} (every host below *.${stack.baseDomain}:${port})`],
      ["console", `${stack.consoleUrl} (API page: ${stack.consoleUrl}/api/docs)`],
      ["relay", stack.relayUrl],
      ...stack.nodes.map((node) => [node.name, `${node.envoyUrl} (Envoy's admin: ${node.adminUrl})`]),
      ["postgres", withoutPassword(stack.databaseUrl)],
    ].map(([name, address]) => `${MARGIN}${(name ?? "").padEnd(15)}${address}`),
    "",
    "Try:",
    ...samples.map(([command, what]) => `${MARGIN}${command.padEnd(width)}  # ${what}`),
    "",
    "DEMO, NOT FOR PRODUCTION: plain HTTP on 127.0.0.1, a database of its own, demo accounts:",
    ...members.map(
      (member) => `${MARGIN}${at(host(member.tenant), "/private")}  ${member.email}  password ${member.password}`,
    ),
    "",
    `npx causeway status shows the parts, npx causeway logs [PART] their logs${detached ? ", npx causeway down stops them." : "."}`,
    ...(detached ? [] : ["Ctrl-C stops everything."]),
  ].join("\n");
}

/** Lines for /etc/hosts, for programs that don't know that *.localhost is this machine (RFC 6761, section 6.3). */
export function hostsLines(baseDomain: string, slugs: readonly string[]): string {
  const targets = ["demo", "echo", "ping"].map((target) => `${target}--acme.${baseDomain}`);
  const names = [baseDomain, `relay.${baseDomain}`, ...slugs.map((slug) => `${slug}.${baseDomain}`), ...targets];
  return names.map((name) => `127.0.0.1 ${name}`).join("\n");
}

export function withoutPassword(url: string): string {
  const parsed = new URL(url);
  parsed.password = "";
  return parsed.toString();
}
