import type { OpenRequest, Stream, StreamEvents } from "../../protocol/tunnel/session.ts";
import { REMOVED_TARGET_MS } from "../limits.ts";
import { createTarget } from "./create-target.ts";
import { CATCH_ALL } from "../../policy/names.ts";
import type { TargetConfig } from "./target-config.ts";
import type { Target, TargetPorts } from "./target.ts";

export interface TargetChange {
  readonly added: readonly string[];
  readonly changed: readonly string[];
  readonly removed: readonly string[];
}

export interface TargetCount {
  readonly target: string;
  readonly open: number;
  readonly finished: number;
  /** Streams that either side ended early: errors, and visitors who left. */
  readonly reset: number;
}

/** The targets of a connector, which may change while requests run. */
export interface TargetSet {
  /** To announce; CATCH_ALL among them stands for every name that is not there. */
  readonly names: readonly string[];
  /** Of them those that fail their health check. `TargetPorts.healthChanged` tells when it changes; a changed target begins as well. */
  readonly unhealthy: readonly string[];
  open(stream: Stream, request: OpenRequest): StreamEvents;
  /**
   * What did not change goes on as it is. A changed or removed target finishes what it has; a removed one also takes what the relay had
   * sent before it heard of it.
   */
  apply(configs: readonly TargetConfig[]): TargetChange;
  counts(): readonly TargetCount[];
  /** Address of the web server that a request for the name goes to; null: to none. */
  urlOf(name: string): URL | null;
  /** Cuts everything. */
  close(): void;
}

interface Entry {
  readonly config: TargetConfig;
  readonly target: Target;
  readonly count: { target: string; open: number; finished: number; reset: number };
  open: number;
  retired: boolean;
}

export function createTargetSet(configs: readonly TargetConfig[], ports: TargetPorts): TargetSet {
  const current = new Map<string, Entry>();
  const leaving = new Map<string, Entry>();
  const all = new Set<Entry>();
  const counts = new Map<string, Entry["count"]>();

  const add = (config: TargetConfig): void => {
    const { name } = config;
    const count = counts.get(name) ?? { target: name, open: 0, finished: 0, reset: 0 };
    counts.set(name, count);
    const entry = { config, target: createTarget(config, ports), count, open: 0, retired: false };
    current.set(name, entry);
    all.add(entry);
  };

  const closeWhenIdle = (entry: Entry): void => {
    if (!entry.retired || entry.open > 0 || leaving.get(entry.config.name) === entry || !all.delete(entry)) return;
    entry.target.close();
  };

  const retire = (entry: Entry): void => {
    entry.retired = true;
    entry.target.retire();
    closeWhenIdle(entry);
  };

  const linger = (entry: Entry): void => {
    const { name } = entry.config;
    current.delete(name);
    leaving.set(name, entry);
    entry.retired = true;
    entry.target.retire();
    setTimeout(() => {
      if (leaving.get(name) === entry) leaving.delete(name);
      closeWhenIdle(entry);
    }, REMOVED_TARGET_MS).unref();
  };

  for (const config of configs) add(config);

  const entryOf = (name: string): Entry | undefined =>
    current.get(name) ?? leaving.get(name) ?? current.get(CATCH_ALL) ?? leaving.get(CATCH_ALL);

  return {
    get names() {
      return [...current.keys()];
    },
    get unhealthy() {
      return [...current.values()].filter(({ target }) => target.unhealthy).map(({ target }) => target.name);
    },
    open(stream, request) {
      const entry = entryOf(request.target);
      if (entry === undefined) {
        ports.log.warn("request for a target that this connector does not serve", { target: request.target });
        stream.reset("unknown-target", `this connector does not serve the target "${request.target}"`);
        return {};
      }
      const events = entry.target.open(stream, request);
      if (stream.closed) {
        entry.count.reset += 1;
        return events;
      }
      entry.open += 1;
      entry.count.open += 1;
      const closed = events.closed?.bind(events);
      events.closed = (outcome) => {
        entry.open -= 1;
        entry.count.open -= 1;
        entry.count[outcome.kind] += 1;
        closed?.(outcome);
        closeWhenIdle(entry);
      };
      return events;
    },
    apply(next) {
      const sick = [...current.values()].some(({ target }) => target.unhealthy);
      const wanted = new Map(next.map((config) => [config.name, config]));
      const removed = [...current.values()].filter(({ config }) => !wanted.has(config.name));
      const added: string[] = [];
      const changed: string[] = [];
      for (const config of next) {
        const old = current.get(config.name);
        if (old !== undefined && sameTarget(old.config, config)) continue;
        (old === undefined ? added : changed).push(config.name);
        leaving.delete(config.name);
        add(config);
        if (old !== undefined) retire(old);
      }
      for (const entry of removed) linger(entry);
      if (sick) ports.healthChanged();
      return { added, changed, removed: removed.map(({ config }) => config.name) };
    },
    counts: () => [...counts.values()],
    urlOf(name) {
      const config = entryOf(name)?.config;
      return config?.kind === "web" ? config.url : null;
    },
    close() {
      for (const { target } of all) target.close();
      all.clear();
    },
  };
}

function sameTarget(a: TargetConfig, b: TargetConfig): boolean {
  if (a.kind === "function" && b.kind === "function") return a.handle === b.handle;
  return a.kind === b.kind && JSON.stringify(a) === JSON.stringify(b);
}
