import { expect, test } from "vitest";
import { failureOf } from "./failure.ts";

const caused = (cause: Error): Error => new Error("Failed query: select 1", { cause });

test.each([
  ["refused", Object.assign(new Error("connect"), { code: "ECONNREFUSED" })],
  ["shut down", Object.assign(new Error("terminating connection"), { code: "57P01" })],
  ["lost in workerd", new Error("Network connection lost.")],
  ["not there in workerd", new Error("connection attempt failed")],
])("a database that is away (%s) is no fault of ours", (_, cause) =>
  expect(failureOf(caused(cause))).toMatchObject({ code: "not-available" }),
);

test("anything else is", () => expect(failureOf(caused(new Error("what is this")))).toBeNull());
