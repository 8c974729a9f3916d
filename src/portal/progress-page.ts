import { BRAND_MARK, escapeHtml, PAGE_STYLE } from "../policy/error-page.ts";
import type { TenantStatus } from "../protocol/tenants-rpc.ts";
import { LIMITS } from "./limits.ts";
import { stepText } from "./tenant-states.ts";

export interface Progress {
  readonly tenantId: string;
  readonly name: string;
  /** Where it will be. */
  readonly url: string | null;
}

export interface ProgressPorts {
  readonly status: (tenantId: string) => Promise<TenantStatus | null>;
  readonly now: () => number;
  /** Resolves after that many milliseconds. */
  readonly sleep: (ms: number) => Promise<void>;
}

/**
 * The page that shows how a tenant comes to be, sent piece by piece while the browser shows it: it needs no script, and nothing is fetched
 * anew. Ends when the tenant is there, failed, or takes longer than a page should load; then it leads on by a link.
 */
export function progressPage({ tenantId, name, url }: Progress, ports: ProgressPorts): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const shown = escapeHtml(name);
  const here = `/tenants/${tenantId}`;
  let isCancelled = false;

  async function* pieces(): AsyncGenerator<string> {
    const untilMs = ports.now() + LIMITS.progressMs;
    yield `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><meta name="robots" content="noindex"><title>Setting up ${shown}</title><style>${PAGE_STYLE}</style></head><body><main><div class="brand">${BRAND_MARK}Causeway</div><h1>Setting up ${shown}</h1><p class="soft">This takes some seconds.</p><ol class="steps" aria-live="polite" aria-label="Steps">`;
    const done = new Set<string>();
    for (;;) {
      const status = await ports.status(tenantId);
      for (const step of status?.steps ?? []) {
        if (step.state !== "done" || done.has(step.name)) continue;
        done.add(step.name);
        yield `<li>${escapeHtml(stepText(step.name))}</li>`;
      }
      if (status?.state === "failed") {
        return yield `</ol><p class="error" role="alert">Setting it up failed. The operator of the platform can see why, and try again.</p>${link("/", "Your tenants")}${END}`;
      }
      if (status !== null && status.state !== "provisioning") {
        const open = url === null ? "" : link(url, `Open ${shown}`);
        const invite = `<a class="button plain" href="${here}/members">Invite people</a>`;
        return yield `</ol><p class="notice" role="status">${shown} is ready.</p>${open}${invite}${END}`;
      }
      if (ports.now() >= untilMs || isCancelled) {
        return yield `</ol><p role="status">It takes longer than usual.</p>${link(here, "Look again")}${END}`;
      }
      await ports.sleep(LIMITS.progressPollMs);
    }
  }

  const iterator = pieces();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await iterator.next();
      if (done === true) controller.close();
      else controller.enqueue(encoder.encode(value));
    },
    cancel() {
      isCancelled = true;
    },
  });
}

const END = "</main></body></html>";
const link = (href: string, text: string): string => `<a class="button" href="${escapeHtml(href)}">${text}</a>`;
