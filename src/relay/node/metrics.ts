import { collectDefaultMetrics, Counter, Gauge, Registry } from "prom-client";
import type { SpanCounts } from "../../shared/tracing/exporter.ts";
import type { CallRecord } from "../core/types.ts";
import type { LaneName } from "./lane-choice.ts";
import type { Tenants } from "./tenants.ts";

export interface Metrics {
  /** One request of a broker that ended. */
  ended(tenant: string, lane: LaneName, record: CallRecord): void;
  /** A request that ended here, also one that no broker saw. */
  answered(): void;
  text(): Promise<string>;
}

interface Counts {
  readonly tenant: string;
  readonly lane: LaneName;
  readonly outcomes: Map<string, number>;
  bytesUp: number;
  bytesDown: number;
  milliseconds: number;
}

/** Plain numbers while requests run; Prometheus' own objects only when somebody looks. */
export function createMetrics(
  tenants: Tenants,
  process: { readonly connections: () => number; readonly draining: () => boolean; readonly spans: SpanCounts | null },
): Metrics {
  const counts = new Map<string, Counts>();
  let requests = 0;
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });

  const counter = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    samples: () => Iterable<[Record<L, string>, number]>,
  ) =>
    new Counter({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of samples()) this.inc(labels, value);
      },
    });
  const gauge = <L extends string>(
    name: string,
    help: string,
    labelNames: readonly L[],
    samples: () => Iterable<[Record<L, string>, number]>,
  ) =>
    new Gauge({
      name,
      help,
      labelNames: [...labelNames],
      registers: [registry],
      collect() {
        this.reset();
        for (const [labels, value] of samples()) this.set(labels, value);
      },
    });

  const lane = ["tenant", "lane"] as const;
  const each = function* (value: (count: Counts) => number): Iterable<[Record<"tenant" | "lane", string>, number]> {
    for (const count of counts.values()) yield [{ tenant: count.tenant, lane: count.lane }, value(count)];
  };
  counter(
    "causeway_relay_requests_total",
    "Requests that ended at a lane, by code (200s, 400s, ... or an error code of ours).",
    [...lane, "code"],
    function* () {
      for (const count of counts.values())
        for (const [code, value] of count.outcomes) yield [{ tenant: count.tenant, lane: count.lane, code }, value];
    },
  );
  counter("causeway_relay_visits_total", "Requests that visitors made.", [], () => [[{}, requests]]);
  counter("causeway_relay_bytes_up_total", "Bytes of request bodies.", lane, () => each(({ bytesUp }) => bytesUp));
  counter("causeway_relay_bytes_down_total", "Bytes of answers' bodies.", lane, () =>
    each(({ bytesDown }) => bytesDown),
  );
  counter("causeway_relay_request_seconds_total", "Time that requests were under way, summed up.", lane, () =>
    each(({ milliseconds }) => milliseconds / 1_000),
  );
  const live = function* (
    value: (broker: NonNullable<ReturnType<Tenant["broker"]>>) => number,
  ): Iterable<[Record<"tenant" | "lane", string>, number]> {
    for (const tenant of tenants.bySlug.values()) {
      for (const name of ["a", "b"] as const) {
        const broker = tenant.broker(name);
        if (broker !== null) yield [{ tenant: tenant.slug, lane: name }, value(broker)];
      }
    }
  };
  gauge("causeway_relay_requests_open", "Requests and WebSockets under way.", lane, () =>
    live(({ inFlight }) => inFlight),
  );
  gauge("causeway_relay_connector_sockets", "Sockets of connectors.", lane, () =>
    live((broker) => broker.sessions().length),
  );
  gauge("causeway_relay_accounted_bytes", "Unread answers, kept bodies and what waits to be sent.", lane, () =>
    live(({ accountedBytes }) => accountedBytes),
  );
  gauge("causeway_relay_connections", "Open connections of visitors and connectors.", [], () => [
    [{}, process.connections()],
  ]);
  gauge("causeway_relay_draining", "1 while the process is about to stop.", [], () => [
    [{}, Number(process.draining())],
  ]);

  counter(
    "causeway_trace_spans_total",
    "Spans of traces, by what became of them: exported, dropped (the queue was full) or failed (not taken).",
    ["outcome"],
    () => Object.entries(process.spans ?? {}).map(([outcome, value]) => [{ outcome }, value]),
  );

  return {
    ended(tenant, name, { code, status, bytesUp, bytesDown, durationMs }) {
      const key = `${tenant} ${name}`;
      let count = counts.get(key);
      if (count === undefined) {
        count = { tenant, lane: name, outcomes: new Map(), bytesUp: 0, bytesDown: 0, milliseconds: 0 };
        counts.set(key, count);
      }
      const outcome = code ?? `${Math.floor((status ?? 0) / 100)}xx`;
      count.outcomes.set(outcome, (count.outcomes.get(outcome) ?? 0) + 1);
      count.bytesUp += bytesUp;
      count.bytesDown += bytesDown;
      count.milliseconds += durationMs;
    },
    answered() {
      requests += 1;
    },
    text: () => registry.metrics(),
  };
}

type Tenant = Tenants["bySlug"] extends ReadonlyMap<string, infer T> ? T : never;
