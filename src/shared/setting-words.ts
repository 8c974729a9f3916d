import type { z } from "zod";

const NOUNS: Readonly<Record<string, string>> = {
  string: "a text",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list, as [a, b]",
  object: "settings, as { name: value }",
  record: "settings, as { name: value }",
};

/** Of a string that is not in its form; a schema's own message says more where there is one. */
const FORMS: Readonly<Record<string, string>> = {
  datetime: "write a time as 2027-01-01T00:00:00Z",
  url: "write a URL, as https://host.example",
};

/**
 * What to write instead, as zod's `error` option of a parse: for people who write configuration files, without the value that was found.
 * A schema's own message wins over it; undefined leaves the library's words.
 */
export function settingWords(issue: z.core.$ZodRawIssue): string | undefined {
  if (issue.code === "invalid_type") {
    return `${issue.input === undefined ? "it is missing: " : ""}write ${NOUNS[issue.expected] ?? issue.expected}`;
  }
  if (issue.code === "invalid_value") return `write ${issue.values.map(String).join(" or ")}`;
  if (issue.code === "too_small") {
    return issue.origin === "number" ? `write at least ${issue.minimum}` : "it must not be empty";
  }
  if (issue.code === "too_big") {
    return issue.origin === "number" ? `write at most ${issue.maximum}` : `at most ${issue.maximum} are taken`;
  }
  return issue.code === "invalid_format" ? FORMS[issue.format] : undefined;
}

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
