import type { ConnectorReport } from "../protocol/tunnel/session.ts";
import { LOAD_POLL_MS, LOAD_STEP, REPORT_MIN_INTERVAL_MS } from "./limits.ts";

export interface ReporterPorts {
  /** From 0 (idle) to 1 (nothing more to give). */
  readonly load: () => number;
  /** Names of the targets whose health check fails. */
  readonly unhealthy: () => readonly string[];
  readonly send: (report: ConnectorReport) => void;
}

/** Tells the relay how this connector is: health when it changes, load in coarse steps, since each report wakes a sleeping lane. */
export interface Reporter {
  /** What is true now, for a new link. */
  readonly current: ConnectorReport;
  /** The health of a target may have changed. */
  healthChanged(): void;
  close(): void;
}

export function createReporter(ports: ReporterPorts): Reporter {
  let sent: ConnectorReport = { load: 0, unhealthy: [] };
  let soon: NodeJS.Timeout | null = null;

  const tell = (load: number): void => {
    sent = { load, unhealthy: [...ports.unhealthy()] };
    ports.send(sent);
  };
  const beat = setInterval(() => {
    const load = stepped(ports.load());
    if (load !== sent.load) tell(load);
  }, LOAD_POLL_MS);
  beat.unref();

  return {
    get current() {
      return { load: sent.load, unhealthy: [...ports.unhealthy()] };
    },
    healthChanged() {
      if (soon !== null) return;
      soon = setTimeout(() => {
        soon = null;
        if (ports.unhealthy().join() !== sent.unhealthy.join()) tell(sent.load);
      }, REPORT_MIN_INTERVAL_MS);
      soon.unref();
    },
    close() {
      clearInterval(beat);
      if (soon !== null) clearTimeout(soon);
    },
  };
}

/** In steps, so that a load that sways a little sends nothing. */
const stepped = (load: number): number =>
  Math.round(Math.round(Math.min(1, Math.max(0, load)) / LOAD_STEP) * LOAD_STEP * 10) / 10;

/** How busy this process is: the part of the time since the last call in which its event loop worked, or its streams against their bound. */
export function createLoadMeter(openStreams: () => number, streamsMax: number): () => number {
  let before = performance.eventLoopUtilization();
  return () => {
    const now = performance.eventLoopUtilization();
    const { utilization } = performance.eventLoopUtilization(now, before);
    before = now;
    return Math.max(utilization, openStreams() / streamsMax);
  };
}
