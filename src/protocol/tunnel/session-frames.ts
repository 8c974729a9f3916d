import type { z } from "zod";
import * as control from "./control.ts";
import { FLAG, FRAME } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { CONFIG_JSON_BYTES_MAX } from "./limits.ts";
import type { SessionEvents } from "./types.ts";

/** What the frames of the session (stream 0) do to it. */
export interface SessionFramePort {
  readonly role: "relay" | "connector";
  readonly events: SessionEvents;
  ping(payload: Uint8Array): void;
  pong(payload: Uint8Array): void;
  peerDrains(reason: string): void;
  resync(nonce: Uint8Array): void;
  resynced(nonce: Uint8Array): void;
  breach(reason: string): void;
}

/** PING and PONG carry as many. */
export const PING_BYTES = 8;
export const NONCE_BYTES = 4;

/** One frame of the session, HELLO and WINDOW excepted. */
export function sessionFrame(port: SessionFramePort, frame: Frame): void {
  const { role, events } = port;
  const { payload } = frame;
  /** Frames of JSON come from one side only. */
  const json = <T>(name: string, from: "relay" | "connector", schema: z.ZodType<T>, act: (value: T) => void): void => {
    const value =
      role === from ? null : control.decodeJson(schema, payload, name === "CONFIG" ? CONFIG_JSON_BYTES_MAX : undefined);
    if (value === null) port.breach(`${name} out of place`);
    else act(value);
  };
  switch (frame.type) {
    case FRAME.ping:
      return payload.length === PING_BYTES ? port.ping(payload) : port.breach("a PING of a wrong length");
    case FRAME.pong:
      return payload.length === PING_BYTES ? port.pong(payload) : port.breach("a PONG of a wrong length");
    case FRAME.targets:
      return json("TARGETS", "connector", control.targetsNotice, ({ targets }) => events.targets?.(targets));
    case FRAME.goAway:
      return json("GOAWAY", "relay", control.goAwayNotice, (notice) => events.goAway?.(notice));
    case FRAME.drain:
      return json("DRAIN", "connector", control.reasonNotice, ({ reason }) => port.peerDrains(reason));
    case FRAME.replaced:
      return json("REPLACED", "relay", control.reasonNotice, ({ reason }) => events.replaced?.(reason));
    case FRAME.report:
      return json("REPORT", "connector", control.reportNotice, (report) => events.report?.(report));
    case FRAME.token:
      return json("TOKEN", "connector", control.tokenNotice, ({ token }) => events.token?.(token));
    case FRAME.tokenOk:
      return json("TOKEN_OK", "relay", control.tokenOkNotice, ({ lifetimeMs }) => events.tokenAccepted?.(lifetimeMs));
    case FRAME.config:
      return json("CONFIG", "relay", control.configNotice, (config) => events.config?.(config));
    case FRAME.configAck:
      return json("CONFIG_ACK", "connector", control.configAckNotice, (ack) => events.configAcknowledged?.(ack));
    case FRAME.resync:
      if (role !== "connector" || payload.length !== NONCE_BYTES) return port.breach("RESYNC out of place");
      return port.resync(payload);
    case FRAME.resynced:
      if (role !== "relay" || payload.length !== NONCE_BYTES) return port.breach("RESYNCED out of place");
      return port.resynced(payload);
    default:
      if ((frame.flags & FLAG.ignorable) === 0) port.breach(`unknown frame type ${frame.type}`);
  }
}
