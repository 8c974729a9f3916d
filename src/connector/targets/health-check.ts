import { connect } from "node:net";
import type { HeaderList } from "../../protocol/tunnel/session.ts";
import { localhostLookup } from "../../shared/localhost-lookup.node.ts";
import type { Logger } from "../../shared/log.ts";
import { ADDRESS_TIMEOUT_MS, REDIRECT_BODY_BYTES } from "../limits.ts";
import { networkError } from "../network-errors.ts";
import { afterCheck, UNKNOWN } from "./health-state.ts";
import type { OriginPort } from "./origin-client.ts";
import type { HealthSettings } from "./target-settings.ts";

export interface HealthCheck {
  readonly unhealthy: boolean;
  stop(): void;
}

export interface HealthPorts {
  readonly client: () => OriginPort;
  readonly headers: () => HeaderList;
  /** In [0, 1). */
  readonly random: () => number;
  readonly log: Logger;
  /** `unhealthy` has changed. */
  readonly changed: () => void;
}

/** Null: it is well; else what is wrong, for the log. */
type Verdict = string | null;

/** Asks a target again and again until `stop`; pauses vary by a tenth, so that many connectors do not ask at once. */
export function startHealthCheck(
  { url, settings }: { readonly url: URL; readonly settings: HealthSettings },
  ports: HealthPorts,
): HealthCheck {
  let state = UNKNOWN;
  let stopped = false;
  let cancel: (() => void) | null = null;

  const wait = (delayMs: number): void => {
    const timer = setTimeout(check, delayMs);
    timer.unref();
    cancel = () => clearTimeout(timer);
  };
  const check = (): void => {
    let settled = false;
    const settle = (verdict: Verdict): void => {
      if (settled) return;
      settled = true;
      clearTimeout(late);
      end();
      if (stopped) return;
      judge(verdict);
      wait(settings.interval * (0.9 + 0.2 * ports.random()));
    };
    const late = setTimeout(() => settle(`no answer within ${settings.timeout} ms`), settings.timeout);
    late.unref();
    const end = settings.path === null ? checkTcp(url, settle) : checkHttp(settings, settings.path, ports, settle);
    cancel = () => {
      settled = true;
      clearTimeout(late);
      end();
    };
  };
  const judge = (verdict: Verdict): void => {
    const before = state.health;
    state = afterCheck(state, verdict === null, settings);
    if (state.health === before) return;
    if (state.health === "unhealthy") ports.log.warn("the target fails its health check", { reason: verdict });
    else if (before === "unhealthy") ports.log.info("the target is well again");
    if (state.health === "unhealthy" || before === "unhealthy") ports.changed();
  };

  wait(ports.random() * Math.min(1000, settings.interval));
  return {
    get unhealthy() {
      return state.health === "unhealthy";
    },
    stop() {
      stopped = true;
      cancel?.();
    },
  };
}

/** Answers how to end it. */
function checkHttp(
  settings: HealthSettings,
  path: string,
  ports: HealthPorts,
  settle: (verdict: Verdict) => void,
): () => void {
  let bytes = 0;
  let verdict: Verdict = null;
  const call = ports.client().dispatch(
    { method: "GET", path, headers: ports.headers(), body: "none", headTimeoutMs: settings.timeout },
    {
      head({ status }) {
        const expected = settings.status.some(({ from, to }) => status >= from && status <= to);
        verdict = expected ? null : `it answered with status ${status}`;
      },
      data(chunk) {
        bytes += chunk.length;
        if (bytes > REDIRECT_BODY_BYTES) settle(verdict);
      },
      end: () => settle(verdict),
      failed: ({ kind, code, message }) => settle(`${kind} (${code}): ${message}`),
    },
  );
  return () => call.abort();
}

function checkTcp(url: URL, settle: (verdict: Verdict) => void): () => void {
  const port = url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const socket = connect({ host, port, lookup: localhostLookup, autoSelectFamilyAttemptTimeout: ADDRESS_TIMEOUT_MS });
  socket.once("connect", () => settle(null));
  socket.on("error", (error) => {
    const { fault, code } = networkError(error);
    settle(`${fault} (${code})`);
  });
  return () => socket.destroy();
}
