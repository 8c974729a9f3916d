import { expect, test } from "vitest";
import { passwordProblem } from "./passwords.ts";

test.each([
  ["eleven char", "ann@acme.example"],
  ["aaaaaaaaaaaaaaaa", "ann@acme.example"],
  ["abababababab", "ann@acme.example"],
  ["annabelle.smith@acme.example", "annabelle.smith@acme.example"],
  ["Annabelle.Smith1", "annabelle.smith@acme.example"],
  ["x".repeat(64) + "abcdefgh".repeat(9), "ann@acme.example"],
])("%s is refused", (password, email) => {
  expect(passwordProblem(password, email)).not.toBeNull();
});

test.each(["correct horse battery", "twelve chars", "пароль из слов"])("%s is taken", (password) => {
  expect(passwordProblem(password, "ann@acme.example")).toBeNull();
});

test("the sentence says what to do and not what was typed", () => {
  expect(passwordProblem("hunter2", "ann@acme.example")).toBe(
    "Use at least 12 characters. Several words are easy to keep in mind.",
  );
});
