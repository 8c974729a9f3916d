import type { z } from "zod";

/**
 * What is wrong with an input and what to write instead, for people who write it by hand: `schema.safeParse(input, { error: inputWords })`.
 * A schema's own message wins; for what is not named here zod's stays. Inputs are not repeated: they may be secret.
 */
export const inputWords: z.core.$ZodErrorMap = (issue) => {
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- the rest keeps zod's words
  switch (issue.code) {
    case "invalid_type":
      return `${issue.input === undefined ? "it is missing: " : ""}write ${NOUNS[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `write ${choice(issue.values)}`;
    case "invalid_union":
      return "options" in issue && Array.isArray(issue.options) ? `write ${choice(issue.options)}` : undefined;
    case "too_small":
      if (issue.minimum === 1 && issue.origin !== "number") return "it must not be empty";
      return `write ${issue.inclusive === false ? "more than" : "at least"} ${amount(issue.minimum, issue.origin)}`;
    case "too_big":
      return `write ${issue.inclusive === false ? "less than" : "at most"} ${amount(issue.maximum, issue.origin)}`;
    case "unrecognized_keys":
      return `there is no ${issue.keys.map((key) => `"${key}"`).join(", ")} here`;
    case "invalid_format":
      return FORMS[issue.format];
    default:
      return undefined;
  }
};

/** An issue of such a parse as a sentence with its place; where nobody knows better words, only the place. */
export function placedWords(issue: z.core.$ZodIssue): string {
  const where = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    return `unknown setting ${issue.keys.map((key) => `"${where === "" ? key : `${where}.${key}`}"`).join(", ")}`;
  }
  const message = issue.code === "invalid_key" ? (issue.issues[0]?.message ?? "") : issue.message;
  const known = !message.startsWith("Invalid ");
  if (where === "") return known ? message : "check the settings";
  return known ? `${where}: ${message}` : `check ${where}`;
}

const NOUNS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list, as [a, b]",
  object: "an object, as { name: value }",
  record: "an object, as { name: value }",
};

/** Of a string that is not in its form; a schema's own message says more where there is one. */
const FORMS: Readonly<Record<string, string>> = {
  datetime: "write a time as 2027-01-01T00:00:00Z",
  url: "write a URL, as https://host.example",
  email: "write a mail address",
};

const UNITS: Readonly<Record<string, string>> = { string: " character", array: " item", set: " item" };

const amount = (count: number | bigint, origin: string): string => {
  const unit = UNITS[origin] ?? "";
  return `${count}${unit}${unit === "" || count === 1 ? "" : "s"}`;
};

const choice = (values: readonly unknown[]): string => values.map(String).join(" or ");
