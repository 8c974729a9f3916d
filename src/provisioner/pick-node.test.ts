import { expect, test } from "vitest";
import { pickNode } from "./pick-node.ts";

const node = (name: string, capacity: number, tenants: number, online = true) => ({
  id: `nod_${name}`,
  name,
  capacity,
  tenants,
  online,
});

test("the node with the most free places", () => {
  expect(pickNode([node("a", 10, 8), node("b", 10, 2), node("c", 5, 0)])?.name).toBe("b");
});

test("equal ones by name, whatever the order", () => {
  expect(pickNode([node("b", 5, 1), node("a", 5, 1)])?.name).toBe("a");
});

test("an online node before an emptier one that is offline, which is better than none", () => {
  expect(pickNode([node("a", 100, 0, false), node("b", 2, 1)])?.name).toBe("b");
  expect(pickNode([node("a", 100, 0, false), node("b", 2, 2)])?.name).toBe("a");
});

test("none has room", () => {
  expect(pickNode([])).toBeNull();
  expect(pickNode([node("a", 0, 0), node("b", 2, 2), node("c", 2, 3)])).toBeNull();
});
