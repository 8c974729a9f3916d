import { describe, expect, it } from "vitest";
import { findTenant } from "./tenant.ts";
import type { DirectoryRecord } from "../../policy/record.ts";

const record = (slug: string, cluster: string): DirectoryRecord => ({
  host: `${slug}.example`,
  tenantId: `ten_${slug}_${cluster}`,
  slug,
  cluster,
  state: "active",
  node: null,
  routes: [],
  accessRevision: 0,
  notBefore: {},
  revision: 1,
});
const hosts: Record<string, DirectoryRecord> = {
  "acme.one.example": record("acme", "main"),
  "acme.two.example": record("acme", "eu"),
  "alias.two.example": record("acme", "eu"),
};
const bases = ["one.example", "two.example"];
const lookup = async (host: string): Promise<DirectoryRecord | null> => hosts[host] ?? null;
const identity = (slug: string, cluster: string | null) => ({ tenant: slug, slug, cluster, connector: "plant" });

describe("a tenant is found", () => {
  it("under the platform's own base without a cluster, under the cluster's base with one", async () => {
    expect(await findTenant(identity("acme", null), bases, lookup)).toBe("ten_acme_main");
    expect(await findTenant(identity("acme", "eu"), bases, lookup)).toBe("ten_acme_eu");
    expect(await findTenant(identity("acme", "us"), bases, lookup)).toBeNull();
    expect(await findTenant(identity("nosuch", null), bases, lookup)).toBeNull();
  });

  it("by its slug only, not by another host of it", async () => {
    expect(await findTenant(identity("alias", "eu"), bases, lookup)).toBeNull();
  });

  it("or not at all when the directory fails: the caller must tell that from an unknown tenant", async () => {
    await expect(findTenant(identity("acme", null), bases, () => Promise.reject(new Error("down")))).rejects.toThrow(
      "down",
    );
  });
});
