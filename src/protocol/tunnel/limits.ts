/** Bounds that are part of the protocol itself: both sides rely on them. What a host may choose is in its own limits.ts. */

/** Length u24, type u8, flags u8, stream id u32. */
export const FRAME_HEADER_BYTES = 9;

/** Least and most that a side may announce as its longest message. A whole head (below) must fit; Workers take 32 MiB, but a long message makes everything behind it wait. */
export const MESSAGE_BYTES_MIN = 256 * 1024;
export const MESSAGE_BYTES_MAX = 1024 * 1024;

/** One head with all its fields: what a Worker can take in headers at most. One field's value has a u16 length, so 65,535 bytes. */
export const HEAD_BYTES_MAX = 128 * 1024;
/** Far more than real requests have; bounds the work of one frame. */
export const HEAD_FIELDS_MAX = 1024;

/** Below this a stream makes no sensible progress, so windows never shrink further. */
export const STREAM_WINDOW_BYTES_MIN = 16 * 1024;
export const STREAM_WINDOW_BYTES_MAX = 16 * 1024 * 1024;
/** Credit that would go beyond this breaks the protocol: it must stay far from what u32 grants could sum up to. */
export const CREDIT_BYTES_MAX = 0x7fffffff;

/** HELLO, TARGETS, GOAWAY and the like are JSON; 256 targets of 20 characters need 6 KiB. */
export const CONTROL_JSON_BYTES_MAX = 32 * 1024;
export const TARGETS_MAX = 256;
export const TARGET_BYTES_MAX = 64;
/** A bearer token in band; those of the big identity providers stay below 4 KiB. */
export const TOKEN_BYTES_MAX = 16 * 1024;
/** CONFIG carries the targets with all their options; the JSON in it is escaped once more. */
export const CONFIG_JSON_BYTES_MAX = 128 * 1024;
/** Texts for people in frames of JSON. */
export const REASON_CHARACTERS_MAX = 256;
/** Text of a RESET is for people. */
export const RESET_TEXT_BYTES_MAX = 256;
/**
 * A WebSocket message of several frames has this much even when the budget is used up, so that ordinary ones always come through. Each
 * socket may cost it beside its window, so it can't be much.
 */
export const WS_PARTS_FREE_BYTES = 16 * 1024;
/**
 * With less credit than this in the peer's hands, the parts of a WebSocket message give theirs back before it is whole: a longer one could not
 * come otherwise. A shorter one costs nothing beside its stream's window.
 */
export const WS_PARTS_CREDIT_BYTES = 16 * 1024;
/** RFC 6455: a close frame has 125 bytes, two of them the code. */
export const WS_REASON_BYTES_MAX = 123;

/** RFC 9218: 0 is the most urgent, 7 the least, 3 what nobody said anything about. */
export const URGENCY_MAX = 7;
export const URGENCY_DEFAULT = 3;

/** Stream ids are u32; ours end here, long before they wrap. The relay asks for a new socket then. */
export const STREAM_ID_MAX = 0x7fffffff;

/** Control frames waiting for the socket. A peer that provokes more without reading is not served any longer. */
export const CONTROL_FRAMES_MAX = 8192;
