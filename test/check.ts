/** `npm run check`: format, lint, types, dead code, migrations in step with the schema. All run; the exit code is 1 if one failed. */
import { spawn } from "node:child_process";

const bin = (name: string) => `node_modules/.bin/${name}`;
const CHECKS: ReadonlyArray<{ name: string; argv: [string, ...string[]]; fix: string }> = [
  { name: "format", argv: [bin("oxfmt"), "--check", "."], fix: "npm run fix" },
  { name: "lint", argv: [bin("oxlint"), "--type-aware", "--deny-warnings"], fix: "npm run fix" },
  { name: "types", argv: [bin("tsc"), "-b"], fix: "see the messages above" },
  { name: "dead code", argv: [bin("knip")], fix: "remove what nothing uses" },
  {
    name: "migrations",
    argv: [process.execPath, "test/support/migrations-in-step.ts"],
    fix: "npx drizzle-kit generate",
  },
];

function run(argv: readonly [string, ...string[]]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(argv[0], argv.slice(1), { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", (error) => resolve({ code: 1, output: error.message }));
    child.on("exit", (code) => resolve({ code: code ?? 1, output }));
  });
}

let failed = 0;
for (const { name, argv, fix } of CHECKS) {
  const startedMs = Date.now();
  const { code, output } = await run(argv);
  const took = `${((Date.now() - startedMs) / 1000).toFixed(1)} s`;
  if (code === 0) {
    console.log(`ok      ${name} (${took})`);
  } else {
    failed += 1;
    console.log(`${output}\nFAILED  ${name} (${took}); to mend it: ${fix}`);
  }
}
process.exit(failed > 0 ? 1 : 0);
