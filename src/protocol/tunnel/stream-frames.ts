import { utf8Text } from "./control.ts";
import { FRAME, readU32, WS_KIND } from "./frame.ts";
import type { Frame } from "./frame.ts";
import { FRAME_HEADER_BYTES } from "./limits.ts";
import { resetReason } from "./reasons.ts";
import type { FrameVerdict, StreamCore } from "./stream.ts";

/** Body bytes by which the frame is charged. A close is outside of credit: one a stream, and it must not wait. */
export function creditOf({ type, payload }: Frame): number {
  if (type === FRAME.data) return payload.length;
  return type === FRAME.wsMessage && payload[0] !== WS_KIND.close ? FRAME_HEADER_BYTES + payload.length : 0;
}

/** A frame for a stream that is open here. */
export function streamFrame(stream: StreamCore, frame: Frame): FrameVerdict {
  const { payload } = frame;
  switch (frame.type) {
    case FRAME.headers:
      return stream.headers(frame);
    case FRAME.data:
      return stream.data(frame);
    case FRAME.trailers:
      return stream.trailers(frame);
    case FRAME.wsMessage:
      return stream.wsMessage(frame);
    case FRAME.window:
      return payload.length === 4 ? stream.credit(readU32(payload, 0)) : "malformed";
    case FRAME.stop:
      stream.stopped();
      return "ok";
    case FRAME.reset:
      if (payload.length === 0) return "malformed";
      stream.close({
        kind: "reset",
        by: "peer",
        reason: resetReason(payload[0] ?? 0),
        text: utf8Text(payload.subarray(1)),
      });
      return "ok";
    default:
      return "ok";
  }
}
