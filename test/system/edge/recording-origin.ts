import { createServer } from "node:http";
import { listenOnLoopback } from "../../support/listen.ts";

/** A request as the last hop's parser reads it. */
export interface Recorded {
  readonly method: string;
  readonly url: string;
  /** Names as they came, with their values. */
  readonly headers: readonly (readonly [name: string, value: string])[];
  readonly trailers: readonly string[];
  readonly body: string;
}

/**
 * An origin with a lenient parser that takes what others refuse (both lengths, odd line ends), so that whatever a hop before it lets through
 * shows. Every answer is the name.
 */
export interface RecordingOrigin {
  readonly url: string;
  readonly port: number;
  stop(): void;
}

/** Requests are added to `requests` in the order of their ends. */
export async function startRecordingOrigin(name: string, requests: Recorded[]): Promise<RecordingOrigin> {
  const server = createServer({ insecureHTTPParser: true, maxHeaderSize: 1024 * 1024 }, (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const { method = "", url = "", rawHeaders, rawTrailers } = request;
      const headers = rawHeaders.flatMap((field, index) =>
        index % 2 === 0 ? [[field, rawHeaders[index + 1] ?? ""] as const] : [],
      );
      requests.push({ method, url, headers, trailers: rawTrailers, body: Buffer.concat(chunks).toString("latin1") });
      response.end(name);
    });
  });
  const port = await listenOnLoopback(server);
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    stop() {
      server.closeAllConnections();
      server.close();
    },
  };
}
