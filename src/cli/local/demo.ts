import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { execPath } from "node:process";
import { z } from "zod";
import type { Api } from "../api/client.ts";
import { createConnector } from "../api/create-connector.ts";
import { connector, node as enrolledNode, operation, tenant } from "../api/types.ts";
import { waitForOperation } from "../api/wait.ts";
import { START_TIMEOUT_MS } from "../limits.ts";
import {
  BASE_DOMAIN,
  CONNECTOR_INSTANCES,
  type ConnectorInstance,
  type StackContext,
  edgeUrl,
  relayUrl,
} from "./context.ts";
import { PACKAGE_ROOT } from "./paths.ts";
import { probe, until } from "./probe.ts";
import { step } from "./progress.ts";
import { type StackSecrets, randomSecret } from "./secrets.ts";
import { traceEnvironment } from "./trace-environment.ts";

/** What a first visitor sees at a demo tenant's address, instead of an error about a path. */
function welcome(slug: string, more: Readonly<Record<string, string>>) {
  const links = {
    "/app": "a service on the tenant's node",
    "/connectors": "another one",
    "/manager": "a third one",
    "/private": "for members: leads to sign-in (the demo account is printed at start)",
    ...more,
  };
  const items = Object.entries(links).map(([path, what]) => `<li><a href="${path}">${path}</a> ${what}</li>`);
  const style = "body{font:1rem/1.6 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}";
  const body = `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>${slug}</title><style>${style}</style></head><body><h1>${slug}</h1><p>A demo tenant of Causeway. This page is a route of the edge; behind the others are:</p><ul>${items.join("")}</ul></body></html>`;
  return { prefix: "/", exact: true, to: { kind: "answer", contentType: "text/html; charset=utf-8", body } } as const;
}

/** The demo data: two tenants on two nodes, a member each, and one site of acme behind a "firewall". */
const TENANTS = [
  {
    slug: "acme",
    node: "walter-white",
    routes: [
      welcome("acme", { "/plant/": "a web app behind a firewall, through the connector plant-1" }),
      { prefix: "/plant", to: { kind: "target", target: "demo" } },
    ],
  },
  { slug: "globex", node: "hank-schrader", routes: [welcome("globex", {})] },
] as const;
export const DEMO_TENANTS: readonly string[] = TENANTS.map(({ slug }) => slug);
const CONNECTOR = { tenant: "acme", name: "plant-1" } as const;

export interface DemoMember {
  readonly tenant: string;
  readonly email: string;
  readonly password: string;
}

export interface Demo {
  readonly tenants: { slug: string; host: string }[];
  readonly connectors: { tenant: string; name: string }[];
}

export const membersOf = (secrets: StackSecrets): DemoMember[] =>
  Object.entries(secrets.members).map(([slug, member]) => ({ tenant: slug, ...member }));

/** Makes what is missing and starts the site. Answers when each thing was seen working through the edge. */
export async function startDemo(context: StackContext, api: Api): Promise<Demo> {
  const { report } = context;
  const active = new Map(TENANTS.map((wanted) => [wanted.slug, ensureTenant(context, api, wanted)]));
  for (const one of active.values()) one.catch(() => {}); // Awaited below, one after another.
  const target = step(report, "target", () => startTarget(context));
  const tenants = step(report, "tenants", async () => {
    for (const { slug } of TENANTS) {
      await active.get(slug);
      await ensureMember(context, api, slug);
    }
  });
  const site = step(report, "connector", async () => {
    await active.get(CONNECTOR.tenant);
    await startSite(context, api);
  });
  await Promise.all([target, tenants, site]);
  return {
    tenants: TENANTS.map(({ slug }) => ({ slug, host: `${slug}.${BASE_DOMAIN}` })),
    connectors: [{ tenant: CONNECTOR.tenant, name: CONNECTOR.name }],
  };
}

