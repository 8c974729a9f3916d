import { networkInterfaces } from "node:os";
import { CLOCK_JUMP_MS, NETWORK_POLL_MS } from "./limits.ts";

export interface NetworkPorts {
  /** Changes when the machine's addresses do. */
  readonly addresses: () => string;
  /** Milliseconds since the epoch, and of a clock that nobody sets (and that may stand still while the machine sleeps). */
  readonly wall: () => number;
  readonly monotonic: () => number;
}

/**
 * Calls back when links may be dead without TCP knowing: the machine got other addresses (cable, Wi-Fi, VPN, DHCP), it slept, or its clock
 * was set (which looks the same from inside). A false alarm costs one echo a link. Answers how to stop.
 */
export function watchNetwork(ports: NetworkPorts, changed: (why: string) => void): () => void {
  const look = (): { addresses: string; wallMs: number; monotonicMs: number } => ({
    addresses: ports.addresses(),
    wallMs: ports.wall(),
    monotonicMs: ports.monotonic(),
  });
  let before = look();
  const timer = setInterval(() => {
    const seen = look();
    const wallMs = seen.wallMs - before.wallMs;
    const ranMs = seen.monotonicMs - before.monotonicMs;
    const otherAddresses = seen.addresses !== before.addresses;
    before = seen;
    if (otherAddresses) changed("this machine's addresses changed");
    else if (Math.abs(wallMs - ranMs) > CLOCK_JUMP_MS) changed("the clock jumped, or this machine slept");
    else if (ranMs > NETWORK_POLL_MS + CLOCK_JUMP_MS) changed("this process stood still");
  }, NETWORK_POLL_MS);
  timer.unref();
  return () => clearInterval(timer);
}

/** Link-local ones are left out: they come and go with every container. */
export function machineAddresses(): string {
  const found: string[] = [];
  for (const [name, addresses = []] of Object.entries(networkInterfaces())) {
    for (const { address, internal } of addresses) {
      if (!internal && !/^(?:fe80:|169\.254\.)/i.test(address)) found.push(`${name} ${address}`);
    }
  }
  return found.toSorted().join("\n");
}
