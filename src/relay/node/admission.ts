import { createHmac, randomBytes } from "node:crypto";
import { newId } from "../../shared/ids.ts";
import { createAccessTokens, type AccessTokens } from "../admission/access-token.ts";
import { createAdmission, type TenantAdmission } from "../admission/admission.ts";
import { USED_ASSERTIONS_MAX } from "../limits.ts";
import type { Tenant } from "./tenants.ts";

/** Admission of each tenant, over what the file says of it now. */
export interface Admissions {
  of(tenant: Tenant): TenantAdmission;
}

export function createAdmissions(accessTokens: AccessTokens, now: () => number): Admissions {
  const known = new WeakMap<Tenant, TenantAdmission>();

  function made(tenant: Tenant): TenantAdmission {
    const used = new Map<string, number>();
    return createAdmission({
      grants: tenant.grants,
      settings: () => tenant.config.settings,
      accessTokens,
      now,
      newTokenId: () => newId("tok"),
      use(assertion, untilMs) {
        const nowMs = now();
        if ((used.get(assertion) ?? 0) > nowMs) return "used";
        if (used.size >= USED_ASSERTIONS_MAX) for (const [old, until] of used) if (until <= nowMs) used.delete(old);
        if (used.size >= USED_ASSERTIONS_MAX) return "full";
        used.set(assertion, untilMs);
        return "first";
      },
      // Here connectors are let in by the file alone.
      pairing: () => [],
      askToPair: () => "closed",
    });
  }

  return {
    of(tenant) {
      let admission = known.get(tenant);
      if (admission === undefined) {
        admission = made(tenant);
        known.set(tenant, admission);
      }
      return admission;
    },
  };
}

/**
 * Two processes of one relay take each other's tokens, so their key follows from the secret that they share. One alone makes a new key at each
 * start: its tokens live ten minutes, and a connector that is refused gets another.
 */
export function accessTokensFor(peerSecret: Buffer | null): AccessTokens {
  const key =
    peerSecret === null ? randomBytes(32) : createHmac("sha256", peerSecret).update("causeway access tokens").digest();
  return createAccessTokens(key.toString("base64"));
}
