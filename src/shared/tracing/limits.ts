/** Numbers of the traces, each with its reason. Those with a name are defaults of the variable of the OpenTelemetry specification. */
export const LIMITS = {
  /** OTEL_BSP_MAX_QUEUE_SIZE: about 2 MB of spans while a collector is away; more are dropped and counted. */
  queueSpans: 2_048,
  /** OTEL_BSP_MAX_EXPORT_BATCH_SIZE. */
  batchSpans: 512,
  /** OTEL_BSP_SCHEDULE_DELAY. */
  delayMs: 5_000,
  /** OTEL_EXPORTER_OTLP_TIMEOUT, of one try. */
  timeoutMs: 10_000,
  /** A collector that is busy is asked again (OTLP, "Failures"); then the batch is dropped, for newer ones wait. */
  tries: 3,
  /** Pause before the second try; twice it before the third. */
  retryMs: 1_000,
  /** Longest Retry-After that is waited for. */
  retryAfterMs: 10_000,
  /** A run of a Worker may be cut off with its request, and nobody is told; after this another one begins. */
  lostRunMs: 60_000,
  /** A span is for looking at, not for carrying data: longer texts are cut. */
  textCharacters: 1_024,
  /** A request is offered to few connectors; this is only a bound. */
  eventsPerSpan: 16,
  /** How long a process that ends waits for its last batches. */
  shutdownMs: 2_000,
} as const;
