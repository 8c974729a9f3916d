import { writeU32 } from "./frame.ts";
import { FRAME_HEADER_BYTES } from "./limits.ts";

interface Slot {
  type: number;
  flags: number;
  streamId: number;
  payload: Uint8Array | null;
  prefix: number;
}

const NO_PREFIX = -1;
/** Slots beyond these are not kept for the next message. */
const SLOTS_KEPT = 256;

/** Collects frames and writes them as one message: one allocation and one copy of each payload. */
export class MessageBuilder {
  /** Of the message so far. */
  bytes = 0;
  readonly #allocate: (bytes: number) => Uint8Array;
  readonly #slots: Slot[] = []; // used again for each message
  #used = 0;

  constructor(allocate: (bytes: number) => Uint8Array) {
    this.#allocate = allocate;
  }

  /** `prefix` is one byte before the payload (the kind of a WS_MSG), so that no payload is copied for it. */
  add(type: number, flags: number, streamId: number, payload: Uint8Array | null, prefix: number = NO_PREFIX): void {
    const slot = this.#slots[this.#used];
    this.#used += 1;
    this.bytes += FRAME_HEADER_BYTES + (payload === null ? 0 : payload.length) + (prefix === NO_PREFIX ? 0 : 1);
    if (slot === undefined) {
      this.#slots.push({ type, flags, streamId, payload, prefix });
      return;
    }
    slot.type = type;
    slot.flags = flags;
    slot.streamId = streamId;
    slot.payload = payload;
    slot.prefix = prefix;
  }

  /** The message, or null when there is no frame. The builder is empty afterwards. */
  build(): Uint8Array | null {
    if (this.#used === 0) return null;
    const space = this.#allocate(this.bytes);
    let at = 0;
    for (let i = 0; i < this.#used; i++) {
      const slot = this.#slots[i];
      if (slot !== undefined) at = write(slot, space, at);
    }
    const message = space.length === this.bytes ? space : space.subarray(0, this.bytes);
    if (this.#slots.length > SLOTS_KEPT) this.#slots.length = SLOTS_KEPT;
    this.#used = 0;
    this.bytes = 0;
    return message;
  }
}

function write(slot: Slot, space: Uint8Array, start: number): number {
  const { payload, prefix } = slot;
  const length = (payload === null ? 0 : payload.length) + (prefix === NO_PREFIX ? 0 : 1);
  space[start] = length >>> 16;
  space[start + 1] = length >>> 8;
  space[start + 2] = length;
  space[start + 3] = slot.type;
  space[start + 4] = slot.flags;
  writeU32(space, start + 5, slot.streamId);
  let at = start + FRAME_HEADER_BYTES;
  if (prefix !== NO_PREFIX) space[at++] = prefix;
  if (payload === null) return at;
  space.set(payload, at);
  slot.payload = null; // kept no longer than it takes
  return at + payload.length;
}
