import { defineConfig } from "vitest/config";

// Suites, from fast to slow (CONTRIBUTING.md). The workerd projects are in test/workerd/<worker>/vitest.config.ts.
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{src,bench,test/unit,test/support}/**/*.test.ts"],
          testTimeout: 60_000,
        },
      },
      "test/workerd/*/vitest.config.ts",
      {
        test: {
          name: "system",
          // Wrangler's harness would write a trace of every event to a disk of its own, in the Workers' thread.
          env: { X_LOCAL_OBSERVABILITY: "false" },
          include: ["test/system/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "stack",
          include: ["test/stack/**/*.test.ts"],
          globalSetup: "test/support/stack-setup.ts",
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "browser",
          include: ["test/browser/**/*.test.ts"],
          globalSetup: "test/support/stack-setup.ts",
          testTimeout: 120_000,
          hookTimeout: 180_000,
          fileParallelism: false,
        },
      },
      {
        test: {
          name: "compose",
          include: ["test/compose/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
