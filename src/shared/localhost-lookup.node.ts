import { lookup as systemLookup, type LookupAddress, type LookupOptions } from "node:dns";

/**
 * Node's resolver asks DNS for `x.localhost`, which RFC 6761 section 6.3 says must be loopback without asking anybody. For the `lookup`
 * option of net, tls, http, undici and ws. Plain `localhost` stays with the system, where /etc/hosts may say more.
 */
export function localhostLookup(
  hostname: string,
  options: LookupOptions,
  callback: (error: NodeJS.ErrnoException | null, address: string | LookupAddress[], family?: number) => void,
): void {
  const addresses = loopbackFor(hostname);
  if (addresses === null) return systemLookup(hostname, options, callback);
  const family = options.family === "IPv4" ? 4 : options.family === "IPv6" ? 6 : (options.family ?? 0);
  const wanted = addresses.filter((address) => family === 0 || address.family === family);
  const first = wanted[0];
  // Asynchronous like the system's own, so that callers see one behaviour.
  setImmediate(() => {
    if (first === undefined) callback(Object.assign(new Error("no such family"), { code: "ENOTFOUND" }), "");
    else if (options.all === true) callback(null, wanted);
    else callback(null, first.address, first.family);
  });
}

/** The loopback addresses of a `*.localhost` name, IPv4 first (our own servers listen there); null for every other name. */
export function loopbackFor(hostname: string): LookupAddress[] | null {
  const name = hostname.toLowerCase().replace(/\.$/, "");
  if (!name.endsWith(".localhost")) return null;
  return [
    { address: "127.0.0.1", family: 4 },
    { address: "::1", family: 6 },
  ];
}

/** Whether a host (as URL.hostname gives it) can only be this machine. */
export function isLoopbackHost(hostname: string): boolean {
  const name = hostname.toLowerCase().replace(/\.$/, "");
  return (
    name === "localhost" || name.endsWith(".localhost") || name === "[::1]" || /^127(?:\.[0-9]{1,3}){3}$/.test(name)
  );
}
