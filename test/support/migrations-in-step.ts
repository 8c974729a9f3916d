/** Fails when the schema in src/db would generate a migration that drizzle/ does not have, or when drizzle/ is inconsistent. Leaves no trace. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = process.cwd();
// Inside the project: drizzle-kit resolves `out` relative to the working folder.
const copy = mkdtempSync(join(root, ".drizzle-check-"));
const list = (folder: string) =>
  readdirSync(folder)
    .filter((name) => name.endsWith(".sql"))
    .sort();
const kit = (...args: string[]) =>
  spawnSync(join(root, "node_modules/.bin/drizzle-kit"), args, { cwd: root, encoding: "utf8" });

let failed = false;
function complain(text: string): void {
  failed = true;
  console.error(text);
}

try {
  for (const { config, out } of [
    { config: "drizzle.config.ts", out: "drizzle/control" },
    { config: "drizzle.tenant.config.ts", out: "drizzle/tenant" },
  ]) {
    const check = kit("check", `--config=${config}`);
    if (check.status !== 0) complain(`drizzle-kit check (${config}):\n${check.stdout}${check.stderr}`);
    const target = join(copy, out);
    cpSync(join(root, out), target, { recursive: true });
    const generated = spawnSync(join(root, "node_modules/.bin/drizzle-kit"), ["generate", `--config=${config}`], {
      cwd: root,
      encoding: "utf8",
      env: { ...process.env, DRIZZLE_OUT: `${copy.slice(root.length + 1)}/${out}` },
    });
    if (generated.status !== 0) complain(`drizzle-kit generate (${config}):\n${generated.stdout}${generated.stderr}`);
    const added = list(target).filter((name) => !list(join(root, out)).includes(name));
    if (added.length > 0)
      complain(
        `${config}: the schema has changes without a migration. Run: npx drizzle-kit generate --config=${config}`,
      );
  }
} finally {
  rmSync(copy, { recursive: true, force: true });
}
process.exit(failed ? 1 : 0);
