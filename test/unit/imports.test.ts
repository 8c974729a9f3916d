import { readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

// The rules of ARCHITECTURE.md: who may import whom. Type imports count too: a type from another role is a hidden contract.
const ROLES = ["edge-router", "relay", "provisioner", "console", "portal", "connector", "node-agent"];
const CORE: Record<string, string[]> = {
  protocol: [],
  shared: [],
  policy: ["shared", "protocol"],
  http1: ["shared"],
  db: ["shared", "protocol", "policy"],
};
const WITH_DB = ["provisioner", "console", "portal"];
const WITH_HTTP1 = ["relay", "connector"];

const root = resolve(import.meta.dirname, "../..");
const src = join(root, "src");

function sources(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) return sources(path);
    return /\.tsx?$/.test(name) ? [path] : [];
  });
}

function imports(file: string): string[] {
  const text = readFileSync(file, "utf8");
  const found = text.matchAll(/(?:from\s+|import\s+|import\s*\(\s*)["'](\.[^"']+)["']/g);
  return [...found].map((match) => resolve(dirname(file), match[1] ?? ""));
}

function allowed(role: string): string[] {
  if (role in CORE) return CORE[role] ?? [];
  return [
    "protocol",
    "policy",
    "shared",
    ...(WITH_DB.includes(role) ? ["db"] : []),
    ...(WITH_HTTP1.includes(role) ? ["http1"] : []),
  ];
}

test("roles import only protocol, policy, shared and, where it is theirs, db", () => {
  const violations: string[] = [];
  for (const role of [...Object.keys(CORE), ...ROLES]) {
    for (const file of sources(join(src, role))) {
      if (/\.test\.tsx?$/.test(file)) continue;
      for (const target of imports(file)) {
        const inside = relative(src, target);
        const owner = inside.startsWith("..") ? `(${relative(root, target)})` : inside.split("/")[0];
        if (owner === role || allowed(role).includes(owner ?? "")) continue;
        // SQL text of the migrations is data of db.
        if (role === "db" && relative(root, target).startsWith("drizzle/")) continue;
        violations.push(`${relative(root, file)} imports ${relative(root, target)}`);
      }
    }
  }
  expect(violations).toEqual([]);
});

test("cli imports a role's main and nothing else of it", () => {
  const violations: string[] = [];
  for (const file of sources(join(src, "cli"))) {
    if (/\.test\.tsx?$/.test(file)) continue;
    for (const target of imports(file)) {
      const inside = relative(src, target).split("/");
      if (!ROLES.includes(inside[0] ?? "")) continue;
      if (inside.length === 2 && inside[1] === "main.ts") continue;
      violations.push(`${relative(root, file)} imports ${relative(root, target)}`);
    }
  }
  expect(violations).toEqual([]);
});

test("platform modules stay in the hosts", () => {
  const violations: string[] = [];
  for (const core of ["protocol", "policy", "relay/core"]) {
    for (const file of sources(join(src, core))) {
      if (/\.test\.tsx?$/.test(file)) continue;
      if (/from "(node:|cloudflare:|ws|undici|hono)/.test(readFileSync(file, "utf8")))
        violations.push(relative(root, file));
    }
  }
  expect(violations).toEqual([]);
});
