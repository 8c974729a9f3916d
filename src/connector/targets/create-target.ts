import { createEchoTarget, createPingTarget } from "./debug-targets.ts";
import { createFunctionTarget } from "./function-target.ts";
import type { TargetConfig } from "./target-config.ts";
import type { Target, TargetPorts } from "./target.ts";
import { createWebTarget } from "./web-target.ts";

export function createTarget(config: TargetConfig, ports: TargetPorts): Target {
  if (config.kind === "web") return createWebTarget(config, ports);
  if (config.kind === "function") return createFunctionTarget(config.name, config.handle, ports);
  return config.kind === "echo" ? createEchoTarget(config.name) : createPingTarget(config.name);
}
