import { expect, test } from "vitest";
import { createOutput } from "./output.ts";

test("what others wrote can't steer the terminal; lines and tabs stay, and programs get all of it", () => {
  const seen: string[] = [];
  const take = (text: string): void => void seen.push(text);
  const hostile = "rejected:\u001b]0;pwned\u0007\u001b[2J\u009b31m\r\tdone\nnext";
  const people = createOutput(false, take, take);
  people.data({}, hostile);
  people.say(hostile);
  expect(seen).toEqual(Array(2).fill("rejected:\ufffd]0;pwned\ufffd\ufffd[2J\ufffd31m\ufffd\tdone\nnext\n"));
  createOutput(true, take).data({ reason: hostile }, "");
  expect(JSON.parse(seen[2] ?? "")).toEqual({ reason: hostile });
});
