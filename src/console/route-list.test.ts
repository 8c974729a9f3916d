import { expect, test } from "vitest";
import type { TenantRoute } from "../policy/record.ts";
import { routeList, stepsFor } from "./route-list.ts";

const service = (prefix: string, name = "app", access: TenantRoute["access"] = "public"): TenantRoute => ({
  prefix,
  access,
  to: { kind: "service", service: name },
});
const target = (prefix: string): TenantRoute => ({ prefix, access: "public", to: { kind: "target", target: "plc" } });

test.each<[string, TenantRoute[], TenantRoute[], boolean, string[]]>([
  ["nothing new for the node", [service("/a")], [service("/a", "app", "member"), target("/t")], true, ["publish"]],
  ["a new prefix of a service", [service("/a")], [service("/a"), service("/b")], true, ["push", "publish"]],
  ["a prefix of another service", [service("/a")], [service("/a", "manager")], true, ["push", "publish"]],
  ["one less", [service("/a"), service("/b")], [service("/a")], true, ["publish", "push"]],
  [
    "one that becomes a target's",
    [service("/a"), service("/b")],
    [service("/a"), target("/b")],
    true,
    ["publish", "push"],
  ],
  ["another order", [service("/a"), service("/b")], [service("/b"), service("/a")], true, ["publish"]],
  ["no change, but the node missed the last one", [service("/a")], [service("/a")], false, ["push", "publish"]],
])("the node is told before visitors, or after them, or not at all: %s", (_, before, wanted, current, steps) => {
  expect(stepsFor(before, wanted, current)).toEqual(steps);
});

test.each(["/.causeway", "/.causeway/x", "/a/", "a", "/a/../b", "/a%2Fb", "//", "/a?b"])(
  "%s is no prefix",
  (prefix) => {
    expect(routeList.safeParse([target(prefix)]).success).toBe(false);
  },
);

test("a prefix stands once, and names are names", () => {
  expect(routeList.safeParse([target("/t"), target("/.causeways"), target("/")]).success).toBe(true);
  expect(routeList.safeParse([target("/t"), service("/t")]).error?.issues[0]).toMatchObject({ path: [1, "prefix"] });
  expect(routeList.safeParse([{ ...target("/t"), to: { kind: "target", target: "a--b" } }]).success).toBe(false);
  expect(routeList.safeParse([{ ...target("/t"), colour: "blue" }]).success).toBe(false);
});
