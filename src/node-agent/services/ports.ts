import { createServer } from "node:net";

/** Whether a service could listen on the loopback port now. */
export const portIsFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });

/** A port of the range that nobody listens on and that is not in `taken`; null when there is none. Starts anywhere, so two nodes on one machine rarely meet. */
export async function chooseServicePort(
  range: { readonly from: number; readonly to: number },
  taken: ReadonlySet<number>,
  random: () => number,
): Promise<number | null> {
  const count = range.to - range.from + 1;
  const first = Math.floor(random() * count);
  for (let step = 0; step < count; step++) {
    const port = range.from + ((first + step) % count);
    if (!taken.has(port) && (await portIsFree(port))) return port;
  }
  return null;
}
