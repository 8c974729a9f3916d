import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Pool } from "undici";
import { afterAll, beforeAll, expect, test } from "vitest";
import { BASE_DOMAIN, startProduct, type Product } from "../../bench/scenarios/product.ts";

// The real edge and directory on bare workerd whose engine optimises at once, which it does after some ten thousand requests otherwise: then
// the runtime no longer notices that one request waits for another one's promise (docs/adr/0006).
const OPTIMISED = ["--invocation-count-for-turbofan=1", "--no-maglev"];
const CONNECTIONS = 64;

const folder = mkdtempSync(join(tmpdir(), "cw-cold-hosts-"));
let product: Product;
beforeAll(async () => {
  product = await startProduct(folder, { ACCESS_LOG: "off" }, OPTIMISED);
});
afterAll(async () => {
  await product.child.kill();
  rmSync(folder, { recursive: true, force: true });
});

test(
  "crowds on hosts that the isolate does not know: everybody gets an answer of its own",
  { timeout: 60_000 },
  async () => {
    const pool = new Pool(product.url, { connections: CONNECTIONS, pipelining: 1 });
    const statuses: Record<number, number> = {};
    let asked = 0;
    const connection = async (): Promise<void> => {
      while (asked < 2_000) {
        const host = `nobody-${Math.floor(asked++ / 16)}.${BASE_DOMAIN}`;
        // A body belongs to its request: whoever goes on in another one can't pass it on.
        const response = await pool.request({ method: "POST", path: "/", headers: { host }, body: "12345" });
        await response.body.dump();
        statuses[response.statusCode] = (statuses[response.statusCode] ?? 0) + 1;
      }
    };
    await Promise.all(Array.from({ length: CONNECTIONS }, connection));
    await pool.destroy();
    // What stands for the portal says so to a POST.
    expect(statuses).toEqual({ 204: asked });
  },
);
