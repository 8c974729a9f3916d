import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";

const doc = (name: string): string => readFileSync(join(import.meta.dirname, "../../docs", name), "utf8");

test.each(["edge.md", "deploy.md"])(
  "docs/%s says openly what does not go through a Worker, and where it goes (D11)",
  (name) => {
    const sentence = doc(name)
      .split("\n")
      .find((line) => /raw TCP/i.test(line));
    for (const words of [/MQTT/, /gRPC trailers/, /uploads|request bodies/, /master Envoy/])
      expect(sentence).toMatch(words);
  },
);