/** A tenant that an earlier start left unfinished is waited for, not made again. */
async function ensureTenant(context: StackContext, api: Api, wanted: (typeof TENANTS)[number]): Promise<void> {
  const { slug, node, routes } = wanted;
  const found = await api.find(`/tenants/${slug}`, tenant);
  if (found === null) {
    // The console hears of an enrolment by the queue, so perhaps later than the node is up.
    await until(
      `${node} to be known as enrolled`,
      async () => (await api.find(`/nodes/${node}`, enrolledNode))?.enrolled === true,
      START_TIMEOUT_MS,
      context.signal,
    );
    const answer = await api.post("/tenants", { slug, node, routes }, z.object({ operation, tenant }));
    await waitForOperation(api, answer.operation.id, () => {}, { signal: context.signal });
  } else if (found.state === "provisioning") {
    const [open] = await api.list(`/operations?subject=${found.id}`, operation);
    if (open !== undefined) await waitForOperation(api, open.id, () => {}, { signal: context.signal });
  }
  await until(
    `${slug} to answer through the edge`,
    async () => (await probe(`${edgeUrl(context)}/app`, `${slug}.${BASE_DOMAIN}`)) === 200,
    START_TIMEOUT_MS,
    context.signal,
  );
}

async function ensureMember(context: StackContext, api: Api, slug: string): Promise<void> {
  if (context.secrets.members[slug] !== undefined) return;
  const member = { email: `demo@${slug}.example`, password: randomSecret().slice(0, 16) };
  // Kept first: an account that exists keeps its password, so a lost one would be of no use to anybody.
  context.secrets.members[slug] = member;
  context.saveSecrets();
  try {
    await api.post(`/tenants/${slug}/members`, { ...member, role: "owner" }, z.looseObject({ accountId: z.string() }));
  } catch (error) {
    delete context.secrets.members[slug];
    context.saveSecrets();
    throw error;
  }
}

async function startTarget(context: StackContext): Promise<void> {
  if (context.upstream.kind === "compose") return context.upstream.containers.startTarget(context);
  const port = context.usePort("target-demo");
  await context.supervisor.start({
    name: "target-demo",
    tier: 2,
    command: execPath,
    args: [join(PACKAGE_ROOT, "local-stack/demo-target/main.ts")],
    env: { PORT: String(port) },
    ready: async () => (await probe(`http://127.0.0.1:${port}/`, `127.0.0.1:${port}`)) === 200,
    groupDiesWithIt: true,
  });
}

async function startSite(context: StackContext, api: Api): Promise<void> {
  const file = join(context.paths.connectors, `${CONNECTOR.tenant}-${CONNECTOR.name}.json`);
  const known = (await api.list(`/connectors?tenant=${CONNECTOR.tenant}`, connector)).some(
    ({ name }) => name === CONNECTOR.name,
  );
  if (!known || !existsSync(file)) {
    if (known) throw new Error(`the key of ${CONNECTOR.name} is gone`);
    rmSync(file, { force: true });
    const made = await createConnector(api, { ...CONNECTOR, relayUrl: relayUrl(context), file });
    await waitForOperation(api, made.operation.id, () => {}, { signal: context.signal });
  }
  const { upstream } = context;
  if (upstream.kind === "compose") await upstream.containers.startConnectors(context, file);
  else await Promise.all(CONNECTOR_INSTANCES.map((instance) => startInstance(context, file, instance)));
  await until(
    "the demo target to answer through the tunnel",
    async () => (await probe(edgeUrl(context), `demo--${CONNECTOR.tenant}.${BASE_DOMAIN}`)) === 200,
    START_TIMEOUT_MS,
    context.signal,
  );
}

async function startInstance(context: StackContext, file: string, instance: ConnectorInstance): Promise<void> {
  const health = context.usePort(`health-${instance}`);
  const targets = [`demo=http://127.0.0.1:${context.port("target-demo")}`, "echo", "ping"];
  await context.supervisor.start({
    name: `connector-${instance}`,
    tier: 4,
    command: execPath,
    args: [
      join(PACKAGE_ROOT, "src/cli/main.ts"),
      "connect",
      "--credentials",
      file,
      "--url",
      relayUrl(context),
      "--instance",
      instance,
      "--health-port",
      String(health),
      ...targets.flatMap((target) => ["--target", target]),
    ],
    env: traceEnvironment(process.env),
    ready: async () => (await probe(`http://127.0.0.1:${health}/readyz`, "127.0.0.1")) === 200,
    groupDiesWithIt: true,
  });
}
