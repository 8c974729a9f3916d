/** Codes with which either side closes the tunnel's WebSocket. What the connector does about each is in docs/protocol.md. */
export const CLOSE = {
  /** A frame or its place in the conversation was wrong. */
  protocol: 4400,
  /** The credential stopped being valid, or was never. Fatal until the operator acts. */
  unauthorized: 4401,
  /** Disabled or removed. Fatal until the operator acts. */
  revoked: 4403,
  /** No HELLO in time, or the peer stopped answering. */
  timeout: 4408,
  /** Another socket of the same instance took over. Don't dial again for this one. */
  replaced: 4409,
  /** After GOAWAY or DRAIN, when the last stream has ended or the grace is over. */
  goneAway: 4410,
  /** A message beyond the announced length. */
  tooLong: 4413,
  /** More bytes than credit. */
  flowControl: 4421,
  /** No common version. */
  version: 4426,
  /** Too much waited to be sent, or a limit of the relay. Dial again with backoff. */
  overload: 4429,
  internal: 4500,
} as const;
