import { WorkerEntrypoint } from "cloudflare:workers";
import type {
  CreateOwnTenantInput,
  CreateOwnTenantResult,
  EndSessionsInput,
  TenantsRpc,
  TenantStatus,
} from "../../../src/protocol/tenants-rpc.ts";

/** Stands for the console where there is no control database: takes every tenant but `taken`, which are ready at the third look. */
const looks = new Map<string, { slug: string; count: number }>();
/** A tenant whose sessions can't be ended. */
const STUCK = `ten_${"0".repeat(20)}`;

export class Tenants extends WorkerEntrypoint implements TenantsRpc {
  async create({ tenantId, slug }: CreateOwnTenantInput): Promise<CreateOwnTenantResult> {
    if (slug === "taken")
      return { kind: "refused", code: "conflict", detail: "A tenant with this name exists already." };
    if (!/^[a-z]/.test(slug))
      return { kind: "refused", code: "bad-request", detail: "slug: The name must start with a letter." };
    if (slug === "broken") throw new Error("no database");
    looks.set(tenantId, { slug, count: 0 });
    return { kind: "created" };
  }

  async show(tenantIds: readonly string[]): Promise<TenantStatus[]> {
    return tenantIds.flatMap((tenantId) => {
      const look = looks.get(tenantId);
      if (look === undefined) return [];
      look.count++;
      const isReady = look.count > 3;
      const steps = ["reserve-host", "schema", "push"].map((name, index) => ({
        name,
        state: index < look.count ? ("done" as const) : ("pending" as const),
      }));
      const state = isReady ? ("active" as const) : ("provisioning" as const);
      return [{ tenantId, state, host: `${look.slug}.causeway.localhost`, startPath: "/", steps }];
    });
  }

  async endSessions({ tenantId }: EndSessionsInput): Promise<boolean> {
    if (tenantId === STUCK) throw new Error("no database");
    return true;
  }
}

export default { fetch: () => new Response(null, { status: 404 }) };
