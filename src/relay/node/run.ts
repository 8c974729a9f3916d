import { setFlagsFromString } from "node:v8";
import { createLogger, type Logger } from "../../shared/log.ts";
import { err, ok, type Result } from "../../shared/result.ts";
import { processTracer } from "../../shared/tracing/process-tracer.node.ts";
import type { TraceEnv } from "../../shared/tracing/settings.ts";
import { readRelayConfig, type RelayConfig } from "./config.ts";
import type { LaneName } from "./lane-choice.ts";
import { createLogLines } from "./log-lines.ts";
import { startRelay } from "./relay.ts";
import { watchFiles } from "./watch.ts";

export interface RunOptions {
  readonly configFile: string;
  readonly lane: LaneName | "both";
  /** One or more whole log lines with their line ends. */
  readonly write: (text: string) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonic: () => number;
  readonly random: () => number;
  /** Where the OTEL_* variables are looked up (docs/operations.md). */
  readonly env: TraceEnv;
  /** SIGTERM and SIGINT: the first drains, the second ends at once. Answers how to stop listening. */
  readonly onSignal: (listener: (signal: string) => void) => () => void;
  /** SIGHUP. */
  readonly onReload: (listener: () => void) => () => void;
}

/** `broken`: open requests were cut when the grace was over. */
export type RunFailure = {
  readonly kind: "configuration" | "environment" | "broken" | "interrupted";
  readonly message: string;
};

/**
 * Bytes that pass through live outside of V8's heap and count as its growth: with a heap as small as ours a full collection would come every
 * 15 MB. Measured on bulk: 38 -> 15 collections a 512 MiB, a third less CPU, the same resident memory. (A number read at each collection, so
 * it may be set while V8 runs.)
 */
const HEAP_GROWING = "--heap-growing-percent=400";

/** Runs until a signal ends it. */
export async function runRelay(options: RunOptions): Promise<Result<null, RunFailure>> {
  const { configFile, lane, now } = options;
  setFlagsFromString(HEAP_GROWING);
  // Grants and settings are told apart by it; it has to grow over restarts too.
  let revision = Math.floor(now() / 1_000);
  const read = () => readRelayConfig(configFile, { lane, revision: (revision += 1) });
  const first = read();
  if (!first.ok) return err({ kind: "configuration", message: `${configFile}: ${first.error}` });
  const lines = createLogLines(options.write);
  const log = createLogger("relay", (line) => lines.write(line), { level: first.value.logLevel, now });
  const lanes = lane === "both" ? (["a", "b"] as const) : [lane];

  const tracer = processTracer(options.env, { part: "relay", service: "causeway-relay" }, log);

  let relay: Awaited<ReturnType<typeof startRelay>>;
  try {
    relay = await startRelay(first.value, lanes, {
      log,
      lines,
      now,
      monotonic: options.monotonic,
      random: options.random,
      tracer,
    });
  } catch (error) {
    lines.flush();
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    const where = error instanceof Error ? (/ [^ ]+:[0-9]+$/.exec(error.message)?.[0] ?? "") : "";
    return err({
      kind: "environment",
      message: `the relay can't listen${where === "" ? "" : ` on${where}`} (${code}); see listen in ${configFile}`,
    });
  }
  const { visitors, connectors, admin } = relay.addresses;
  log.info("the relay runs", {
    lanes: lanes.join(" "),
    visitors: textOf(visitors),
    connectors: textOf(connectors),
    admin: admin === null ? null : textOf(admin),
    tenants: first.value.tenants.length,
    pid: process.pid,
  });
  lines.flush();

  let current: RelayConfig = first.value;
  let ending = false;
  const reload = (why: string): void => {
    if (ending) return;
    const next = read();
    if (!next.ok) {
      log.error("THE NEW CONFIGURATION IS REFUSED; the one before stays in force", { why, reason: next.error });
    } else {
      current = next.value;
      report(relay.reload(next.value), log);
    }
    lines.flush();
  };
  const unwatch = watchFiles(
    () => current.files,
    () => reload("a file changed"),
  );
  const offReload = options.onReload(() => reload("SIGHUP"));

  return await new Promise((resolve) => {
    const end = async (result: Result<null, RunFailure>): Promise<void> => {
      ending = true;
      unwatch();
      await tracer?.shutdown();
      lines.flush();
      // Last: who stops listening leaves the signal to the system, which ends the process.
      offReload();
      offSignal();
      resolve(result);
    };
    const drain = async (): Promise<void> => {
      const { inFlight } = await relay.drain(current.drainMs);
      log.info("stopped", { cut: inFlight });
      const seconds = current.drainMs / 1_000;
      if (inFlight === 0) await end(ok(null));
      else await end(err({ kind: "broken", message: `${inFlight} requests were cut after the grace of ${seconds} s` }));
    };
    const interrupt = async (signal: string): Promise<void> => {
      log.warn("stopped while requests were open", { signal });
      await relay.stop();
      await end(err({ kind: "interrupted", message: `${signal} while requests were open` }));
    };
    const offSignal = options.onSignal((signal) => {
      if (ending) return;
      if (relay.draining) {
        void interrupt(signal);
        return;
      }
      log.info("draining", { signal, graceMs: current.drainMs });
      lines.flush();
      void drain();
    });
  });
}

function report(restart: readonly string[], log: Logger): void {
  log.info("the configuration was read again");
  if (restart.length > 0) log.warn("some changes count after a restart only", { settings: restart.join(" ") });
}

const textOf = ({ host, port }: { host: string; port: number }): string =>
  host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
