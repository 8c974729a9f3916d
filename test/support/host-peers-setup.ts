import type { TestProject } from "vitest/node";
import { startCloudflareApi } from "./cloudflare-api.ts";
import { startDnsServer } from "./dns-server.ts";
import { startJobTarget } from "./job-target.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Addresses of a resolver (test/support/dns-server.ts) and of what stands for Cloudflare's API (cloudflare-api.ts). */
    hostPeers: { readonly dnsUrl: string; readonly cloudflareUrl: string };
    /** Address of a server that tenants' jobs call (job-target.ts). */
    jobTarget: string;
  }
}

/** vitest's global set-up of suites that check custom hosts, and call somebody else for a tenant, from within workerd. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [dns, cloudflare, jobs] = await Promise.all([startDnsServer(), startCloudflareApi(), startJobTarget()]);
  project.provide("hostPeers", { dnsUrl: dns.url, cloudflareUrl: cloudflare.url });
  project.provide("jobTarget", jobs.url);
  return async () => {
    await Promise.all([dns.close(), cloudflare.close(), jobs.close()]);
  };
}
