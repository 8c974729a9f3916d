import { FRAME, u32 } from "./frame.ts";
import { CONTROL_FRAMES_MAX, FRAME_HEADER_BYTES } from "./limits.ts";
import { MessageBuilder } from "./message-builder.ts";
import { Scheduler } from "./scheduler.ts";
import type { Carrier } from "./send-queue.ts";
import type { StreamCore } from "./stream.ts";
import type { SendLimits } from "./types.ts";

interface ControlFrame {
  readonly type: number;
  readonly streamId: number;
  readonly payload: Uint8Array;
}

/** Everything that waits to be sent, and its order: control, grants of credit, heads, bodies. Packed when the host asks for a message, no sooner. */
export class Outbox {
  readonly scheduler = new Scheduler<StreamCore>();
  readonly #limits: SendLimits;
  readonly #carrier: Carrier;
  readonly #builder: MessageBuilder;
  readonly #wanted: () => void;
  #opening: ControlFrame | null = null;
  #controls: ControlFrame[] = [];
  /** Credit of each stream (0: of the session) in WINDOW frames that have not left: added up, so that they never grow in number. */
  readonly #grants = new Map<number, number>();
  #pumped: StreamCore[] = [];
  #asked = false;

  /** `wanted`: something waits from now on. Called once until a message was asked for in vain. */
  constructor(
    limits: SendLimits,
    carrier: Carrier,
    allocate: ((bytes: number) => Uint8Array) | undefined,
    wanted: () => void,
  ) {
    this.#limits = limits;
    this.#carrier = carrier;
    this.#builder = new MessageBuilder(allocate ?? ((bytes) => new Uint8Array(bytes)));
    this.#wanted = wanted;
  }

  /** HELLO or RESYNC: goes before everything. It is there to be taken at once, so nobody is called. */
  begin(type: number, payload: Uint8Array): void {
    this.#opening = { type, streamId: 0, payload };
  }

  /** A frame that overtakes bodies. False when too many wait: the peer does not read what it makes us send. */
  control(type: number, streamId: number, payload: Uint8Array): boolean {
    if (this.#controls.length >= CONTROL_FRAMES_MAX) return false;
    this.#controls.push({ type, streamId, payload });
    this.wake();
    return true;
  }

  grant(streamId: number, bytes: number): void {
    this.#grants.set(streamId, (this.#grants.get(streamId) ?? 0) + bytes);
    this.wake();
  }

  wake(): void {
    if (this.#asked) return;
    this.#asked = true;
    this.#wanted();
  }

  forget(stream: StreamCore): void {
    this.scheduler.remove(stream);
    this.#grants.delete(stream.id);
  }

  /** The streams are gone on both sides: what would be said about them, and about credit, means nothing any more. */
  resync(): void {
    this.#controls = this.#controls.filter(({ type }) => type < FRAME.open && type !== FRAME.resynced);
    this.#grants.clear();
  }

  clear(): void {
    this.#controls = [];
    this.#grants.clear();
  }

  /** The next message. `greeting`: the peer's limits are not known yet, so nothing but our HELLO may go. */
  take(greeting: boolean): Uint8Array | null {
    if (this.#opening !== null) {
      this.#builder.add(this.#opening.type, 0, 0, this.#opening.payload);
      this.#opening = null;
    }
    if (!greeting) this.#takeControls();
    if (!greeting && this.#controls.length === 0) {
      this.#takeGrants();
      this.#takeStreams();
    }
    const message = this.#builder.build();
    if (message === null) this.#asked = false;
    if (this.#pumped.length > 0) {
      const pumped = this.#pumped;
      this.#pumped = []; // the host may ask for the next message from inside an event
      for (const stream of pumped) stream.afterPump();
    }
    return message;
  }

  #full(payloadBytes: number): boolean {
    const bytes = this.#builder.bytes;
    return bytes > 0 && bytes + FRAME_HEADER_BYTES + payloadBytes > this.#carrier.peerMessageBytes;
  }

  #takeControls(): void {
    let taken = 0;
    for (const { type, streamId, payload } of this.#controls) {
      if (this.#full(payload.length)) break;
      this.#builder.add(type, 0, streamId, payload);
      taken += 1;
    }
    if (taken > 0) this.#controls = taken === this.#controls.length ? [] : this.#controls.slice(taken);
  }

  #takeGrants(): void {
    for (const [streamId, bytes] of this.#grants) {
      if (this.#full(4)) return;
      this.#builder.add(FRAME.window, 0, streamId, u32(bytes));
      this.#grants.delete(streamId);
    }
  }

  #takeStreams(): void {
    const { messageBytes, contendedFrameBytes, aloneFrameBytes } = this.#limits;
    while (this.#builder.bytes < messageBytes) {
      const next = this.scheduler.next();
      if (next === null) return;
      const { sender, head } = next;
      let quantum = aloneFrameBytes;
      if (this.scheduler.size > 0) {
        // A short body rides with its head; a long one waits for its turn, so that a hundred of them don't keep the next head back.
        quantum = head && sender.queuedBytes > contendedFrameBytes ? 0 : contendedFrameBytes;
      }
      const before = this.#builder.bytes;
      const left = sender.pump(this.#builder, quantum);
      if (this.#builder.bytes > before) this.#pumped.push(sender);
      if (left === "more") this.scheduler.addBody(sender);
      else if (left === "session-credit") this.scheduler.waitForCredit(sender);
      else if (left === "message-full") {
        this.scheduler.putBack(sender);
        return;
      }
    }
  }
}
