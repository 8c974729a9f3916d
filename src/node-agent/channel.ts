import { WebSocket, type RawData } from "ws";
import { fromAgent, NODE_CHANNEL_CLOSE, toAgent, type FromAgent, type ToAgent } from "../protocol/node-channel.ts";
import { localhostLookup } from "../shared/localhost-lookup.node.ts";
import type { Logger } from "../shared/log.ts";
import { LIMITS } from "./limits.ts";

/**
 * The agent's line to its channel: dials, says hello, hands messages over in order, and dials again for ever, with full jitter. It knows
 * nothing of tenants.
 */
export interface Channel {
  /** False when no line is up: the caller tells again after the next welcome. */
  send(message: FromAgent): boolean;
  online(): boolean;
  close(): void;
}

export interface ChannelOptions {
  /** Scheme and host of the relay (http or https). */
  readonly relayUrl: string;
  /** A fresh assertion for every dial. */
  readonly sign: () => Promise<string>;
  /** First message of every connection: how far the agent's disk has come. */
  readonly hello: () => FromAgent;
  /** Messages one after another; the next is handed over when the promise is settled. */
  readonly onMessage: (message: ToAgent) => Promise<void>;
  readonly log: Logger;
  readonly random: () => number;
}

export function openChannel(options: ChannelOptions): Channel {
  const { log, random } = options;
  let socket: WebSocket | null = null;
  let attempts = 0;
  /** Connections in a row that ended because what came could not be kept. */
  let unapplied = 0;
  let timer: NodeJS.Timeout | undefined;
  let over = false;

  const again = (slowly: boolean): void => {
    if (over) return;
    // Full jitter: a relay that comes back is not met by all its nodes at once.
    const ceiling = slowly
      ? LIMITS.reconnectMaxMs
      : Math.min(LIMITS.reconnectMaxMs, LIMITS.reconnectMinMs * 2 ** Math.max(attempts, unapplied));
    attempts = Math.min(attempts + 1, 30);
    timer = setTimeout(() => void dial(), Math.ceil(random() * ceiling));
  };

  const dial = async (): Promise<void> => {
    const url = new URL("/node", options.relayUrl);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    let assertion: string;
    try {
      assertion = await options.sign();
    } catch (error) {
      log.error("the node's key can't sign", { error: messageOf(error) });
      return again(true);
    }
    if (over) return;
    const opened = new WebSocket(url, {
      headers: { authorization: `Bearer ${assertion}` },
      handshakeTimeout: LIMITS.dialTimeoutMs,
      maxPayload: LIMITS.channelMessageBytes,
      perMessageDeflate: false,
      followRedirects: false,
      lookup: localhostLookup,
    });
    socket = opened;
    serve(opened);
  };

  const serve = (opened: WebSocket): void => {
    let queue = Promise.resolve();
    let refusal: string | null = null;
    let stopPinging = (): void => {};
    opened.on("open", () => {
      log.info("channel connected", { relay: options.relayUrl });
      opened.send(JSON.stringify(fromAgent.parse(options.hello())));
      stopPinging = keepAlive(opened, log);
    });
    opened.on("message", (data: RawData, isBinary: boolean) => {
      const earlier = queue;
      queue = (async () => {
        await earlier;
        if (opened.readyState !== WebSocket.OPEN) return; // What comes next is asked for again by the next connection.
        const message = isBinary ? null : parseMessage(data);
        if (message === null) {
          log.error("the channel sent something that is not of its protocol");
          return opened.close(1002, "not of the protocol");
        }
        attempts = 0;
        try {
          await options.onMessage(message);
          if (message.type !== "welcome") unapplied = 0;
        } catch (error) {
          log.error("a message of the channel could not be applied; it is asked for again", {
            error: messageOf(error),
          });
          unapplied = Math.min(unapplied + 1, 30);
          opened.close(1011, "could not be applied");
        }
      })();
    });
    opened.on("unexpected-response", (request, response) => {
      refusal = `HTTP ${response.statusCode ?? 0}`;
      if (response.statusCode === 401 || response.statusCode === 403) {
        log.error(
          "the relay refused this node: its key is not registered, the node is disabled, or the clock is wrong",
          {
            status: response.statusCode,
          },
        );
      }
      response.resume();
      request.destroy();
      ended(response.statusCode === 401 || response.statusCode === 403, refusal);
    });
    opened.on("error", (error) => {
      // Refused by each of a name's addresses it has a code, and no message.
      refusal ??= error.message === "" && "code" in error ? String(error.code) : error.message;
    });
    opened.on("close", (code, reason) => {
      const why = refusal ?? (reason.length > 0 ? reason.toString("utf8") : String(code));
      if (code === NODE_CHANNEL_CLOSE.replaced)
        log.error("another agent with this node's key has taken the channel over; is it running twice?");
      ended(code === NODE_CHANNEL_CLOSE.replaced || code === NODE_CHANNEL_CLOSE.refused, why);
    });
    const ended = (slowly: boolean, why: string): void => {
      stopPinging();
      if (socket !== opened) return;
      socket = null;
      log.warn("channel is not connected; going on with what is on disk", { why });
      again(slowly);
    };
  };

  void dial();
  return {
    send(message) {
      if (socket === null || socket.readyState !== WebSocket.OPEN) return false;
      socket.send(JSON.stringify(message));
      return true;
    },
    online: () => socket !== null && socket.readyState === WebSocket.OPEN,
    close() {
      over = true;
      clearTimeout(timer);
      const last = socket;
      socket = null;
      last?.close(1001, "agent stops");
      setTimeout(() => last?.terminate(), 1_000).unref();
    },
  };
}

/** Pings; ends a connection whose pong is missing, which may look open for many minutes otherwise. Returns how to stop. */
function keepAlive(socket: WebSocket, log: Logger): () => void {
  let missing: NodeJS.Timeout | undefined;
  const interval = setInterval(() => {
    socket.ping();
    missing ??= setTimeout(() => {
      log.warn("the channel does not answer pings");
      socket.terminate();
    }, LIMITS.pongTimeoutMs);
  }, LIMITS.pingIntervalMs);
  socket.on("pong", () => {
    clearTimeout(missing);
    missing = undefined;
  });
  return () => {
    clearInterval(interval);
    clearTimeout(missing);
  };
}

function parseMessage(data: RawData): ToAgent | null {
  try {
    const bytes = Array.isArray(data) ? Buffer.concat(data) : data instanceof ArrayBuffer ? Buffer.from(data) : data;
    const parsed = toAgent.safeParse(JSON.parse(bytes.toString("utf8")));
    return parsed.success ? parsed.data : null;
  } catch {
    return null;
  }
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
