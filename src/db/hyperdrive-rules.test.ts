import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { expect, test } from "vitest";

/**
 * Hyperdrive pools by transaction and refuses what needs a session: advisory locks, LISTEN and NOTIFY, SQL-level PREPARE, SET that outlives its
 * transaction. Locally nothing refuses them, so this test does.
 */
const BANNED: readonly { readonly name: string; readonly pattern: RegExp }[] = [
  { name: "advisory locks", pattern: /pg_(try_)?advisory/i },
  { name: "LISTEN", pattern: /\blisten\s+"?[a-z_]+"?\s*[;`'"]|\.listen\(/ },
  { name: "NOTIFY", pattern: /\bnotify\s+[a-z_"]+\s*[,;`'"]|pg_notify|\.notify\(/ },
  { name: "PREPARE", pattern: /\bprepare\s+\w+\s*(\([^)]*\))?\s+as\b|\bdeallocate\b/i },
  { name: "SET for a session", pattern: /[`'";]\s*set\s+(session|role|search_path|statement_timeout)\b/i },
];

/** Direct connections of `causeway migrate` only. */
const EXEMPT = ["src/db/migrate-control.ts"];

const root = join(import.meta.dirname, "../..");
function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return sources(path);
    return /\.tsx?$/.test(name) && !/\.test\.tsx?$/.test(name) ? [path] : [];
  });
}

test("code behind Hyperdrive has no SQL that Hyperdrive refuses", () => {
  const found = ["db", "console", "provisioner", "portal"]
    .flatMap((role) => sources(join(root, "src", role)))
    .filter((file) => !EXEMPT.includes(relative(root, file)))
    .flatMap((file) => {
      const text = readFileSync(file, "utf8");
      return BANNED.filter(({ pattern }) => pattern.test(text)).map(({ name }) => `${relative(root, file)}: ${name}`);
    });
  expect(found).toEqual([]);
});

test("the patterns find what they are for", () => {
  const bad = [
    "select pg_advisory_xact_lock(1)",
    "sql`listen changes`",
    'sql.notify("x", "y")',
    "prepare q (int) as select $1",
    "tx.unsafe(`set role x`)",
  ];
  for (const text of bad)
    expect(
      BANNED.some(({ pattern }) => pattern.test(text)),
      text,
    ).toBe(true);
  const fine = ["set local role x", "for update skip locked", "update t set role = 1", "listeners.add(x)"];
  for (const text of fine)
    expect(
      BANNED.filter(({ pattern }) => pattern.test(text)),
      text,
    ).toEqual([]);
});
