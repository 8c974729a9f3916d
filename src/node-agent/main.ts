import { existsSync, readFileSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { PublicJwks } from "../protocol/jwk.ts";
import type { ToAgent } from "../protocol/node-channel.ts";
import { systemClock } from "../shared/clock.ts";
import type { Logger } from "../shared/log.ts";
import { err, ok, type Result } from "../shared/result.ts";
import { acmeOf, tlsFilesOf } from "./acme/files.ts";
import { keepRenewed } from "./acme/renewal.ts";
import { followCertificate } from "./certificate.ts";
import { openChannel, type Channel } from "./channel.ts";
import { readAgentConfig, readCredentials, type AgentConfig, type NodeCredentials } from "./config.ts";
import type { Json } from "./envoy/json.ts";
import { renderExport } from "./envoy/export.ts";
import { replaceFile, replaceIfChanged } from "./envoy/files.ts";
import { runEnvoy, type EnvoyRunner, type Upgraded } from "./envoy/runner.ts";
import { takeUpSlots } from "./envoy/slots.ts";
import { writeListeners, writeProofFilter } from "./envoy/static-files.ts";
import { probeUntil } from "./envoy/probe.ts";
import { renderTenant } from "./envoy/render.ts";
import { countRefused } from "./envoy/refused.ts";
import { serveHealth, type AgentStatus } from "./health.ts";
import { postJson } from "./http.ts";
import { enrol, newNodeKey, nodeKey, signAssertion, type EnrolFailure, type NodeKey } from "./identity.ts";
import { LIMITS } from "./limits.ts";
import { followLink } from "./link-certificate.ts";
import { lockHolder, takeLock } from "./lock.ts";
import { agentPaths, type Slot } from "./paths.ts";
import { endRecorded } from "./services/recorded-process.ts";
import { confirmHeld, createHeldRemovals, isConfirmed, readHeldTenants, writeHeld } from "./removal-breaker.ts";
import { portsOf, roleOf } from "./role.ts";
import { openDrivers } from "./services/drivers.ts";
import { newStoreKey } from "./sealed.ts";
import { openStore, type ChannelRecord } from "./store.ts";
import { takeSocketDir } from "./socket-dir.ts";
import { answerUpgrade, requestUpgrade } from "./upgrade-request.ts";
import { createTenants } from "./tenants/tenants.ts";
import { encodeTenant } from "./xds/codec.ts";
import { createEnvoyFeed } from "./xds/feed.ts";

export type { AgentConfig, AgentFile, NodeCredentials } from "./config.ts";
export { confirmHeld, readAgentConfig, readCredentials, readHeldTenants };

const AGENT = "causeway-node-agent/0.1";

export interface NodeAgent {
  status(): AgentStatus;
  /** Closes the channel and the xDS server. Envoy and the services go on, unless the configuration says `stopServices`. */
  stop(): Promise<void>;
}

/** `locked`: another agent runs in the state directory. */
export type StartFailure = { readonly kind: "locked" | "configuration"; readonly message: string };

/** Starts the node agent: Envoy and all tenants from the disk first, then the channel. */
export async function startNodeAgent(config: AgentConfig, log: Logger): Promise<Result<NodeAgent, StartFailure>> {
  const read = readCredentials(config.credentialsFile);
  if (!read.ok) return err({ kind: "configuration", message: read.error });
  const credentials = read.value;
  const paths = agentPaths(config.stateDir);
  const sockets = takeSocketDir(dirname(paths.envoyPaths.xdsSocket));
  if (!sockets.ok) return err({ kind: "configuration", message: sockets.error });
  const lock = takeLock(paths.lock);
  if (!lock.ok)
    return err({ kind: "locked", message: `a node agent runs in ${config.stateDir} already (pid ${lock.error})` });

  const {
    store,
    tenants: records,
    channel: channelRecord,
    damaged,
  } = await openStore(paths.store, credentials.storeKey);
  for (const file of damaged)
    log.error("a file of the store was damaged; its previous generation is used, if any", { file });
  let followed: ChannelRecord = channelRecord;
  let channel: Channel | null = null;

  const feed = createEnvoyFeed(LIMITS, (effect) => tenants.onPlanned(effect), log);
  const onMoved = (tenantId: string): void => tenants.onServiceMoved(tenantId);
  const driver = openDrivers(config, credentials, paths, log, onMoved);
  const held = createHeldRemovals(followed.held, async (removals) => {
    followed = { ...followed, held: [...removals] };
    await store.saveChannel(followed);
    await writeHeld(config.stateDir, removals);
  });
  const role = roleOf(config, paths.envoyPaths);
  const { isMaster, render, always } = role;
  if (always !== null) feed.put(encodeTenant(ALWAYS, 0, always));
  const tenants = createTenants({
    store,
    driver,
    catalogue: {
      commands: new Set(Object.keys(config.commands)),
      images: new Set(Object.keys(config.images)),
      isMaster,
    },
    render,
    isMaster,
    feed,
    probe: (host, expected, signal) => probeUntil(paths.envoyPaths.probeSocket, host, expected, signal),
    report: (message) => channel?.send(message),
    held,
    log,
  });
  // The feed is told everything before Envoy can ask: what it does not know then, it would have Envoy remove.
  await tenants.restore(records);
  const { binary } = config.envoy;
  const slots = binary === null ? null : await takeUpSlots(paths, Math.random);
  await feed.open(paths.slots[slots?.lead ?? "a"].xdsSocket);
  const acme = acmeOf(config);
  const tlsFiles = tlsFilesOf(config);
  const certificate =
    tlsFiles === null
      ? null
      : await followCertificate(tlsFiles, paths.envoyPaths.secretsDir, acme !== null, systemClock, log);
  const link = role.link === null ? null : await followLink(role.link, paths.envoyPaths.secretsDir, systemClock, log);
  for (const given of [certificate, link]) {
    if (given === null || given.ok) continue;
    await feed.close();
    lock.value();
    return err({ kind: "configuration", message: given.error });
  }
  const kept = { stateDir: config.stateDir, storeDir: paths.store, storeKey: credentials.storeKey };
  const renewal =
    acme === null ? null : keepRenewed({ config: acme, ...kept, now: systemClock, random: Math.random, log });
  await writeListeners(role, paths);
  await writeProofFilter(credentials, paths, followed.proofKeys);
  const bootstrap = (slot: Slot): string =>
    JSON.stringify(role.bootstrap(credentials.node, paths.slots[slot].xdsSocket));
  let envoy: EnvoyRunner | null = null;
  if (binary === null || slots === null) await replaceIfChanged(paths.slots.a.bootstrap, bootstrap("a"), 0o600);
  else {
    const given = { config: config.envoy, binary, paths, slots, bootstrap };
    envoy = await runEnvoy({ ...given, feed, random: Math.random, now: systemClock, log });
  }
  tenants.resume();
  const releaseIfConfirmed = async (): Promise<void> => {
    if (!(await isConfirmed(config.stateDir))) return;
    log.warn("held removals were confirmed", { tenants: held.list().length });
    await tenants.releaseHeld();
  };
  const upgrade = async (program: string) => envoy?.upgrade(program) ?? err("this agent does not run Envoy");
  const orders = setInterval(() => {
    answerUpgrade(config.stateDir, upgrade).catch((error: unknown) =>
      log.error("an order to replace Envoy could not be looked at", { error: String(error) }),
    );
  }, LIMITS.confirmationMs);
  const confirmation = setInterval(() => {
    if (held.list().length === 0) return;
    releaseIfConfirmed().catch((error: unknown) =>
      log.error("held removals could not be looked at", { error: String(error) }),
    );
  }, LIMITS.confirmationMs);

  const followKeys = async (proofKeys: PublicJwks): Promise<void> => {
    followed = { ...followed, proofKeys };
    await writeProofFilter(credentials, paths, proofKeys);
    await store.saveChannel(followed);
  };
  let epoch: string | null = followed.epoch;
  let parts: Extract<ToAgent, { type: "snapshot" }>["tenants"] = [];
  const onMessage = async (message: ToAgent): Promise<void> => {
    switch (message.type) {
      case "welcome":
        if (message.nodeId !== credentials.nodeId) throw new Error("the channel is that of another node");
        epoch = message.epoch;
        parts = [];
        await followKeys(message.proofKeys);
        return tenants.reportAll();
      case "proof-keys":
        return followKeys(message.proofKeys);
      case "snapshot":
        parts.push(...message.tenants);
        if (!message.last) return;
        await tenants.replaceAll(parts);
        parts = [];
        break;
      case "change":
        if (message.change.kind === "put") await tenants.put(message.change.tenant);
        else await tenants.remove(message.change.tenantId, message.change.revision);
        break;
    }
    // Only after everything before it is durable.
    followed = { ...followed, epoch, cursor: message.seq };
    await store.saveChannel(followed);
  };
  channel = openChannel({
    relayUrl: credentials.relayUrl,
    sign: () => signAssertion(credentials, systemClock),
    hello: () => ({ type: "hello", version: 1, agent: AGENT, epoch: followed.epoch, cursor: followed.cursor }),
    onMessage,
    log,
    random: Math.random,
  });

  const status = (): AgentStatus => ({
    ready: feed.ready(),
    node: credentials.node,
    channel: channel?.online() ? "online" : "offline",
    envoy: {
      connected: feed.connected(),
      pid: envoy?.pid() ?? null,
      drainingPid: envoy?.drainingPid() ?? null,
    },
    tenants: tenants.counts(),
    heldRemovals: held.list().length,
    services: driver.running(),
  });
  const refused = () => countRefused(`http://127.0.0.1:${config.envoy.adminPort}`);
  const health = config.healthPort === null ? null : await serveHealth(config.healthPort, status, refused);
  return ok({
    status,
    async stop() {
      channel?.close();
      clearInterval(confirmation);
      clearInterval(orders);
      for (const given of [certificate, link]) if (given?.ok === true) given.value.close();
      renewal?.close();
      tenants.close();
      if (config.stopServices) await envoy?.stop();
      else await envoy?.leave();
      await driver.close(config.stopServices);
      await feed.close();
      health?.close();
      lock.value();
    },
  });
}

/** What Envoy has beside tenants stands in the feed as if it were one; no tenant's id looks like it. */
const ALWAYS = "*";

/**
 * Makes the node's key, registers it with the one-time token, and saves node.json (mode 0600). A key that an earlier, cut-off call made
 * for the same file is used again, so that repeating is safe.
 */
export async function enrolNode(
  relayUrl: string,
  token: string,
  credentialsFile: string,
): Promise<Result<NodeCredentials, EnrolFailure>> {
  await mkdir(dirname(credentialsFile), { recursive: true, mode: 0o700 });
  const keyFile = `${credentialsFile}.key`;
  const key = await unfinishedKey(keyFile);
  const earlier = readCredentials(credentialsFile);
  const storeKey = earlier.ok ? earlier.value.storeKey : newStoreKey();
  const enrolled = await enrol(relayUrl, token, key, storeKey, postJson);
  if (!enrolled.ok) return enrolled;
  await replaceFile(credentialsFile, `${JSON.stringify(enrolled.value, null, 2)}\n`, 0o600);
  await rm(keyFile, { force: true });
  return enrolled;
}

/** Has the agent of this configuration replace its Envoy by another process of the configured program, without a cut. */
export async function upgradeEnvoy(config: AgentConfig): Promise<Result<Upgraded, string>> {
  const { binary } = config.envoy;
  if (binary === null) return err("envoy.binary is null: this agent does not run Envoy");
  if (lockHolder(agentPaths(config.stateDir).lock) === null) return err(`no node agent runs in ${config.stateDir}`);
  return requestUpgrade(config.stateDir, binary);
}

/** What Envoy has acknowledged, as one static file for it (`causeway node export`). Works beside an agent that runs, and without one. */
export async function exportNode(config: AgentConfig): Promise<Result<{ envoy: Json; tenants: number }, string>> {
  if (config.master !== null) return err("this is a master: all that it serves is at its nodes and the edge");
  const credentials = readCredentials(config.credentialsFile);
  if (!credentials.ok) return credentials;
  const { tenants, channel, damaged } = await openStore(
    agentPaths(config.stateDir).store,
    credentials.value.storeKey,
    false,
  );
  if (damaged.length > 0) return err(`${damaged.length} files of the store can't be read, ${damaged[0]} first`);
  const good = tenants.flatMap((record) => {
    const endpoints = new Map(Object.entries(record.endpoints));
    return record.good === null ? [] : [renderTenant(record.good, endpoints)];
  });
  return ok({
    envoy: renderExport(credentials.value, portsOf(config), tlsFilesOf(config), channel.proofKeys.keys, good),
    tenants: good.length,
  });
}

async function unfinishedKey(keyFile: string): Promise<NodeKey> {
  if (existsSync(keyFile)) {
    const kept = nodeKey.safeParse(JSON.parse(readFileSync(keyFile, "utf8")));
    if (kept.success) return kept.data;
  }
  const made = await newNodeKey();
  await replaceFile(keyFile, JSON.stringify(made), 0o600);
  return made;
}

/** Ends Envoy and all services that an agent of this state directory left running. Refused (the pid) while an agent runs there. */
export async function reapNode(stateDir: string): Promise<Result<null, number>> {
  const paths = agentPaths(stateDir);
  const holder = lockHolder(paths.lock);
  if (holder !== null) return err(holder);
  await Promise.all(Object.values(paths.slots).map(({ dir }) => endRecorded(dir)));
  const recorded = existsSync(paths.services) ? await readdir(paths.services, { recursive: true }) : [];
  const dirs = recorded.filter((name) => name.endsWith("process.json")).map((name) => join(paths.services, name, ".."));
  await Promise.all(dirs.map(endRecorded));
  return ok(null);
}
