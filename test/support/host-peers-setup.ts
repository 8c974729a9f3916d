import type { TestProject } from "vitest/node";
import { startCloudflareApi } from "./cloudflare-api.ts";
import { startDnsServer } from "./dns-server.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Addresses of a resolver (test/support/dns-server.ts) and of what stands for Cloudflare's API (cloudflare-api.ts). */
    hostPeers: { readonly dnsUrl: string; readonly cloudflareUrl: string };
  }
}

/** vitest's global set-up of suites that check custom hosts from within workerd. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [dns, cloudflare] = await Promise.all([startDnsServer(), startCloudflareApi()]);
  project.provide("hostPeers", { dnsUrl: dns.url, cloudflareUrl: cloudflare.url });
  return async () => {
    await Promise.all([dns.close(), cloudflare.close()]);
  };
}
