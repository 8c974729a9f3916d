import { existsSync, mkdtempSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, describe, expect, test } from "vitest";
import { nodeTenant } from "../protocol/node-channel.ts";
import { newStoreKey } from "./sealed.ts";
import { openStore, type TenantRecord } from "./store.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "cw-store-"));
});

const record = (revision: number, change: Partial<TenantRecord> = {}): TenantRecord => ({
  tenantId: "ten_a",
  revision,
  want: { tenantId: "ten_a", slug: "a", revision, hosts: ["a.example"], routes: [], services: [] },
  state: "live",
  reason: null,
  good: null,
  endpoints: {},
  refused: null,
  ...change,
});
const channel = (cursor: number) => ({ epoch: "e1", cursor, proofKeys: { keys: [] }, held: [] });
const KEY = newStoreKey();
const file = (): string => join(dir, "tenants/ten_a.json");

const flipped = (text: string): string => text.slice(0, 60) + (text[60] === "A" ? "B" : "A") + text.slice(61);

describe("the store", () => {
  test("keeps tenants' secrets from whoever reads the disk without the node's key", async () => {
    const { store } = await openStore(dir, KEY);
    const service = {
      name: "app",
      workspace: "main",
      driver: { kind: "process", command: "demo" },
      healthPath: null,
    } as const;
    const want = { ...record(1).want, services: [{ ...service, secrets: { DATABASE_URL: "postgres://very-secret" } }] };
    await store.saveTenant({ ...record(1), want: nodeTenant.parse(want) });
    expect(readFileSync(file(), "utf8")).toMatch(/^[A-Za-z0-9+/=]+$/);
    expect(Buffer.from(readFileSync(file(), "utf8"), "base64").toString("latin1")).not.toContain("secret");
    expect((await openStore(dir, KEY)).tenants[0]?.want?.services[0]?.secrets).toEqual({
      DATABASE_URL: "postgres://very-secret",
    });
    expect(await openStore(dir, newStoreKey())).toMatchObject({ tenants: [], damaged: [file(), expect.any(String)] });
  });

  test("gives back what was saved, and nothing of what was forgotten", async () => {
    const { store } = await openStore(dir, KEY);
    await store.saveTenant(record(1));
    await store.saveTenant(record(2));
    await store.saveTenant({ ...record(1), tenantId: "ten_b" });
    await store.forgetTenant("ten_b");
    await store.saveChannel(channel(5));
    const again = await openStore(dir, KEY);
    expect(again.tenants).toEqual([record(2)]);
    expect(again.channel).toEqual(channel(5));
    expect(again.damaged).toEqual([]);
  });

  test("starts empty, from no epoch", async () => {
    expect(await openStore(dir, KEY)).toMatchObject({ tenants: [], channel: { epoch: null, cursor: 0 }, damaged: [] });
  });

  test.each([
    ["cut off", () => truncateSync(file(), 40)],
    ["empty", () => truncateSync(file(), 0)],
    ["changed in one character", () => writeFileSync(file(), flipped(readFileSync(file(), "utf8")))],
  ])("uses the previous generation of a file that is %s, and asks for a snapshot (E07)", async (_what, damage) => {
    const { store } = await openStore(dir, KEY);
    await store.saveTenant(record(1));
    await store.saveTenant(record(2));
    await store.saveChannel(channel(5));
    damage();
    const again = await openStore(dir, KEY);
    expect(again.tenants).toEqual([record(1)]);
    expect(again.channel).toMatchObject({ epoch: null, cursor: 0 });
    expect(again.damaged).toEqual([file()]);
    await again.store.saveTenant(record(3));
    expect((await openStore(dir, KEY)).tenants).toEqual([record(3)]);
  });

  test("is whole after a crash at any write: a temporary file is swept away, the named one is old or new (E07)", async () => {
    const { store } = await openStore(dir, KEY);
    await store.saveTenant(record(1));
    writeFileSync(join(dir, "tenants/.ten_a.json.0123456789ab.tmp"), '{"sum":"');
    expect((await openStore(dir, KEY)).tenants).toEqual([record(1)]);
    expect(readdirSync(join(dir, "tenants")).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  test("asks for a snapshot when what the channel file said is lost", async () => {
    const { store } = await openStore(dir, KEY);
    await store.saveTenant(record(1));
    await store.saveChannel(channel(5));
    truncateSync(join(dir, "channel.json"), 3);
    expect((await openStore(dir, KEY)).channel).toMatchObject({ epoch: null, cursor: 0 });
  });

  test("is readable by its owner only: it holds secrets", async () => {
    const { store } = await openStore(dir, KEY);
    await store.saveTenant(record(1));
    await store.saveTenant(record(2));
    for (const path of [file(), `${file()}.previous`]) expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir, "tenants")).mode & 0o777).toBe(0o700);
  });

  test("takes no id that would lead out of its directory", async () => {
    const { store } = await openStore(dir, KEY);
    await expect(store.saveTenant({ ...record(1), tenantId: "../../x" })).rejects.toThrow("not a tenant id");
    expect(existsSync(join(dir, "x.json"))).toBe(false);
  });
});
