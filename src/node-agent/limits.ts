/** Every number of the node agent, with its reason. */
export const LIMITS = {
  /** A service is on this machine or near it: longer than this is a hang, not a slow connect. */
  connectTimeoutSeconds: 5,
  /** A silent stream (WebSocket, SSE, long poll) may stay open this long; most clients speak at least once a minute. */
  routeIdleTimeoutSeconds: 3600,
  /** Node's HTTP server closes idle connections after 5 s; Envoy lets go first, or a request could meet a closing one. */
  upstreamIdleTimeoutSeconds: 4,
  /** Streams of one HTTP/2 connection to a service, where its settings allow as many; the next one opens another. */
  serviceStreams: 1_000,
  /** Attempts after the first when no connection could be made (nothing was sent yet, so it is safe). */
  connectRetries: 2,
  /** Visitors' cookies and tokens; Workers pass on up to 128 KiB of headers, Envoy's default is 60. */
  requestHeadersKib: 96,
  /** The edge sends headers at once; a client that takes longer holds a connection for nothing. */
  requestHeadersTimeoutSeconds: 15,
  /** Connections to Envoy at once; each costs two file descriptors at most, of the 65,536 that services usually get. */
  downstreamConnections: 20_000,
  /** Clock difference between edge and node that a proof survives. */
  proofClockSkewSeconds: 60,

  /** Until a node's answer has a head, where its route says nothing else: the edge's own limit. */
  frontFirstByteSeconds: 60,
  /** Between a master and a node many tenants share an HTTP/2 connection: a stream may have this much on its way (256 MB/s at 1 ms)... */
  linkStreamWindowBytes: 256 * 1024,
  /** ...and all of them together as much as the protocol allows, so that visitors who don't read hold up nobody else's streams. */
  linkConnectionWindowBytes: 2 ** 31 - 1,
  /** Streams of one such connection; the next one opens another. */
  linkStreams: 1_000,
  /** Of one node for one master; each WebSocket and MQTT connection is a request that lasts. Envoy's own limit of 1,024 is meant for one service. */
  linkRequests: 100_000,
  /** A node that does not answer a ping for so long is gone: its connections are closed instead of kept waiting. */
  linkPingSeconds: 15,
  linkPongSeconds: 5,
  /** Longer addresses go to the edge, which refuses those above 32 KiB. */
  frontPathBytes: 8_192,

  /** Tenants that wait at once before changes are sent in bulk instead of one by one. */
  bulkThreshold: 16,
  /** Tenants in one bulk response: few responses at start-up, and a rejected one is found by halving in 9 steps. */
  bulkTenants: 500,
  /** Envoy acknowledges within milliseconds; 10,000 tenants at once take 15 s. Longer means a stuck stream, which is closed. */
  acknowledgeTimeoutMs: 60_000,
  /** Longest probe of one host, and pauses between tries: workers apply a new scope within milliseconds of the acknowledgement. */
  probeTimeoutMs: 2_000,
  probeRetryMs: 5,
  probeRetryMaxMs: 200,
  probeTries: 100,

  /** For an Envoy that is to take over: 10,000 tenants take 20 s on two busy cores; and from the word to take over until it listens. */
  envoyLoadMs: 120_000,
  envoyLiveMs: 30_000,
  envoyLookMs: 50,
  /** Envoy's own default: long enough for most downloads. */
  drainSeconds: 600,

  /** Tenants that are read and taken up at once when the agent starts: enough to keep disk and engine busy. */
  restoreAtOnce: 16,

  /** Time for a service to answer its health check before its revision is reported as rejected (it goes on trying). */
  serviceStartMs: 20_000,
  /** Until a service that could not be started at all is tried again. */
  serviceRetryMs: 5_000,
  healthCheckTimeoutMs: 2_000,
  healthCheckIntervalMs: 100,
  /** A dead process of ours is started again after 0.2 s, doubling up to 30 s; a minute of health starts over. */
  restartMinMs: 200,
  restartMaxMs: 30_000,
  restartForgetMs: 60_000,
  /** How often processes that are not our children (adopted after a restart of the agent) are looked at. */
  watchIntervalMs: 500,
  /** Between SIGTERM and SIGKILL: a removed tenant's open connections are gone within the promised 10 s even when its service takes no notice. */
  stopGraceMs: 7_000,
  /** A log file is copied to `.1` and emptied above this size. */
  logBytes: 4 * 1024 * 1024,
  /** Ports for services: below Linux's ephemeral range (32768), so that no outgoing connection takes one between two starts. */
  servicePortFrom: 21_000,
  servicePortTo: 30_999,
  /** A call of the engine takes milliseconds; with many containers starting on a small machine, seconds. */
  engineTimeoutMs: 30_000,
  /** Gigabytes from a registry over a slow line. */
  pullTimeoutMs: 15 * 60_000,
  /** Calls under way at the engine: it does them nearly one after another anyway. */
  engineConnections: 8,
  /** How often it is looked whether containers were stopped or removed by hand: one call for all of them. */
  containersWatchMs: 2_000,
  /** Ports that somebody else took between our look and the start. */
  portTries: 5,

  /** Devices keep a session with one packet within their keep-alive; 90 minutes are above all usual ones. */
  mqttIdleTimeoutSeconds: 5_400,
  /** How long a broker's connection has to stay to count. */
  connectionStaysMs: 50,
  /** Certificate files are looked at this often; open connections don't notice. */
  certificateLookMs: 2_000,
  /** A certificate that begins so much later is refused: clocks differ by minutes, not more. */
  certificateSkewMs: 5 * 60_000,
  /** Whether a certificate is due is looked at this often, whatever the clock did meanwhile. */
  acmeLookMs: 60 * 60_000,
  /** After a failure: six tries in the first hour or so; Let's Encrypt allows five failed proofs an hour and name. */
  acmeRetryMinMs: 2 * 60_000,
  acmeRetryMaxMs: 6 * 60 * 60_000,
  /** Providers' interfaces take seconds, and a hook may wait until its name servers have the record. */
  acmeHookMs: 10 * 60_000,
  acmeRequestMs: 30_000,
  /** How often, and how long at most, the server's own look is waited for: some minutes in all. */
  acmePollMinMs: 500,
  acmePollMaxMs: 15_000,
  acmePolls: 20,
  /** Renewal happens a month before the end; two weeks before something is wrong with it. */
  certificateWarnDays: 14,

  /** A snapshot that leaves out more than a quarter of the tenants, and at least three, is held: single tenants do leave, a quarter never did at once. */
  massRemovalMin: 3,
  massRemovalShare: 0.25,
  /** How often it is looked whether held removals were confirmed. */
  confirmationMs: 1_000,

  /** Reconnects: full jitter up to 0.5 s, doubling up to 30 s. */
  reconnectMinMs: 500,
  reconnectMaxMs: 30_000,
  /** The channel's upgrade must be answered within this time. */
  dialTimeoutMs: 10_000,
  /** Longest answer of an enrolment that is read. */
  answerChars: 64 * 1024,
  /** The channel is pinged this often; a pong that is missing this long means the link is dead (proxies cut idle links at about 100 s). */
  pingIntervalMs: 25_000,
  pongTimeoutMs: 10_000,
  /** Largest message of the channel: snapshots come in parts of 256 KiB; one tenant with all its secrets stays below 16 MiB. */
  channelMessageBytes: 16 * 1024 * 1024,
  /** Tombstones of removed tenants that are kept to refuse late older revisions; each is a file of 200 bytes. */
  tombstones: 1_000,
  /** Longest reason of a rejection that is reported (the protocol's limit). */
  reasonChars: 2_048,
} as const;
