import type { z } from "zod";

/**
 * What is wrong with an input, in words that also somebody understands who writes it by hand: `schema.safeParse(input, { error: inputWords })`.
 * A schema's own message wins; for what is not named here zod's stays. Inputs are not repeated: they may be secret.
 */
export const inputWords: z.core.$ZodErrorMap = (issue) => {
  // oxlint-disable-next-line typescript/switch-exhaustiveness-check -- the rest keeps zod's words
  switch (issue.code) {
    case "invalid_type":
      return issue.input === undefined ? "it is missing" : `it has to be ${KINDS[issue.expected] ?? issue.expected}`;
    case "too_small":
      if (issue.minimum === 1 && issue.origin === "string") return "it is empty";
      return issue.inclusive === false
        ? `more than ${issue.minimum}${unitOf(issue)}`
        : `at least ${issue.minimum}${unitOf(issue)}`;
    case "too_big":
      return issue.inclusive === false
        ? `less than ${issue.maximum}${unitOf(issue)}`
        : `at most ${issue.maximum}${unitOf(issue)}`;
    case "invalid_value":
      return issue.values.length === 1 ? `only ${said(issue.values)} is possible` : `one of ${said(issue.values)}`;
    case "invalid_union":
      return "options" in issue && Array.isArray(issue.options) ? `one of ${said(issue.options)}` : undefined;
    case "unrecognized_keys":
      return `there is no field ${issue.keys.map((key) => `"${key}"`).join(", ")} here`;
    case "invalid_format":
      return FORMATS[issue.format];
    default:
      return undefined;
  }
};

const KINDS: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  object: "an object",
  record: "an object",
  array: "a list",
};

const FORMATS: Readonly<Record<string, string>> = {
  url: "an address with its scheme, such as https://example.com",
  datetime: "a time such as 2027-01-31T18:00:00Z",
  email: "a mail address",
};

const unitOf = ({
  origin,
  ...issue
}: z.core.$ZodRawIssue<z.core.$ZodIssueTooSmall | z.core.$ZodIssueTooBig>): string => {
  const unit = origin === "string" ? "character" : origin === "array" || origin === "set" ? "item" : null;
  if (unit === null) return "";
  return ` ${unit}${("minimum" in issue ? issue.minimum : issue.maximum) === 1 ? "" : "s"}`;
};

const said = (values: readonly unknown[]): string => values.map(String).join(", ");
