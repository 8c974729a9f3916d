import * as control from "./control.ts";
import { FRAME } from "./frame.ts";
import { CONFIG_JSON_BYTES_MAX, REASON_CHARACTERS_MAX, TOKEN_BYTES_MAX } from "./limits.ts";
import type { Session } from "./types.ts";

type Announcements = Pick<
  Session,
  | "announceTargets"
  | "report"
  | "renewToken"
  | "tokenAccepted"
  | "pushConfig"
  | "acknowledgeConfig"
  | "goAway"
  | "drain"
  | "replaced"
>;

interface AnnouncementPort {
  readonly role: "relay" | "connector";
  readonly queue: (type: number, streamId: number, payload: Uint8Array) => void;
  /** We open, or take, no new streams from now on. */
  readonly drains: () => void;
}

const forPeople = (text: string): string => text.slice(0, REASON_CHARACTERS_MAX);

/** The calls of a session that send one frame of JSON. What the other role may not send is not sent. */
export function createAnnouncements({ role, queue, drains }: AnnouncementPort): Announcements {
  const send = (from: "relay" | "connector", type: number, value: object): void => {
    if (role === from) queue(type, 0, control.encodeJson(value));
  };
  return {
    announceTargets(targets) {
      send("connector", FRAME.targets, { targets });
    },
    report({ load, unhealthy }) {
      const bounded = Number.isFinite(load) ? Math.min(Math.max(load, 0), 1) : 0;
      send("connector", FRAME.report, { load: bounded, unhealthy });
    },
    renewToken(token) {
      if (role !== "connector" || token.length > TOKEN_BYTES_MAX || !control.TOKEN_TEXT.test(token)) return false;
      send("connector", FRAME.token, { token });
      return true;
    },
    tokenAccepted(lifetimeMs) {
      send("relay", FRAME.tokenOk, { lifetimeMs: Math.max(0, Math.floor(lifetimeMs)) });
    },
    pushConfig(config) {
      const payload = control.encodeJson(config);
      if (role !== "relay" || payload.length > CONFIG_JSON_BYTES_MAX) return false;
      queue(FRAME.config, 0, payload);
      return true;
    },
    acknowledgeConfig({ revision, ok, reason }) {
      send("connector", FRAME.configAck, { revision, ok, reason: forPeople(reason) });
    },
    goAway(notice) {
      if (role === "relay") drains();
      send("relay", FRAME.goAway, { ...notice, reason: forPeople(notice.reason) });
    },
    drain(reason) {
      if (role === "connector") drains();
      send("connector", FRAME.drain, { reason: forPeople(reason) });
    },
    replaced(reason) {
      send("relay", FRAME.replaced, { reason: forPeople(reason) });
    },
  };
}
