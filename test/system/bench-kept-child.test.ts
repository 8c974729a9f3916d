import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { keepChild, type KeptChild } from "../../bench/core/kept-child.ts";
import { until } from "../support/until.ts";

const cleanUp: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const each of cleanUp.splice(0)) await each();
});

interface Watched {
  readonly kept: KeptChild;
  /** In the order in which they were started. */
  readonly pids: () => number[];
  /** The process id of the newest, once there were so many and the newest is the one that is kept. */
  readonly newest: (count: number) => Promise<number>;
}

async function start(): Promise<Watched> {
  const folder = mkdtempSync(join(tmpdir(), "cw-kept-"));
  const file = join(folder, "pids");
  const args = ["-c", `echo $$ >> ${file}; exec sleep 300`];
  const kept = await keepChild("child", { name: "child", folder, command: "sh", args });
  cleanUp.push(async () => {
    await kept.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  const pids = (): number[] => readFileSync(file, "utf8").trim().split("\n").map(Number);
  return {
    kept,
    pids,
    newest: (count) =>
      until(`${count} processes`, () => {
        const pid = pids()[count - 1];
        return pid === kept.counted.pid ? pid : null;
      }),
  };
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test("what ends by itself is started again, what is killed has one successor, however fast the kills follow each other", async () => {
  const [subject, other] = [await start(), await start()];
  await subject.newest(1);
  await subject.kept.killAndRestart();
  await subject.newest(2);
  await subject.kept.killAndRestart();
  const third = await subject.newest(3);
  // Its pause ends after those of the killed ones: whatever they would start is there by then.
  const ended = await other.newest(1);
  process.kill(ended, "SIGKILL");
  expect(await other.newest(2)).not.toBe(ended);
  expect(subject.kept.counted.pid).toBe(third);
  expect(subject.pids().filter(isAlive)).toEqual([third]);
  expect(subject.pids().length).toBe(3);
});

test("what is stopped stays so", async () => {
  const { kept, pids, newest } = await start();
  const first = await newest(1);
  await kept.stop();
  expect(pids()).toEqual([first]);
  expect(isAlive(first)).toBe(false);
});
